"""synthkit: traceable synthetic training sets from augmented conditioning."""

__version__ = "0.1.0"
