"""Opening sources in tests, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import TypeAdapter

from synthkit.errors import SourceError
from synthkit.recipe.families import SourceConfig
from synthkit.sources import open_source
from synthkit.sources.base import Source

Settings = dict[str, Any]


def config(**settings: Any) -> SourceConfig:
    parsed: SourceConfig = TypeAdapter(SourceConfig).validate_python(settings)
    return parsed


def opened(**settings: Any) -> Source:
    return open_source(config(**settings))


def by_class(source: Source) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in source.listing.classes}
    for name, label in zip(source.listing.ids, source.listing.labels, strict=True):
        found[source.listing.classes[label]].append(name)
    return found


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(SourceError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
