"""Printing any text, even characters that the encoding of the terminal, pipe or file cannot write."""

from __future__ import annotations

import codecs
import io
import sys

from synthkit.system.names import printable


def survive_any_encoding() -> None:
    r"""Make stdout and stderr write characters that their encoding lacks as escapes (`\u82b1`)."""
    for stream in (sys.stdout, sys.stderr):
        # Notebooks and tests put objects without an encoding in the place of stdout.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def print_json(text: str) -> None:
    """Print JSON in UTF-8, or in ASCII if the output has another encoding.

    Characters that a terminal would act on (control characters, direction marks) become escapes.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    utf_8 = codecs.lookup(encoding).name == "utf-8"
    print("".join(c if printable(c) == c and (utf_8 or c.isascii()) else _escape(c) for c in text))


def _escape(character: str) -> str:
    r"""Return JSON's escape `\uXXXX`, or a pair of them for characters above U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
