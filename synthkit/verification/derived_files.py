"""Derives the card, the Croissant metadata and recipe.yaml of a release again, and compares them.

Files that this version of synthkit wrote must be the same to the byte. In files of another version, whose
sentences may differ, the parts that readers and programs act on are compared.
"""

from __future__ import annotations

import json
import re
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

from synthkit.config.yaml_file import YAML_ERRORS, plain_data
from synthkit.release.card import render_card
from synthkit.release.croissant import describe, render_croissant
from synthkit.release.front_matter import front_matter
from synthkit.release.recipe_file import recipe_header, recipe_yaml
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.recipe.schema import Recipe
    from synthkit.recipe.source import SourceBase
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance

# How many bytes longer than twice the expected file another version's file may be.
_ROOM = 1 << 16
# The metadata that programs act on: where the files are, what is in them, what may be done with them.
_STRUCTURE = (
    "@type",
    "name",
    "version",
    "datePublished",
    "license",
    "url",
    "creator",
    "distribution",
    "recordSet",
)


def card_faults(path: Path, manifest: Manifest, example: Provenance) -> Iterator[str]:
    """Yield what differs between README.md and the card of this manifest and its first record."""
    wanted = render_card(manifest, example.to_row())
    text = _text(path, len(wanted.encode()))
    if text is None:
        yield "is not a card: it is not text, or far longer than the manifest's card"
        return
    if text == wanted:
        return
    said, body = _divide(text)
    front, prose = _divide(wanted)
    if said != front and _parsed(said) != front_matter(manifest):
        yield "is not the manifest's card: its front matter (data files, licence, classes …) is another one"
    if manifest.environment.get("synthkit") != __version__:
        if f"# {manifest.name}" not in body.split("\n"):
            yield "is not the manifest's card: its title is not the release's name"
        return
    there, sections = _sections(body), _sections(prose)
    for title in [title for title in {**sections, **there} if there.get(title) != sections.get(title)]:
        yield f"is not the manifest's card: {title or 'its beginning'!r:.64} is another one"


def _divide(card: str) -> tuple[str, str]:
    """Split a card into its front matter, without the lines of dashes, and the rest."""
    found = re.match(r"---\n(.*?\n)---\n", card, re.DOTALL)
    return (found[1], card[found.end() :]) if found else ("", card)


def _parsed(text: str) -> Any:
    try:
        return plain_data(text)
    except YAML_ERRORS:
        return None


def _sections(body: str) -> dict[str, list[str]]:
    """Return the lines under each heading; lines before the first heading have the key ""."""
    sections: dict[str, list[str]] = {"": []}
    title = ""
    for line in body.split("\n"):
        if line.startswith("## "):
            title = line[3:]
            # A heading that is there twice is one that no card has.
            sections[title] = ["", *sections[title]] if title in sections else []
        else:
            sections[title].append(line)
    return sections


def croissant_faults(path: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what differs between croissant.json and the metadata of this manifest."""
    wanted = render_croissant(manifest)
    raw = _read(path, len(wanted))
    if raw is None:
        yield "is far longer than the manifest's metadata"
    elif raw != wanted and manifest.environment.get("synthkit") == __version__:
        yield f"is not the manifest's metadata{_first_difference(_json(raw), describe(manifest))}"
    elif raw != wanted:
        said, ours = _json(raw), describe(manifest)
        for name in _STRUCTURE:
            if not isinstance(said, dict) or said.get(name) != ours.get(name):
                yield f"is not the manifest's metadata: its {name} is another one"


def _first_difference(said: Any, wanted: dict[str, Any]) -> str:
    if not isinstance(said, dict):
        return ": it is not a JSON object"
    odd = [name for name in {**wanted, **said} if said.get(name) != wanted.get(name)]
    return f": its {odd[0]!s:.64} is another one" if odd else ": it is written otherwise"


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def recipe_faults(path: Path, manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield a fault if recipe.yaml is not written as a build writes this recipe."""
    if manifest.environment.get("synthkit") != __version__:
        return
    fields, source = recipe.source.PATHS, recipe.source
    data = recipe.portable()
    # Which fields were paths on the machine that built it, only that build knew: every choice is accepted.
    data["source"] |= _named_paths(source)
    named = [f"source.{field}" for field in fields]
    if recipe.retrieval is not None:
        pool = recipe.retrieval.source
        data["retrieval"]["source"] |= _named_paths(pool)
        named += [f"retrieval.source.{field}" for field in pool.PATHS]
    body = recipe_yaml(data, ()).removeprefix(recipe_header(()).encode())
    captions = () if recipe.captions is None else ("captions.file",)
    tellable = (
        (*places, *captions)
        for places in chain.from_iterable(combinations(named, count) for count in range(len(named) + 1))
    )
    raw = _read(path, len(body))
    if raw not in {recipe_header(places).encode() + body for places in tellable}:
        yield "is not written as a build writes it: complete, in the order of the fields, two lines above"


def _named_paths(source: SourceBase) -> dict[str, Any]:
    return {name: getattr(source, name) for name in source.PATHS if getattr(source, name) is not None}


def _text(path: Path, like: int) -> str | None:
    raw = _read(path, like)
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


def _read(path: Path, like: int) -> bytes | None:
    """Read a file; return None if it is far longer than `like` bytes."""
    most = 2 * like + _ROOM
    with path.open("rb") as stream:
        raw = stream.read(most + 1)
    return raw if len(raw) <= most else None
