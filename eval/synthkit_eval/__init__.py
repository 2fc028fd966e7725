"""Scores of releases: standard classifiers trained on real and synthetic images, and metrics of the sets."""
