"""Output that any name can be part of, whatever the encoding of the terminal, pipe or file it goes to."""

from __future__ import annotations

import codecs
import io
import sys

from synthkit.system.names import printable


def survive_any_encoding() -> None:
    """Have stdout and stderr write what their encoding lacks as escapes, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        # What is in its place in a notebook or a test may have no encoding at all.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def print_json(text: str) -> None:
    """Print JSON: UTF-8, or ASCII where the output is in another encoding; a terminal obeys none of it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    utf_8 = codecs.lookup(encoding).name == "utf-8"
    print("".join(c if printable(c) == c and (utf_8 or c.isascii()) else _escape(c) for c in text))


def _escape(character: str) -> str:
    """JSON's escape of four digits, or two of them beyond the first 65,536 characters."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
