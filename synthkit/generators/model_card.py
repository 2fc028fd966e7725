"""The licence that a model's card states, which is the README.md beside its files."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from synthkit.config.yaml_file import YAML_ERRORS, plain_data
from synthkit.recipe.model import LICENSE

if TYPE_CHECKING:
    from pathlib import Path

CARD = "README.md"
MAX_CARD = 1 << 20
# The word of the Hub for a licence that is none of its list; the card then names it in `license_name`.
_OTHER = "other"


def license_of(folder: Path) -> str:
    """Return the licence that the card in a folder states; an empty text if there is none."""
    return license_in(_content(folder / CARD))


def license_in(card: bytes) -> str:
    """Return the licence in the front matter of a card; an empty text if there is none.

    A card is a stranger's: only a name in the Hub's form is taken from it.
    Source: the Hub's model cards, `license` and `license_name`.
    """
    text = card.decode("utf-8", "replace").removeprefix("\ufeff")
    front_matter = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    try:
        stated = plain_data(front_matter[1]) if front_matter else None
    except YAML_ERRORS:
        return ""
    if not isinstance(stated, dict):
        return ""
    name = _name(stated.get("license"))
    return (_name(stated.get("license_name")) or name) if name == _OTHER else name


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_CARD:
            return b""
        return path.read_bytes()
    except OSError:
        return b""


def _name(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(LICENSE, value) else ""
