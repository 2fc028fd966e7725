"""An image of a release by its key: its record, its file, and where they lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import RecipeError, ReleaseError
from synthkit.manifest import RECIPE
from synthkit.recipe_file import load_complete
from synthkit.records import key_of, read_record
from synthkit.tar import read_member
from synthkit.verify_shard import against_release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.manifest import Manifest
    from synthkit.recipe import Recipe
    from synthkit.records import Provenance


# What a user of a release may set of its recipe: where the real images and the model are.
_PLACES = ("source.", "model.id=", "model.revision=")


@dataclass(frozen=True, slots=True)
class Traced:
    """One image as a release holds it; `shard` is the path of its tar inside the release."""

    record: Provenance
    image: bytes
    shard: str


def trace(release: Path, manifest: Manifest, key: str) -> Traced:
    """Find an image. Raises ReleaseError for a key that is not there, or a sample that is damaged."""
    index = index_of(manifest, key)
    first = 0
    for shard in manifest.shards:
        images = shard.images or 0
        if index < first + images:
            return _read(release, manifest, shard.path, key_of(index))
        first += images
    raise ReleaseError(
        f"{release}: the manifest's shards hold no {key}; `synthkit verify` says what is wrong"
    )


def index_of(manifest: Manifest, key: str) -> int:
    """The index of a key, leading zeros or not. Raises ReleaseError if the release has no such image."""
    index = int(key) if key.isascii() and key.isdecimal() and len(key) < 20 else -1
    if not 0 <= index < manifest.images:
        last = key_of(manifest.images - 1)
        raise ReleaseError(f"{manifest.name} has no image {key[:40]}; its keys are {key_of(0)} to {last}")
    return index


def read_recipe(release: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a release was made from, with this machine's places set.

    Raises ReleaseError if the release has none that can be read, or if more than a place is set.
    """
    for override in overrides:
        if not override.startswith(_PLACES):
            raise ReleaseError(
                f"--set {override}: a release's recipe stays as it is; "
                "only source.… and model.id can be set, to say where things are on this machine"
            )
    path = release / RECIPE
    if not path.is_file():
        raise ReleaseError(f"{path}: is missing; run synthkit verify {release}")
    try:
        return load_complete(path, overrides)
    except RecipeError as error:
        raise ReleaseError(str(error)) from None


def _read(release: Path, manifest: Manifest, shard: str, key: str) -> Traced:
    tar = release / shard
    try:
        record = read_record(read_member(tar, f"{key}.json"))
        image = read_member(tar, f"{key}.{manifest.extension}")
    except (OSError, KeyError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(told.split())
        raise ReleaseError(f"{tar}: {key} cannot be read: {reason}; run synthkit verify {release}") from None
    if hashlib.sha256(image).hexdigest() != record.image_sha256 or record.key != key:
        raise ReleaseError(f"{tar}: {key} is not the image of its record; run synthkit verify {release}")
    fault = next(against_release(record, key, manifest), None)
    if fault is not None:
        raise ReleaseError(f"{tar}: {key}: {fault}; run synthkit verify {release}")
    return Traced(record, image, shard)
