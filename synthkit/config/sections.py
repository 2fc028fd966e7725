"""Which model describes a key of a YAML file: sections in sections, and sections of several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Sequence


def section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of a section; None for a plain value and for a mapping of any keys."""
    field = model.model_fields.get(key)
    annotation = field.annotation if field else None
    # An optional section is a union with None.
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def tag(model: type[BaseModel], key: str) -> str | None:
    """Return the name of the field that says a section's kind (`kind`); None if it has only one kind."""
    field = model.model_fields.get(key)
    return field.discriminator if field and isinstance(field.discriminator, str) else None


def kinds(model: type[BaseModel], key: str) -> dict[str, type[BaseModel]]:
    """Return the models of a section of several kinds, by kind; empty for a section of one kind."""
    name = tag(model, key)
    if name is None:
        return {}
    members = get_args(model.model_fields[key].annotation)
    return {kind: member for member in members for kind in get_args(member.model_fields[name].annotation)}


def holder(root: type[BaseModel], keys: Sequence[str], data: Any) -> type[BaseModel] | None:
    """Return the model that the last key is a field of.

    None in a mapping of any keys, and in a section whose kind `data` does not say.
    """
    model: type[BaseModel] | None = root
    for key in keys[:-1]:
        data = data.get(key) if isinstance(data, dict) else None
        model = _inner(model, key, data) if model else None
    return model


def is_tag(root: type[BaseModel], keys: Sequence[str], data: Any) -> bool:
    """Return whether a key says the kind of its section, and so which other keys the section has."""
    model = holder(root, keys[:-1], data) if len(keys) > 1 else None
    return model is not None and tag(model, keys[-2]) == keys[-1]


def _inner(model: type[BaseModel], key: str, data: Any) -> type[BaseModel] | None:
    name = tag(model, key)
    if name is None:
        return section(model, key)
    kind = data.get(name) if isinstance(data, dict) else None
    return kinds(model, key).get(kind) if isinstance(kind, str) else None
