"""The model that a release was made with, found on this machine or on the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import find_local, locate
from synthkit.recipe.model_content import loaded_path, piece_of
from synthkit.release.places import find_model, work_roots
from synthkit.system.known_hashes import MODELS, known_if_begun

if TYPE_CHECKING:
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.release.places import Received


def find_checkpoint(received: Received) -> Checkpoint:
    """Return the model of a release; it is downloaded if it is not here.

    Raises GeneratorError if there is none, or if it is another than the release's.
    """
    stated = _stated(received)
    root = next(work_roots(received.folder))
    with known_if_begun(root / MODELS) as known_hashes:
        return locate(find_model(received), known_hashes, stated)


def _stated(received: Received) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of the files that the manifest states, by path, for each piece of the model."""
    pieces = received.recipe.model.pieces
    found: dict[str, dict[str, str]] = {name: {} for name in pieces}
    for part in received.manifest.generator.parts:
        piece = piece_of(part.role, part.file, pieces)
        found.setdefault(piece, {})[loaded_path(part.role, part.file)] = part.sha256
    return found


def find_checkpoint_here(received: Received) -> Checkpoint | None:
    """Return the model of a release if it is on this machine, else None; the network is not used."""
    try:
        return find_local(find_model(received))
    except GeneratorError:
        return None
