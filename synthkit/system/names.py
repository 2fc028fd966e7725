"""Names of classes and files that others chose: which can be used, which look alike, how to print them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Controls; halves of characters, which no file in UTF-8 can hold; ends of lines and of paragraphs.
_REFUSED = {
    "Cc": "a control character",
    "Cs": "not in UTF-8",
    "Zl": "the end of a line",
    "Zp": "the end of a paragraph",
}
# Joiners and marks that scripts and emoji are written with. They move no text, unlike U+202A to U+202E
# and U+2066 to U+2069, which can make a terminal show a name backwards.
_SHOWN = frozenset("\n\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u2060")


def fault_in(name: str) -> str | None:
    """Return why a name cannot be used: its first character that no record or terminal bears; else None."""
    if name.isprintable():
        return None
    for character in name:
        fault = _REFUSED.get(unicodedata.category(character))
        if fault:
            return f"U+{ord(character):04X} is {fault}"
    return None


def printable(text: str) -> str:
    """Return a text, which may be hostile, with escapes for all that a terminal would obey."""
    return text if text.isprintable() else "".join(c if _is_shown(c) else ascii(c)[1:-1] for c in text)


def same_name(name: str) -> str:
    """Return the spelling (NFC) that names share if they look the same: macOS writes é as two characters."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spelt_twice(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two different names that look the same, or None."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(same_name(name), name)
        if other != name:
            return other, name
    return None


def _is_shown(character: str) -> bool:
    return character.isprintable() or character in _SHOWN or unicodedata.category(character) == "Zs"
