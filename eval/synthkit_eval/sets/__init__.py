"""Sets of images compared in a feature space."""
