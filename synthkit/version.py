"""The version of synthkit, and that of the format it writes."""

__version__ = "0.2.0"

# It goes up when the same recipe gives other bytes: with a change of the plan, records, tars or encoding.
# Every format is read; this one is written.
FORMAT_VERSION = 2
