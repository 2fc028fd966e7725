"""Real images behind one protocol; one module per family. `open_source` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from synthkit.recipe import DigitsSourceConfig, FolderSourceConfig, SourceConfig

if TYPE_CHECKING:
    from PIL import Image

    from synthkit.records import Listing


class Source(Protocol):
    """Labelled real images, listed without opening one and read one at a time, from any thread."""

    listing: Listing

    def load(self, index: int) -> tuple[Image.Image, str]:
        """The image at a position of the listing (RGB) and the SHA-256 of its content.

        Raises UnreadableImage naming the image if it cannot be decoded.
        """
        ...


def open_source(config: SourceConfig) -> Source:
    """The source that a recipe names. Raises SourceError if it is missing or empty."""
    match config:
        case DigitsSourceConfig():
            from synthkit.sources.digits import DigitsSource

            return DigitsSource(
                config.part,
                max_per_class=config.max_per_class,
                imbalance_factor=config.imbalance_factor,
            )
        case FolderSourceConfig():
            from synthkit.sources.folder import FolderSource

            return FolderSource(config.root)
