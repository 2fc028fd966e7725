"""Classifiers trained and tested by a protocol."""
