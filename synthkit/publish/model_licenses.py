"""Refuses to publish images of a model whose licence restricts training on them, until a user accepts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError
from synthkit.release.model_licenses import reaching, restricting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from synthkit.release.manifest import Manifest

OPTION = "--accept-model-license"


def check_model_licenses(release: Path, manifest: Manifest, accepted: Collection[str]) -> list[str]:
    """Return warnings about licences whose consequence is not known.

    Raises ReleaseError for a licence that restricts training on the images and is not among those accepted,
    and for one accepted that the model does not have. The licence of a model that made none of the images is
    none of theirs.
    """
    pieces = reaching(manifest)
    restricted = restricting(pieces)
    licenses = {piece.license for piece in pieces} - {""}
    for name in accepted:
        if name not in licenses:
            needed = ", ".join(dict.fromkeys(piece.license for piece in restricted))
            advice = f"the one to accept is {needed}" if needed else "none needs to be accepted: leave it out"
            raise ReleaseError(f"{OPTION} {name}: no piece of the model of {release} has it; {advice}")
    for piece in restricted:
        if piece.license not in accepted:
            raise ReleaseError(
                f"{release}: {piece.field} ({piece.repository}) has the licence {piece.license}, "
                f"which restricts training on the images: {piece.consequence.line}; "
                f"read it, and if your release is within it, add {OPTION} {piece.license}"
            )
    return [*_warnings(manifest, accepted)]


def _warnings(manifest: Manifest, accepted: Collection[str]) -> Iterator[str]:
    for piece in reaching(manifest):
        if piece.consequence.restricts is None and not piece.is_ours and piece.license not in accepted:
            what = f"{piece.license}, " if piece.license else ""
            yield f"the licence of {piece.field} ({piece.repository}) is {what}{piece.consequence.line}"
