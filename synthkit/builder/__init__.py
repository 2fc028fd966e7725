"""Makes a release: recipe in, release folder out."""
