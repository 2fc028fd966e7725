"""A release as it is sent to a repository, which its card, recipe and Croissant metadata then name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import yaml

from synthkit.errors import SignatureError
from synthkit.release.card import render_card
from synthkit.release.croissant import render_croissant
from synthkit.release.facts import FileFacts
from synthkit.release.files import CARD, CROISSANT, FILES, MANIFEST, RECIPE, SIGNATURE, is_data
from synthkit.release.image import read_image
from synthkit.release.records import key_of
from synthkit.release.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A release to send: its manifest, and by path the facts and the content of every file.

    A content is a path of this machine, or the bytes of a file that was written anew. `folder` is the
    release's, whose own manifest is `here`.
    """

    manifest: Manifest
    facts: dict[str, FileFacts]
    contents: dict[str, Path | bytes]
    folder: Path
    here: Manifest = field(repr=False)

    @property
    def tag(self) -> str:
        """The tag of this version in a repository: `v1.0.0`."""
        return f"v{self.manifest.version}"

    @property
    def card(self) -> str:
        """The text of the card."""
        return self._text(CARD)

    @property
    def recipe(self) -> str:
        """The text of the recipe."""
        return self._text(RECIPE)

    @property
    def signature(self) -> bytes | None:
        """The signature over the manifest, if one is sent."""
        content = self.contents.get(SIGNATURE)
        return content.read_bytes() if isinstance(content, Path) else content

    @property
    def otherwise(self) -> Outgoing:
        """The same with a card that links no page if it links one, and that links one if it links none."""
        return address_to(self.folder, self.here, str(self.manifest.repo_id), page=not self.manifest.page)

    @property
    def is_signed(self) -> bool:
        """Whether a signature over the manifest is sent, too."""
        return SIGNATURE in self.facts

    def _text(self, path: str) -> str:
        content = self.contents[path]
        return (content if isinstance(content, bytes) else content.read_bytes()).decode()

    def signed(self, signature: bytes) -> Self:
        """Return the same with a signature over its manifest, which stays the last file."""
        facts = {**self.facts, SIGNATURE: _facts(SIGNATURE, signature)}
        facts[MANIFEST] = facts.pop(MANIFEST)
        return replace(self, facts=facts, contents={**self.contents, SIGNATURE: signature})


def address_to(release: Path, manifest: Manifest, repo_id: str, *, page: bool = False) -> Outgoing:
    """Return the release, byte for byte, as a build with `hub.repo_id: repo_id` in its recipe writes it.

    With `page` the recipe has `hub.page: true`, and the card links the page. The folder must be intact, and
    stays as it is. Its signature comes along if the manifest that is sent is the one that was signed.
    """
    here, names = manifest, {"repo_id": repo_id, "page": page}
    changed = {}
    if (manifest.repo_id, manifest.page) != (repo_id, page):
        changed = _renamed(release, manifest.model_copy(update=names))
        files = [
            _facts(file.path, changed[file.path]) if file.path in changed else file for file in manifest.files
        ]
        manifest = manifest.model_copy(update={**names, "files": files}).sealed()
    contents: dict[str, Path | bytes] = {file.path: release / file.path for file in manifest.files}
    contents |= {**changed, MANIFEST: manifest.to_json()}
    facts = {file.path: file for file in manifest.files}
    facts[MANIFEST] = _facts(MANIFEST, manifest.to_json())
    outgoing, signature = Outgoing(manifest, facts, contents, release, here), read_signature(release)
    return outgoing if changed or signature is None else outgoing.signed(signature)


def refuse_lost_signature(release: Path, outgoing: Outgoing) -> None:
    """Raise SignatureError if a release is signed and what is sent is not: its files name the repository."""
    if read_signature(release) is not None and not outgoing.is_signed:
        raise SignatureError(
            f"{release}: its signature does not fit what is sent, whose card, recipe and metadata name "
            f"{outgoing.manifest.repo_id}: sign that with --sign --key KEY (or remove {release / SIGNATURE})"
        )


def _renamed(release: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return, written anew, every file that names the repository; the manifest comes later."""
    return {file.name: _WRITERS[file.name](release, manifest) for file in FILES if file.names_repository}


def _card(release: Path, manifest: Manifest) -> bytes:
    example = read_image(release, manifest, key_of(0)).record.to_row()
    return render_card(manifest, example).encode()


def _croissant(_: Path, manifest: Manifest) -> bytes:
    data = [file for file in manifest.files if is_data(file.path)]
    return render_croissant(manifest.model_copy(update={"files": data}))


def _recipe(release: Path, manifest: Manifest) -> bytes:
    text = (release / RECIPE).read_text(encoding="utf-8")
    header = takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True))
    recipe = yaml.safe_load(text)
    hub = recipe.get("hub") or {}
    kept = {name: value for name, value in hub.items() if name not in ("repo_id", "page")}
    page = {"page": True} if manifest.page else {}
    recipe["hub"] = {"repo_id": manifest.repo_id, **kept, **page}
    return ("".join(header) + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)).encode()


_WRITERS: dict[str, Callable[[Path, Manifest], bytes]] = {
    CARD: _card,
    CROISSANT: _croissant,
    RECIPE: _recipe,
}


def _facts(path: str, content: bytes) -> FileFacts:
    return FileFacts(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
