"""The model that a release was made with, found on this machine or on the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import find_local, locate
from synthkit.release.places import find_model, work_roots
from synthkit.system.known_hashes import MODELS, known_if_begun

if TYPE_CHECKING:
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.release.places import Received


def find_checkpoint(received: Received) -> Checkpoint:
    """Return the model of a release; it is downloaded if it is not here.

    Raises GeneratorError if there is none, or if it is another than the release's.
    """
    stated = {part.file: part.sha256 for part in received.manifest.generator.parts}
    root = next(work_roots(received.folder))
    with known_if_begun(root / MODELS) as known_hashes:
        return locate(find_model(received), known_hashes, stated)


def find_checkpoint_here(received: Received) -> Checkpoint | None:
    """Return the model of a release if it is on this machine, else None; the network is not used."""
    try:
        return find_local(find_model(received))
    except GeneratorError:
        return None
