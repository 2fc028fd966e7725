"""Images made again from a release alone: its recipe and records, the real images and the model.

A record says everything that decides its image, and is itself made again: what it says of the image must
be what the recipe, the plan and the real images give.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import compute, needed
from synthkit.builder.image import Draw, ImageMaker
from synthkit.errors import SourceError
from synthkit.generators import choose_device_for, load
from synthkit.generators.checkpoint import locate
from synthkit.release.places import find_model, first_that_serves
from synthkit.release.plan import PlannedImage
from synthkit.release.real_images import check_digest, open_place
from synthkit.sources.base import Listing, load_image
from synthkit.sources.decoding import decode
from synthkit.sources.hashes import Contents
from synthkit.sources.pool import RealImages, missing_images, read_all
from synthkit.sources.selection import Selected
from synthkit.system.environment import changed, describe
from synthkit.verification.replayed_record import RecordCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from synthkit.release.image import StoredImage
    from synthkit.release.places import Place, Received
    from synthkit.release.records import Provenance


@dataclass(frozen=True, slots=True)
class Replayed:
    """An image made again: the file, and how far it is from the release's.

    `psnr` is in dB over all channels, infinite for equal pixels; `largest` in grey levels; `share` of
    values that differ, 0 to 1. `identical` says that the files are the same byte by byte, `false` what the
    record says that is not so.
    """

    key: str
    image: bytes
    identical: bool
    psnr: float
    largest: int
    share: float
    false: tuple[str, ...] = ()


class Replay:
    """Everything that making images of a release again takes, on a device of this machine.

    Raises SourceError if a real image is missing or has another content than its record says, and
    GeneratorError if the model is another one.
    """

    def __init__(self, received: Received, traced: Sequence[StoredImage], device: str) -> None:
        manifest, recipe = received.manifest, received.recipe
        self._traced = traced
        checkpoint = locate(find_model(received))
        device = choose_device_for(checkpoint, recipe.model.dtype, device)
        self.differences = changed(manifest.environment, describe(device))
        real = sources_of(received, [item.record for item in traced])
        self._positions = {name: position for position, name in enumerate(real.listing.ids)}
        generator = load(checkpoint, recipe, device)
        embeddings = None
        if needed(recipe):
            every = np.arange(len(real.listing), dtype=np.int32)
            embeddings = compute(real, every, generator, recipe.sampler.batch_size, lambda count: None)
        # A folder may have another name here; its content is pinned.
        named = replace(checkpoint, name=manifest.generator.name)
        digest = recipe.digest(
            listing_digest=manifest.source.digest, model=named.name, revision=named.revision
        )
        self._maker = ImageMaker(recipe, digest, real, named, generator, embeddings)
        self._batch_size = recipe.sampler.batch_size
        every_one = real.source.source.listing if isinstance(real.source, Selected) else None
        self._check = RecordCheck(manifest, recipe, every_one)

    def run(self, advance: Callable[[int], None]) -> Iterator[Replayed]:
        """Make the images, batch by batch, in the order that they were asked for."""
        for start in range(0, len(self._traced), self._batch_size):
            batch = self._traced[start : start + self._batch_size]
            draws = [self._draw(item.record) for item in batch]
            mixed = [self._maker.mix(draw) for draw in draws]
            images = self._maker.generate(draws, mixed)
            for item, draw, how, pixels in zip(batch, draws, mixed, images, strict=True):
                record, image = self._maker.finish(draw, how.mixing, pixels)
                false = tuple(self._check.false(item.record, record))
                yield replace(compare(item, image), false=false)
            advance(len(batch))

    def _draw(self, record: Provenance) -> Draw:
        sources = tuple(self._positions[source.id] for source in record.sources)
        row = PlannedImage(int(record.key), record.label, sources, record.seed)
        return Draw(row, record.attempt, record.rejected)


def sources_of(received: Received, records: Sequence[Provenance]) -> RealImages:
    """The real images that some records name, each checked against its SHA-256.

    Raises SourceError for one that is not there or has another content.
    """
    wanted = {source.id: source.sha256 for record in records for source in record.sources}
    classes = tuple(item.name for item in received.manifest.classes)
    if not wanted:
        return RealImages.none(classes)
    return first_that_serves(received, lambda place: _named(received, place, wanted, classes))


def _named(received: Received, place: Place, wanted: dict[str, str], classes: tuple[str, ...]) -> RealImages:
    """The real images of these ids at a place, if their SHA-256 are these."""
    if place.by == "memory":
        check_digest(place, received.manifest)
    source = open_place(place)
    known = {name: position for position, name in enumerate(source.listing.ids)}
    missing = [name for name in wanted if name not in known]
    if missing:
        what = f"{len(missing):,} real images" if len(missing) > 1 else "a real image"
        told = (
            f"the release was made from {what} not here: {missing[0]}{' …' if len(missing) > 1 else ''}; "
            f"point {place.source.settings or '--set source.…'} to the data set of its recipe"
        )
        raise SourceError(told, told=told)
    positions = np.array([known[name] for name in wanted])
    listing = Listing(classes, tuple(wanted), source.listing.labels[positions])
    chosen = Selected(source, listing, positions)
    gone = missing_images(chosen)
    if gone:
        # The ids are the release's own words; what a list says beside them is not told.
        some = f"{len(gone):,} of {len(wanted):,} real images are missing or cannot be reached"
        told = f"{some}: {gone[0].image}; check {place.source.place}"
        raise SourceError(told, told=told)
    try:
        real = read_all(chosen, on_error="stop", contents=Contents(), advance=lambda count: None)
    except SourceError as error:
        # Without the decoder's words, which may quote the file.
        told = f"{_first_unreadable(chosen)}: cannot be read: it is damaged, or no image"
        raise SourceError(str(error), told=told) from error
    for name, sha256 in zip(real.listing.ids, real.sha256, strict=True):
        if wanted[name] != sha256:
            told = (
                f"{name} has sha256 {sha256[:16]}… here, {wanted[name][:16]}… when the release was made: "
                "this is another image; get the original data set"
            )
            raise SourceError(told, told=told)
    return real


def _first_unreadable(source: Selected) -> str:
    for index, name in enumerate(source.listing.ids):
        try:
            load_image(source, index)
        except SourceError:
            return name
    return "a real image"


def compare(traced: StoredImage, image: bytes) -> Replayed:
    """How far an image made again is from the release's. Raises UnreadableImage if that is no image."""
    key = traced.record.key
    if image == traced.image:
        return Replayed(key, image, identical=True, psnr=float("inf"), largest=0, share=0.0)
    before, now = (np.asarray(rgb, dtype=np.float64) for rgb in (traced.pixels(), decode(image, key)))
    if before.shape != now.shape:
        return Replayed(key, image, identical=False, psnr=0.0, largest=255, share=1.0)
    difference = np.abs(before - now)
    error = float(np.mean(difference**2))
    psnr = float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
    share = float(np.mean(difference > 0))
    return Replayed(key, image, identical=False, psnr=psnr, largest=int(difference.max()), share=share)
