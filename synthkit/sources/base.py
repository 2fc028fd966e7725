"""What a source of real images is, whatever its family."""

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
    """Every real image of a source, known without opening one.

    `ids` are stable and relative to the source; `labels` is (N,) int32 into `classes`.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


# `$` alone would let a line feed follow, as Python reads it; JSON Schema has no `\Z`.
END = r"$(?!\n)"
Sha256 = Annotated[str, Meta(pattern=f"^[0-9a-f]{{64}}{END}")]
# Absolute paths, ways out, control characters and ends of lines have no place in a record.
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


def is_relative_id(text: str) -> bool:
    """Whether a text can be the id of a real image in a record."""
    return re.search(_RELATIVE, text) is not None
