"""Releases in the layouts of other tools, each image with its provenance as fields.

`export` writes a folder, whole or not at all; each layout is a module here and a line in its table `LAYOUTS`.
"""
