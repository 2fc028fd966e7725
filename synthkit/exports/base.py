"""What a layout does: take the images of a release one by one, and write its files into an empty folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest


class Writer(Protocol):
    """Writes a layout; what it holds in memory does not grow with the images, but for some bytes of each."""

    def add(self, stored: StoredImage) -> None:
        """Write an image; images come in the order of their keys."""
        ...

    def close(self) -> None:
        """Write what ends the layout."""
        ...

    def abandon(self) -> None:
        """Write no more, and close what is open: the folder is going to be removed."""
        ...


class WriterKind(Protocol):
    """Begins a layout in an empty folder."""

    def __call__(self, folder: Path, manifest: Manifest) -> Writer:
        """Return what writes the images of a release there."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout: what writes it, what it is in a few words, and how Python loads it.

    `module` is what Python imports for that, `load` the expression, with the folder as {out}.
    """

    writer: WriterKind
    what: str
    module: str
    load: str
