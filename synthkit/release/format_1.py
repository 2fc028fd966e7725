"""What card and metadata of a release of format 1 lack, and what they give otherwise.

synthkit 0.1 wrote that format. `verify` compares what it wrote; `audit` and `publish` write these files anew.
"""

from __future__ import annotations

from typing import Any

# Fields of the front matter, and of what programs act on in croissant.json.
_LATER = frozenset({"task_ids", "source_datasets", "creator", "datePublished"})


def front_matter_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a card's front matter as format 1 has it."""
    return _without_later(fields)


def croissant_1(document: dict[str, Any], license_word: str) -> dict[str, Any]:
    """Return the metadata as format 1 has them: the licence is the Hub's word, not an address."""
    return _without_later(document) | {"license": license_word}


def _without_later(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _LATER}
