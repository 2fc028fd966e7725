"""The recipe: its fields, its file, and the recipes that ship."""
