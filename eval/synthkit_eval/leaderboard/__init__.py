"""Scores that others handed in: where they lie, what is checked of each, and how the table tells it."""
