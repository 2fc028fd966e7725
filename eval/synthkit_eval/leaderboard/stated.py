"""What a stranger's score states at all: short texts, plain numbers, few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.system.names import fault_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit_eval.score_files import Scored

# A name stands in a column of a table.
_LONGEST_NAME, _LONGEST_TEXT = 100, 1000
# Whole numbers beyond are not exact in JSON.
_LARGEST = 1 << 53
_MOST_ITEMS, _DEEPEST = 10_000, 6


def stated_faults(scored: Scored) -> Iterator[str]:
    """Yield what no score states: long texts, characters that a terminal obeys, absurd numbers."""
    score, detail = scored
    names = {"protocol.name": score.protocol.name}
    if score.release is not None:
        of_release = ("name", "version", "method", "generator", "kin", "seal", "recipe_digest")
        names |= {f"release.{name}": getattr(score.release, name) for name in of_release}
    for where, name in names.items():
        if not name.strip() or len(name) > _LONGEST_NAME:
            yield f"its {where} has {len(name):,} letters; a name has 1 to {_LONGEST_NAME}"
    yield from _faults(score.model_dump(mode="json"), "", 0)
    for item in detail.classes:
        yield from _faults(item.model_dump(mode="json"), "classes", 0)
    for name in detail.ids:
        yield from _text_faults(name, "ids")


def _faults(value: Any, where: str, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from _text_faults(value, where)
    elif isinstance(value, int | float) and abs(value) > _LARGEST:
        yield f"its {where} is beyond {_LARGEST:.0e}"
    elif isinstance(value, dict | list):
        if depth > _DEEPEST or len(value) > _MOST_ITEMS:
            yield f"its {where} holds more than a score does"
            return
        items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        for name, item in items:
            if name is not None:
                yield from _text_faults(name, where or "keys")
            yield from _faults(item, ".".join(filter(None, (where, name))), depth + 1)


def _text_faults(text: str, where: str) -> Iterator[str]:
    if len(text) > _LONGEST_TEXT:
        yield f"its {where} has a text of {len(text):,} letters"
    elif fault := fault_in(text):
        yield f"its {where} has a character that no name has: {fault}"
