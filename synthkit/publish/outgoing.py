"""A release as a repository gets it: its card, recipe and metadata name the repository."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import yaml

from synthkit.release.card import render_card
from synthkit.release.croissant import render_croissant
from synthkit.release.files import CARD, CROISSANT, MANIFEST, RECIPE
from synthkit.release.image import read_image
from synthkit.release.manifest import FileFacts
from synthkit.release.records import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A release with its manifest: every file's facts and its content, as a path or as bytes."""

    manifest: Manifest
    facts: dict[str, FileFacts]
    contents: dict[str, Path | bytes]

    @property
    def tag(self) -> str:
        """The name of this version in a repository."""
        return f"v{self.manifest.version}"

    @property
    def card(self) -> str:
        """The text of the card."""
        content = self.contents[CARD]
        return (content if isinstance(content, bytes) else content.read_bytes()).decode()


def address_to(release: Path, manifest: Manifest, repo_id: str) -> Outgoing:
    """The release as a build with `hub.repo_id` set to this repository writes it, to the byte.

    The folder, which must be intact, stays as it is.
    """
    changed = {} if manifest.repo_id == repo_id else _readdressed(release, manifest, repo_id)
    if changed:
        files = [
            _facts(file.path, changed[file.path]) if file.path in changed else file for file in manifest.files
        ]
        manifest = manifest.model_copy(update={"repo_id": repo_id, "files": files}).sealed()
    contents: dict[str, Path | bytes] = {file.path: release / file.path for file in manifest.files}
    contents |= {**changed, MANIFEST: manifest.to_json()}
    facts = {file.path: file for file in manifest.files}
    facts[MANIFEST] = _facts(MANIFEST, manifest.to_json())
    return Outgoing(manifest, facts, contents)


def _readdressed(release: Path, manifest: Manifest, repo_id: str) -> Mapping[str, bytes]:
    new = manifest.model_copy(update={"repo_id": repo_id})
    example = read_image(release, manifest, key_of(0)).record.to_row()
    data = [file for file in manifest.files if file.path.startswith(("data/", "provenance/"))]
    return {
        CARD: render_card(new, example).encode(),
        RECIPE: _recipe((release / RECIPE).read_text(encoding="utf-8"), repo_id),
        CROISSANT: render_croissant(new.model_copy(update={"files": data})),
    }


def _recipe(text: str, repo_id: str) -> bytes:
    header = takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True))
    recipe = yaml.safe_load(text)
    hub = {field: value for field, value in (recipe.get("hub") or {}).items() if field != "repo_id"}
    recipe["hub"] = {"repo_id": repo_id, **hub}
    return ("".join(header) + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)).encode()


def _facts(path: str, content: bytes) -> FileFacts:
    return FileFacts(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
