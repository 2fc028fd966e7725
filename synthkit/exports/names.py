"""Names of folders for classes, whose own names may be anything."""

from __future__ import annotations

import re
import unicodedata

# A folder's name with one of these words makes `datasets` take its images for another split.
SPLIT_WORDS = frozenset(
    ("train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation")
)
_LONGEST = 40
_DIGITS = 4


def folder_names(classes: list[str]) -> list[str]:
    """Return a folder for each class: its label in digits, then what of its name any file system bears.

    The label makes each name another one, whatever a file system takes for the same (case, composed
    characters), and keeps their order that of the labels. Of the name letters and digits of any script stay.
    It is left out if none does, or if a word of it would be taken for a split.
    """
    width = max(_DIGITS, len(str(len(classes) - 1)))
    return [f"{label:0{width}d}{_readable(name)}" for label, name in enumerate(classes)]


def _readable(name: str) -> str:
    kept = "".join(
        letter if unicodedata.category(letter)[0] in "LMN" else " "
        for letter in unicodedata.normalize("NFC", name[: 4 * _LONGEST])
    )
    words = kept[:_LONGEST].split()
    plain = {part.lower() for word in words for part in re.split("[0-9]+", word)}
    return "" if not words or plain & SPLIT_WORDS else f"_{'-'.join(words)}"
