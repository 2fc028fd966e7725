"""The images that a page shows: each with its picture, its history in words, its sources and conditioning."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.errors import SynthkitError
from synthkit.inspection.conditioning_picture import conditioning_of, embedding_shape_here
from synthkit.inspection.recorded_sources import retrieved_of, sources_of
from synthkit.inspection.show import history
from synthkit.page.numbers import numbers_of
from synthkit.page.pictures import Mixed, Picture, picture_of
from synthkit.page.words import LINE, name, source_title
from synthkit.release.image import read_chosen
from synthkit.release.records import Provenance8
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from PIL import Image

    from synthkit.page.choice import Plan
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance
    from synthkit.sources.pool import RealImages

# How work tells of its progress, as `system.progress.progress` does.
Progress = Callable[..., "AbstractContextManager[Callable[[int], None]]"]
LEFT_OUT = "They are left out here, since their terms may not allow to hand them on; the histories name them."
# Decoded real images that are kept, since images of a class share them.
_KEPT = 16


@contextmanager
def no_progress(what: str, total: float, *, unit: str = "images") -> Iterator[Callable[[int], None]]:
    """Show nothing."""
    yield lambda count: None


class Source(NamedTuple):
    """A real image beside an image that was made from it.

    `place` is where the page has its picture; None if the image is not at hand. `crop` is [x, y, width,
    height] in the image's own pixels, or empty.
    """

    title: str
    name: str
    place: int | None
    crop: tuple[int, ...]


@dataclass(slots=True)
class Shown:
    """An image that a page shows; `place` is its number on the page."""

    place: int
    record: Provenance
    picture: Picture
    lines: list[tuple[str, str]]
    numbers: dict[str, float]
    sources: list[Source] = field(default_factory=list)
    mixed: Mixed | None = None

    @property
    def key(self) -> str:
        """Its key."""
        return self.record.key

    @property
    def class_name(self) -> str:
        """The name of its class, cut if it is long."""
        return name(self.record.class_name)


@dataclass(slots=True)
class Gallery:
    """All images of a page by index, the pictures of real ones, and why those are missing, if they are."""

    images: dict[int, Shown]
    real: list[Picture] = field(default_factory=list)
    missing: str = ""

    @property
    def size(self) -> int:
        """The bytes of all its pictures in a page."""
        made = sum(len(shown.picture.uri) for shown in self.images.values())
        mixed = sum(len(shown.mixed.picture.uri) for shown in self.images.values() if shown.mixed)
        return made + mixed + sum(len(picture.uri) for picture in self.real)


def read_gallery(
    received: Received,
    indices: Sequence[int],
    plan: Plan,
    show_progress: Progress = progress,
    *,
    sources: bool = True,
) -> Gallery:
    """Read images with their histories, and the real images that they were made from, where at hand.

    Without `sources` the real images are named alone. Raises ReleaseError if an image of the release is
    damaged.
    """
    gallery = Gallery(_read(received, indices, plan.edge, show_progress))
    if not sources:
        _leave_out_sources(gallery, LEFT_OUT)
        return gallery
    try:
        _add_sources(received, gallery, plan.source_edge, show_progress)
    except SynthkitError as error:
        _leave_out_sources(gallery, name(str(error), LINE))
    return gallery


def _leave_out_sources(gallery: Gallery, why: str) -> None:
    gallery.real, gallery.missing = [], why
    for shown in gallery.images.values():
        shown.sources, shown.mixed = _named(shown.record, lambda which, real: None), None


def _read(received: Received, indices: Sequence[int], edge: int, show_progress: Progress) -> dict[int, Shown]:
    manifest, found = received.manifest, {}
    with show_progress("reading images", len(manifest.shards), unit="shards") as advance:
        stored = read_chosen(received.folder, manifest, indices, advance)
        for place, (index, one) in enumerate(zip(indices, stored, strict=True)):
            found[index] = Shown(
                place=place,
                record=one.record,
                picture=picture_of(one.pixels(), edge),
                lines=[(title.strip(), name(text, LINE)) for title, text in history(manifest, one)],
                numbers=numbers_of(one.record),
            )
    return found


def _add_sources(received: Received, gallery: Gallery, edge: int, show_progress: Progress) -> None:
    """Add the pictures of real images, and the conditioning that was made of them."""
    records = [shown.record for shown in gallery.images.values()]
    sources = {"source": _Real(sources_of(received, records))}
    if any(isinstance(record, Provenance8) for record in records):
        sources["retrieved"] = _Real(retrieved_of(received, records))
    shape = embedding_shape_here(received)
    places: dict[tuple[str, str], int] = {}

    def place_of(which: str, real: str) -> int:
        if (which, real) not in places:
            places[which, real] = len(gallery.real)
            gallery.real.append(picture_of(sources[which].load(real), edge))
        return places[which, real]

    with show_progress("drawing real images", len(records)) as advance:
        for shown in gallery.images.values():
            shown.sources = _named(shown.record, place_of)
            images = [sources["source"].load(source.id) for source in shown.record.sources]
            drawn = conditioning_of(received, shown.record, images, shape)
            if drawn is not None:
                picture = picture_of(drawn.image, edge, exact=drawn.cells)
                shown.mixed = Mixed(drawn.title, drawn.note, picture, drawn.cells)
            advance(1)


def _named(record: Provenance, place_of: Callable[[str, str], int | None]) -> list[Source]:
    """Return the real images that a record names; `place_of` takes the kind and the id of one."""
    found = [
        Source(
            source_title(number, len(record.sources)),
            name(source.id),
            place_of("source", source.id),
            tuple(record.crops[number]) if record.crops else (),
        )
        for number, source in enumerate(record.sources)
    ]
    if isinstance(record, Provenance8):
        place = place_of("retrieved", record.retrieved_id)
        found.append(Source("of another source", name(record.retrieved_id), place, ()))
    return found


class _Real:
    """Real images by id; the last few are kept decoded."""

    def __init__(self, images: RealImages) -> None:
        self._images = images
        self._positions = {real: position for position, real in enumerate(images.listing.ids)}
        self._kept: dict[str, Any] = {}

    def load(self, real: str) -> Image.Image:
        if real not in self._kept:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[real] = self._images.load(self._positions[real])
        image: Image.Image = self._kept[real]
        return image
