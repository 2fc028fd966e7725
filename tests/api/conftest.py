"""The small recipe of the tests as a mapping, with a model that makes images of one colour."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.conftest import SMALL


@pytest.fixture
def flat() -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load(SMALL)
    # YAML reads a day as a date; in Python it is written as text.
    return recipe | {"model": {"id": "builtin:flat-colours"}, "released": str(recipe["released"])}
