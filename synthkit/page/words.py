"""Words of others on a page: names of classes, prompts, ids. They may be long, and hold any characters."""

from __future__ import annotations

from synthkit.system.names import printable

# The most letters of a name, and of a line of a history.
NAME, LINE = 120, 500


def name(text: str, letters: int = NAME) -> str:
    """Return a text on one line, without characters that move others, cut after so many letters."""
    line = " ".join(printable(text[: letters + 1]).split())
    if len(text) <= letters:
        return line
    return f"{line[:letters]}… ({len(text):,} letters)"


def source_title(number: int, sources: int) -> str:
    """Return what the real image with this number is called, of so many that an image is made from."""
    return ("first source", "second source")[number] if sources > 1 else "source"


def counted(number: int, what: str, several: str = "") -> str:
    """Return a number and what it counts: `1 image`, `2 images`."""
    return f"{number:,} {what if number == 1 else several or what + 's'}"
