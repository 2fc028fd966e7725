"""Real images of any family; `open_source` opens those that a recipe selects."""

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
    """Open the images that a recipe conditions on: those of its source that it selects.

    They are listed, and no image is read. Raises SourceError if the source is missing, empty or not as the
    recipe says.
    """
    return select(open_whole(config), config)


def held_out(
    config: SourceConfig, fields: Mapping[str, Any] | None = None, section: str = "evaluation"
) -> SourceConfig:
    """Return the source of the images that score a classifier trained on this source.

    None of them is in its pool. `fields` are the source's fields that differ, as `split: test`; errors call
    them the fields of `section`. Unless one of
    them says where the images are, they are the other half if the recipe halves its data set, else the data
    set's own part for testing, else, of a few-shot source, all images but the shots. Raises SourceError if
    there are none, or if the family has no such field.
    """
    whole: dict[str, object] = {"shots": None, "trial": 0, "long_tail": None, "limit_per_class": None}
    if fields and not fields.keys() <= SourceBase.model_fields.keys():
        # How images of the training part are selected does not apply to another part.
        return _changed(config, {**whole, "halve": None, "exclude": None, **fields}, section)
    if fields:
        found = held_out(config)
        return _changed(found, _with_excluded(found, fields), section)
    if config.halve is not None:
        other = "validation" if config.halve.part == "training" else "training"
        return config.model_copy(update=whole | {"halve": config.halve.model_copy(update={"part": other})})
    # `exclude` names images of this part by their ids.
    whole["exclude"] = None
    part = config.held_out()
    if part is not None:
        return config.model_copy(update=whole | part)
    if config.shots is not None:
        return config.model_copy(update={"all_but_shots": True})
    raise SourceError(
        "source: has no held-out part to score with; add `halve: {seed: 0}` to the source, or `shots`, "
        "or say where it is by the fields that differ, e.g. --set evaluation.split=test"
    )


def _with_excluded(config: SourceConfig, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields with those images excluded, too, that the source leaves out already."""
    more = fields.get("exclude")
    if not config.exclude or not isinstance(more, list):
        return fields
    return {**fields, "exclude": [*config.exclude, *more]}


def _changed(config: SourceConfig, fields: Mapping[str, object], section: str) -> SourceConfig:
    """Return a source with other fields. Raises SourceError naming the fields that its family has."""
    data = {name: getattr(config, name) for name in config.model_fields_set}
    try:
        return type(config).model_validate({**data, "kind": config.kind, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(set(type(config).model_fields) - set(SourceBase.model_fields) - {"kind"}))
        raise SourceError(
            f"{section}.{key}: {first['msg']}; the real images are of kind {config.kind}, which has "
            f"{known}: use the protocol of this data set, or --set {section}={{}} and its own fields"
        ) from None
