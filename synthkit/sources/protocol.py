"""What a source of real images is, whatever its family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from synthkit.records import Listing


class Source(Protocol):
    """Labelled real images, listed without opening one and read one at a time, from any thread."""

    @property
    def listing(self) -> Listing:
        """Every image: class names, stable relative ids, labels."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the images were found: what was left out, what was guessed."""
        ...

    def stamp(self, index: int) -> str:
        """A text that is another one when an image's content is: path, size and time of a file.

        Raises UnreadableImage if the image is missing.
        """
        ...

    def read(self, index: int) -> bytes:
        """The content of an image, which its SHA-256 is taken of. Raises UnreadableImage."""
        ...

    def decode(self, index: int, content: bytes) -> Image.Image:
        """The RGB image in a content that was read. Raises UnreadableImage naming the image."""
        ...


def load_image(source: Source, index: int) -> Image.Image:
    """The RGB image at a position of the listing. Raises UnreadableImage naming it."""
    return source.decode(index, source.read(index))
