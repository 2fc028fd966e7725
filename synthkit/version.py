"""The version of synthkit, and those of the formats that it reads and writes."""

__version__ = "0.2.0"

# It goes up when the same recipe gives other bytes: with a change of the plan, records, tars or encoding.
# Every format is read; this one is written, unless a recipe asks for what only a newer one can hold
# (`Recipe.format_version`).
FORMAT_VERSION = 2
NEWEST_FORMAT = 8
# That of releases whose images are retrieved.
RETRIEVED_FORMAT = 8
# Those that only recipes with certain fields need.
LATER_FORMATS = range(FORMAT_VERSION + 1, NEWEST_FORMAT + 1)
