"""Real images behind one protocol; one module per family. `open_source` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from synthkit.errors import SourceError
from synthkit.recipe.source import SourceBase
from synthkit.sources.families import open_whole
from synthkit.sources.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.recipe.families import SourceConfig
    from synthkit.sources.base import Source


def open_source(config: SourceConfig) -> Source:
    """The images that a recipe conditions on: those of its source that it selects.

    No image is opened. Raises SourceError if the source is missing, empty or not as the recipe says.
    """
    return select(open_whole(config), config)


def held_out(config: SourceConfig, fields: Mapping[str, Any] | None = None) -> SourceConfig:
    """The source of the images that score a classifier trained on this one, none of them in its pool.

    `fields` say where they are: the source's fields that differ (`split: test`). Without one that says
    where, they are the other half where a recipe halves its data set, else the data set's own part for
    validation or testing. Raises SourceError where there is none, or for fields no such source has.
    """
    whole: dict[str, object] = {"shots": None, "trial": 0, "long_tail": None, "limit_per_class": None}
    if fields and not fields.keys() <= SourceBase.model_fields.keys():
        # Which images of the training part are taken, or left out, says nothing of another part.
        return _changed(config, {**whole, "halve": None, "exclude": None, **fields})
    if fields:
        return _changed(held_out(config), fields)
    if config.halve is not None:
        other = "validation" if config.halve.part == "training" else "training"
        return config.model_copy(update=whole | {"halve": config.halve.model_copy(update={"part": other})})
    # The ids to leave out are those of this part.
    whole["exclude"] = None
    part = config.held_out()
    if part is not None:
        return config.model_copy(update=whole | part)
    raise SourceError(
        "source: has no held-out part to score with; add `halve: {seed: 0}` to the source, "
        "or say where it is by the fields that differ, e.g. --set evaluation.split=test"
    )


def _changed(config: SourceConfig, fields: Mapping[str, object]) -> SourceConfig:
    data = {name: getattr(config, name) for name in config.model_fields_set}
    try:
        return type(config).model_validate({**data, "kind": config.kind, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(set(type(config).model_fields) - set(SourceBase.model_fields) - {"kind"}))
        raise SourceError(
            f"evaluation.{key}: {first['msg']}; the real images are of kind {config.kind}, which has "
            f"{known}: use the protocol of this data set, or --set evaluation={{}} and its own fields"
        ) from None
