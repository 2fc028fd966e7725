"""Fields that were given as values are read back from the words of `--set` as the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from synthkit.config.words import plain, words
from synthkit.config.yaml_file import plain_data
from synthkit.errors import RecipeError

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(VALUES)
@example(1e-05)
@example(1e16)
@example([1e-05, {"a": -1e22}])
@example("line\u2028end\x85\x7f\ufeff")
@example({"": "1e-05: #", "yes": "null"})
@example("🐈 'quoted' \\ \"twice\"")
def test_a_value_is_read_back(value: Any) -> None:
    (word,) = words({"section.field": value})
    name, _, text = word.partition("=")
    assert name == "section.field"
    assert plain_data(text) == value


def test_words_are_as_people_write_them() -> None:
    fields = {"seed": 3, "model.id": "a/b", "source.classes": ["x", "y"], "lr": 1e-05, "on": True}
    assert words(fields) == ["seed=3", 'model.id="a/b"', 'source.classes=["x", "y"]', "lr=1.0e-05", "on=true"]


def test_what_libraries_give_becomes_plain() -> None:
    given = {"a": (np.int64(3), np.float32(0.5)), "b": Path("x/y"), "c": np.True_.item()}
    assert plain(given, "here", RecipeError) == {"a": [3, 0.5], "b": "x/y", "c": True}
    with pytest.raises(RecipeError, match="here: a: is of type ndarray; give text, a number"):
        plain({"a": np.zeros(2)}, "here", RecipeError)
