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

    That is its method, alone or with guidance or the number of images, what its name has beyond that of the
    others, or its name.
    """
    forms = [_forms(row, own) for row, own in zip(rows, own_words(rows), strict=True)]
    counts = [Counter(level) for level in zip(*forms, strict=True)]
    return [
        next((name for name, count in zip(form, counts, strict=True) if count[name] == 1), form[-1])
        for form in forms
    ]


def own_words(rows: Sequence[Row]) -> list[str]:
    """Return what the name of each row's release has beyond the words with which all of them begin.

    Where that is nothing, and for real images alone, it is the row's label.
    """
    words = [None if row.score.release is None else _BETWEEN_WORDS.split(row.name) for row in rows]
    named = [of_one for of_one in words if of_one is not None]
    alike = takewhile(lambda nth: len(set(nth)) == 1, zip(*named, strict=False))
    shared = len(list(alike)) if len(named) > 1 else 0
    return [
        row.label if of_one is None else _readable(of_one[shared:]) or row.label
        for row, of_one in zip(rows, words, strict=True)
    ]


def _readable(words: Sequence[str]) -> str:
    name = _NUMBER.sub(r" \1.\2", "-".join(words))
    return _WHOLE.sub(r" \1", name)


def _forms(row: Row, own: str) -> tuple[str, ...]:
    release = row.score.release
    if release is None:
        return (row.name,) * 5
    method = release.method
    guided = f"{method}, guidance {release.guidance_scale:g}"
    return method, guided, f"{method}, {release.images:,} images", own, row.name
