"""The protocol that every source of real images follows, and what names an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Listing:
    """The list of a source's N images; making it opens no image.

    `ids` are stable and relative to the source; `labels` is (N,) int32, the number of each image's class in
    `classes`.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


# The end of a text: in Python a line feed may follow `$`, and JSON Schema does not know `\Z`.
END = r"$(?!\n)"
Sha256 = Annotated[str, Meta(pattern=f"^[0-9a-f]{{64}}{END}")]
# A record holds no absolute path, no `..`, no control character and no end of a line.
_RELATIVE = rf"^(?!/)(?!(.*/)?\.\.(/|$))[^\\\u0000-\u001f\u007f-\u009f\u2028\u2029]+{END}"
RelativeId = Annotated[str, Meta(pattern=_RELATIVE, min_length=1)]


class SourceImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A real image as provenance names it: its relative id and the SHA-256 of its content."""

    id: RelativeId
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Skipped:
    """A real image that could not be read, and why; listed in the manifest."""

    id: str
    reason: str


class Source(Protocol):
    """Labelled real images, listed without opening one and read one at a time, from any thread."""

    @property
    def listing(self) -> Listing:
        """The list of all images: class names, ids, labels."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the listing, a line each: files that were left out, guesses."""
        ...

    def stamp(self, index: int) -> str:
        """Return a text that changes when an image's content does, as the path, size and time of its file.

        Raises UnreadableImage if the image is missing.
        """
        ...

    def read(self, index: int) -> bytes:
        """Return the content of an image, of which its SHA-256 is taken. Raises UnreadableImage."""
        ...

    def decode(self, index: int, content: bytes) -> Image.Image:
        """Return the RGB image in a content that `read` returned. Raises UnreadableImage."""
        ...


def load_image(source: Source, index: int) -> Image.Image:
    """Return the RGB image at a position of the listing. Raises UnreadableImage."""
    return source.decode(index, source.read(index))


def is_relative_id(text: str) -> bool:
    """Return whether a text can be the id of a real image in a record."""
    return re.search(_RELATIVE, text) is not None
