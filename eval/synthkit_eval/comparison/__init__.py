"""Scores side by side: tables and plots."""
