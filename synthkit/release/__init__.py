"""The release format: what a release folder holds, written and read."""
