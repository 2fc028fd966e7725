"""Short names of rows for plots, in which what all rows share is left out."""

from __future__ import annotations

import re
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.comparison.rows import Row

# A study writes a number after its field, 0.2 as `dropout-0-2`: these are one word.
_BETWEEN_WORDS = re.compile(r"-(?!\d+(?:-|$))")
_NUMBER = re.compile(r"-(\d+)-(\d+)$")
_WHOLE = re.compile(r"-(\d+)$")


def short_names(rows: Sequence[Row]) -> list[str]:
    """Return for each row the shortest name that distinguishes it from the others.

    That is its method, its method with guidance, what its name has beyond that of the others, or its name.
    """
    forms = [_forms(row, rest) for row, rest in zip(rows, own_words(rows), strict=True)]
    levels = [Counter(form[level] for form in forms) for level in range(3)]
    return [next((form[n] for n in range(3) if levels[n][form[n]] == 1), form[3]) for form in forms]


def own_words(rows: Sequence[Row]) -> list[str]:
    """Return what the name of each row's release has beyond the words with which all of them begin.

    Where that is nothing, and for real images alone, it is the row's label.
    """
    words = [_words(row) for row in rows if row.score.release is not None]
    alike = takewhile(lambda nth: len(set(nth)) == 1, zip(*words, strict=False))
    shared = len(list(alike)) if len(words) > 1 else 0
    return [
        row.label if row.score.release is None else _readable(_words(row)[shared:]) or row.label
        for row in rows
    ]


def _words(row: Row) -> list[str]:
    return _BETWEEN_WORDS.split(row.name)


def _readable(words: Sequence[str]) -> str:
    name = _NUMBER.sub(r" \1.\2", "-".join(words))
    return _WHOLE.sub(r" \1", name)


def _forms(row: Row, own: str) -> tuple[str, str, str, str]:
    release = row.score.release
    if release is None:
        return (row.name,) * 4
    guided = f"{release.method}, guidance {release.guidance_scale:g}"
    return release.method, guided, own, row.name
