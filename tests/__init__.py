"""What users see, on real libraries and real files. A package, for others install one of this name."""
