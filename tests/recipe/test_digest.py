"""What decides a recipe's digest, and that fields to come move the digest of no recipe of today."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, Field, create_model

from synthkit.config.sections import section
from synthkit.recipe import digest
from synthkit.recipe.digest import BY_CONTENT, FOUNDING_FIELDS, LATER_FIELDS, NOT_DATA
from synthkit.recipe.families import SOURCES
from synthkit.recipe.load import load
from synthkit.recipe.schema import Recipe
from synthkit.sources import open_source
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes
from tests.helpers.golden_digest import FACTS, PLAIN
from tests.recipe.conftest import MINIMAL

FILTERS = """\
filters:
  blank: {}
  near_copy: {}
  label_agreement:
    classifier: {network: resnet18, checkpoint: w.safetensors, sha256: %s}
""" % ("a" * 64)
FILTERED = "6c30425e3563662b309f5d64d5eb721aee08213c0e3916bc1d0610c326d72424"
# By the dotted name; "" is the recipe itself.
SECTIONS = (
    *("", "conditioning", "model", "sampler", "arithmetic", "output", "filters", "filters.blank"),
    *("filters.near_copy", "filters.label_agreement", "filters.label_agreement.classifier"),
)
HOW_TO_DECIDE = (
    "no table of synthkit/recipe/digest.py names these fields of a recipe. A field that changes data belongs "
    "in LATER_FIELDS (in FOUNDING_FIELDS it would move every digest), one that moves no image in NOT_DATA"
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("summary=other words", True),
        ("version=9.9.9", True),
        ("license=mit", True),
        ("hub.repo_id=me/mine", True),
        ("seed=1", False),
        ("prompt=a {name}", False),
        ("target_per_class=101", False),
        ("conditioning.dropout=0.5", False),
        ("sampler.guidance_scale=2.0", False),
        ("sampler.batch_size=2", False),
        ("sampler.batch_size=16", True),
        ("arithmetic.compile=true", False),
        ("arithmetic.compile=false", True),
        ("arithmetic.compile=blocks", False),
        ("arithmetic.attention=sdpa", True),
        ("model.dtype=bfloat16", False),
        ("output.format=jpeg", False),
        ("output.shard_size=10", False),
    ],
)
def test_the_digest_follows_what_changes_data_and_nothing_else(write: Any, change: str, same: bool) -> None:
    path = write(MINIMAL)
    assert (load(path).digest(**FACTS) == load(path, [change]).digest(**FACTS)) is same


def test_the_digest_follows_source_and_model(write: Any) -> None:
    recipe = load(write(MINIMAL))
    digests = {
        recipe.digest(listing_digest=a, model=b, revision=c) for a, b, c in ("xyz", "ayz", "xby", "xyc")
    }
    assert len(digests) == 4


def test_the_digest_of_a_given_recipe_never_changes(write: Any) -> None:
    """If this fails, everybody's finished shards are orphaned: raise FORMAT_VERSION on purpose only."""
    assert load(write(MINIMAL)).digest(**FACTS) == PLAIN
    assert load(write(MINIMAL + FILTERS)).digest(**FACTS) == FILTERED


def test_options_that_are_not_used_change_no_digest(write: Any) -> None:
    written = load(write(MINIMAL + "arithmetic: {compile: false, attention: sdpa}\n"))
    assert written.digest(**FACTS) == PLAIN
    compiled = load(write(MINIMAL), ["arithmetic.compile=true"])
    assert compiled.digest(**FACTS) == "2c7b56c454b80b267056fefba528ee9e0bbf58ad38a4c40e8a6c9cf1a12a407c"
    assert "arithmetic" not in written.portable()
    assert compiled.portable()["arithmetic"]["compile"] is True


def test_every_field_is_in_one_table() -> None:
    assert not (missing := list(undecided(Recipe))), f"{', '.join(missing)}: {HOW_TO_DECIDE}"
    tables = [FOUNDING_FIELDS, LATER_FIELDS, BY_CONTENT, NOT_DATA]
    named = [name for table in tables for name in table]
    assert sorted(named) == sorted(fields(Recipe)), "a table names a field twice, or one that is not there"


@pytest.mark.parametrize("where", SECTIONS)
def test_a_new_field_that_no_table_names_is_found(where: str) -> None:
    assert list(undecided(grown(Recipe, where))) == [f"{where}.later".lstrip(".")]


@pytest.mark.parametrize("where", SECTIONS)
def test_a_later_field_moves_no_digest_before_it_is_set(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field = f"{where}.later".lstrip(".")
    monkeypatch.setattr(digest, "LATER_FIELDS", LATER_FIELDS | {field})
    for text, known in ((MINIMAL, PLAIN), (MINIMAL + FILTERS, FILTERED)):
        unset, written, changed = (
            grown(Recipe, where).model_validate(having(yaml.safe_load(text), field, value)).digest(**FACTS)
            for value in (None, 7, 8)
        )
        assert unset == known
        if where.startswith("filters") and text == MINIMAL:
            continue
        assert written == known
        assert changed != known


@pytest.mark.parametrize("where", SECTIONS)
def test_a_later_field_is_written_into_a_release_only_where_it_is_set(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = f"{where}.later".lstrip(".")
    monkeypatch.setattr(digest, "LATER_FIELDS", LATER_FIELDS | {field})
    text = MINIMAL + FILTERS + "arithmetic: {compile: true}\n"
    before = Recipe.model_validate(yaml.safe_load(text)).portable()
    unset, changed = (
        grown(Recipe, where).model_validate(having(yaml.safe_load(text), field, value)).portable()
        for value in (None, 8)
    )
    assert unset == before
    assert changed == having(before, field, 8)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_later_field_of_a_source_moves_no_digest(kind: str) -> None:
    """The real images enter by their content."""
    family = grown(SOURCES[kind], "")
    model = create_model("Recipe", __base__=Recipe, source=(family, ...))
    known = {name: "x" for name in family.model_fields if name in ("root", "list", "names", "id")}
    for later in ({}, {"later": 8}):
        data = {**yaml.safe_load(MINIMAL), "source": {"kind": kind, **known, **later}}
        assert model.model_validate(data).digest(**FACTS) == PLAIN


def test_the_digest_of_real_images_follows_their_content_alone() -> None:
    family = grown(SOURCES["digits"], "")
    plain, later, other = (
        read_all(
            open_source(source), on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None
        ).digest
        for source in (
            SOURCES["digits"](kind="digits"),
            family(kind="digits", later=8),
            family(kind="digits", max_per_class=56),
        )
    )
    assert plain == later
    assert plain != other


def undecided(model: type[BaseModel], at: str = "") -> Iterator[str]:
    """The fields that no table names, by their dotted names."""
    named = FOUNDING_FIELDS | LATER_FIELDS | BY_CONTENT | NOT_DATA
    return (name for name in fields(model, at) if name not in named)


def fields(model: type[BaseModel], at: str = "") -> Iterator[str]:
    """Every field and section; of a section that is in the digest whole or not at all, its name alone."""
    for name in model.model_fields:
        yield f"{at}{name}"
        inner = section(model, name)
        if inner and f"{at}{name}" not in BY_CONTENT | NOT_DATA:
            yield from fields(inner, f"{at}{name}.")


def grown(model: type[BaseModel], where: str) -> Any:
    """The model with one more field in a section."""
    first, _, rest = where.partition(".")
    if not first:
        return create_model(model.__name__, __base__=model, later=(int, Field(7, description="New.")))
    field = model.model_fields[first]
    inner = grown(section(model, first), rest)
    kind = inner | None if field.default is None else inner
    default = inner() if isinstance(field.default, BaseModel) else field.default
    return create_model(model.__name__, __base__=model, **{first: (kind, Field(default))})


def having(data: dict[str, Any], field: str, value: int | None) -> dict[str, Any]:
    """The data of a recipe with a field set, where its section is there."""
    *sections, last = field.split(".")
    node: Any = data
    for name in sections:
        node = node.setdefault(name, {}) if name != "filters" else node.get(name, {})
    if value is not None:
        node[last] = value
    return data
