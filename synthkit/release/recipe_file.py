"""recipe.yaml of a release: its recipe, complete and portable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence


_RECIPE_HEADER = """\
# The recipe of this release, complete: every default filled in, the model pinned.
# Make it again: synthkit build recipe.yaml{options}
"""


def recipe_yaml(data: dict[str, Any], places: Sequence[str]) -> bytes:
    """recipe.yaml of a portable recipe; `places` are its source's fields that another machine must set."""
    return (recipe_header(places) + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).encode()


def recipe_header(places: Sequence[str]) -> str:
    """The lines above a release's recipe."""
    return _RECIPE_HEADER.format(options="".join(f" --set source.{field}=…" for field in places))
