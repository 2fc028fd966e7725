"""Reads the pool that a recipe retrieves images from, and leaves out what may not be retrieved."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from synthkit.release.plan import balance
from synthkit.release.remembered_places import remember_source
from synthkit.sources.leaks import contents
from synthkit.sources.pool import read_all
from synthkit.sources.retrieval import (
    RetrievalPool,
    check_enough,
    errors_of_pool,
    is_one_data_set,
    open_held_out,
    open_pool,
    without_leaks,
)
from synthkit.system.known_hashes import FILE, open_known_hashes
from synthkit.system.names import printable
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.recipe.retrieval import Retrieval
    from synthkit.recipe.schema import Recipe
    from synthkit.sources.base import Source
    from synthkit.sources.pool import RealImages


def read_pool(recipe: Recipe, retrieval: Retrieval, real: RealImages, work_root: Path) -> RetrievalPool:
    """Read the images that may be retrieved, for a recipe whose real images are read.

    `work_root` remembers the hashes of images. Raises SourceError if the pool is not here, or is too small.
    """
    needed = sum(item.synthetic for item in balance(recipe, real.listing))
    source = open_pool(retrieval, needed)
    for note in source.notes:
        _say(note)
    with errors_of_pool():
        whole = _read(source, retrieval, work_root)
    remember_source(work_root, whole.digest, retrieval.source)
    scoring = open_held_out(recipe.source)
    pool = without_leaks(
        whole,
        real,
        () if scoring is None else scoring.listing.ids,
        None if scoring is None else _contents(scoring),
        one_data_set=is_one_data_set(recipe.source, retrieval.source),
    )
    if whole.skipped:
        _say(f"{len(whole.skipped):,} images of the pool are skipped, since they cannot be read")
    for note in pool.notes():
        _say(note)
    check_enough(len(pool.images.listing), needed, *pool.notes())
    return pool


def _read(source: Source, retrieval: Retrieval, work_root: Path) -> RealImages:
    with (
        open_known_hashes(work_root / FILE) as known_hashes,
        progress("reading the pool", len(source.listing)) as advance,
    ):
        return read_all(
            source,
            on_error=retrieval.source.on_error,
            known_hashes=known_hashes,
            advance=advance,
            known=advance.known,
            place=retrieval.source.place,
        )


def _contents(scoring: Source) -> frozenset[str]:
    with progress("reading held-out images", len(scoring.listing)) as advance:
        return frozenset(contents(scoring, advance)) - {""}


def _say(note: str) -> None:
    print(printable(f"retrieval: {note}"), file=sys.stderr)
