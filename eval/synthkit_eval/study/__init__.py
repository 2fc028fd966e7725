"""Studies: many releases that differ in a few settings, each made, scored and kept with its predictions."""
