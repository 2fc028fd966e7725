"""Reads any model from a YAML file, and words what is wrong in it."""
