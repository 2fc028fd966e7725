"""The versions of the software and of what it writes."""

__version__ = "0.1.0"

# Raised when the same recipe would give other bytes: a change of plan, records, tars or encoding.
FORMAT_VERSION = 1
