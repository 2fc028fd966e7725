"""Checks a release: every byte, and everything that can be derived again."""
