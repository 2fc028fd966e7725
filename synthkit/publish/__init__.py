"""Releases on the Hub: sent there, and brought from there."""
