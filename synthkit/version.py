"""The version of synthkit, and that of the format it writes."""

__version__ = "0.1.0"

# It goes up when the same recipe gives other bytes: with a change of the plan, records, tars or encoding.
FORMAT_VERSION = 1
