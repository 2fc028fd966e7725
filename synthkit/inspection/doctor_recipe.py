"""Examine whether a recipe can be built here: its real images, its model, the space. Nothing is made."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.estimate import estimate
from synthkit.builder.inputs import prompts_of
from synthkit.errors import SourceError, SynthkitError, UnreadableImage
from synthkit.inspection.doctor import Check, existing
from synthkit.inspection.doctor_model import examine_model
from synthkit.release.plan import GROUPS, balance
from synthkit.release.prompts import prompt_facts, told_counts
from synthkit.sources import held_out, open_source
from synthkit.sources.base import load_image
from synthkit.sources.files import get_it
from synthkit.sources.leaks import leaks
from synthkit.sources.pool import missing_images, read_all
from synthkit.sources.retrieval import open_pool
from synthkit.system.known_hashes import FILE, KnownHashes, open_known_hashes
from synthkit.system.progress import data_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.recipe.families import SourceConfig
    from synthkit.recipe.retrieval import Retrieval
    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import ClassBalance
    from synthkit.sources.base import Source

_SAMPLE = 32


def examine_recipe(recipe: Recipe, out: Path, work_root: Path) -> Iterator[Check]:
    """Yield findings on the real images, the space that a release takes, and the model."""
    yield from _source(recipe, out, work_root)
    yield from examine_model(recipe, work_root)


def _source(recipe: Recipe, out: Path, work_root: Path) -> Iterator[Check]:
    try:
        source = open_source(recipe.source)
    except SourceError as error:
        yield Check("real images", str(error), "stop")
        return
    notes = [Check("  note", note, "note") for note in source.notes]
    try:
        classes = balance(recipe, source.listing)
    except SourceError as error:
        yield Check("real images", str(error), "stop")
        yield from notes
        return
    yield Check("real images", _counts(classes, len(source.listing)))
    yield from notes
    yield from _prompts(recipe, source)
    yield _presence(source, recipe.source)
    yield _sample(source, recipe.source)
    if recipe.source.shots is not None or recipe.source.halve is not None:
        yield _leaks(source, recipe.source, work_root)
    images = sum(item.synthetic for item in classes)
    if recipe.retrieval is not None:
        yield from _pool(recipe.retrieval, images)
    yield _space(recipe, images, out, work_root)


def _pool(retrieval: Retrieval, images: int) -> Iterator[Check]:
    """Yield whether there is enough to retrieve from, and whether it can be read."""
    try:
        pool = open_pool(retrieval, images)
    except SourceError as error:
        yield Check("pool", str(error), "stop")
        return
    yield Check("pool", f"{len(pool.listing):,} real images of another source, {images:,} are retrieved")
    yield from (Check("  note", note, "note") for note in pool.notes)
    yield _presence(pool, retrieval.source)
    yield _sample(pool, retrieval.source)


def _counts(classes: list[ClassBalance], images: int) -> str:
    sizes = [sum(item.group == group for item in classes) for group in GROUPS]
    groups = ", ".join(f"{size} {group}" for size, group in zip(sizes, GROUPS, strict=True))
    return f"{images:,} of {len(classes):,} classes ({groups}), {_range([c.real for c in classes])} a class"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _prompts(recipe: Recipe, source: Source) -> Iterator[Check]:
    """Yield whether a recipe's prompts and captions are there for all classes, unless it has one prompt."""
    try:
        recipe = recipe.with_prompts()
        prompts_of(recipe, source.listing)
    except SynthkitError as error:
        yield Check("  prompts", str(error), "stop")
        return
    facts = prompt_facts(recipe, source.listing.classes)
    if facts is not None:
        captions = "; each real image has a caption" if facts.captions else ""
        yield Check("  prompts", f"{told_counts(facts.fewest, facts.most)}{captions}")


def _presence(source: Source, config: SourceConfig) -> Check:
    """Look for the file of every listed image."""
    missing, listed = missing_images(source), len(source.listing)
    if not missing:
        return Check("  all there", "yes" if not source.notes else "all that are counted; see the note")
    first = ", ".join(error.image for error in missing[:5])
    return Check(
        "  all there",
        f"no: {len(missing):,} of {listed:,} are missing: {first}"
        f"{' …' if len(missing) > 5 else ''}; check {config.place}{get_it(config.got_from())}",
        "note" if config.on_error == "skip" and len(missing) < listed else "stop",
    )


def _sample(source: Source, config: SourceConfig) -> Check:
    """Decode some images, evenly spread over the source."""
    sample = np.unique(np.linspace(0, len(source.listing) - 1, _SAMPLE).astype(int)).tolist()
    sizes: list[tuple[int, int]] = []
    unreadable: list[UnreadableImage] = []
    for index in sample:
        try:
            sizes.append(load_image(source, index).size)
        except UnreadableImage as error:
            unreadable.append(error)
    if unreadable:
        return Check(
            "  decoded",
            f"{len(unreadable)} of {len(sample)} cannot be: {unreadable[0]}",
            "stop" if config.on_error == "stop" else "note",
        )
    widths, heights = zip(*sizes, strict=True)
    return Check("  decoded", f"{len(sample)} of them: {_range(widths)} wide, {_range(heights)} high")


def _leaks(source: Source, config: SourceConfig, work_root: Path) -> Check:
    """Look, by content, for images in the pool that would score the classifier."""
    known = work_root / FILE
    try:
        scoring = open_source(held_out(config))
        with open_known_hashes(known) if known.exists() else nullcontext(KnownHashes()) as known_hashes:
            pool = read_all(source, on_error="skip", known_hashes=known_hashes, advance=lambda count: None)
    except SourceError as error:
        return Check("  held out", str(error), "note")
    found = leaks(pool, scoring, lambda count: None)
    if not found:
        return Check("  held out", f"{len(scoring.listing):,} images to score with, none of them in the pool")
    many = f"{len(found)} of {len(scoring.listing):,} images to score with are in the pool"
    return Check("  held out", f"{many}: {found[0].told()}", "stop")


def _space(recipe: Recipe, images: int, out: Path, work_root: Path) -> Check:
    cost, draws = estimate(recipe, images, work_root).bytes, images * recipe.draws
    made = f"{images:,} images" + (f", chosen from {draws:,} draws" if draws > images else "")
    if cost is None:
        return Check("to make", made)
    free = shutil.disk_usage(existing(out)).free
    found = f"{made}, about {data_size(cost)}; {data_size(free)} are free at {out}"
    if cost > free:
        return Check("to make", f"{found}: make room, or choose a smaller output.size", "stop")
    return Check("to make", found)
