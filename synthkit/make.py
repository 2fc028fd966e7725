"""Recipe in, release out: the whole way through, resumable at every shard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.contents import FILE, open_contents
from synthkit.embeddings import embed, needed
from synthkit.environment import choose_device, describe
from synthkit.errors import SourceError
from synthkit.filters import make_judge
from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.image_maker import ImageMaker
from synthkit.leaks import leaks
from synthkit.plan import make_plan
from synthkit.progress import progress
from synthkit.real_images import read_all
from synthkit.release import Facts, check_replaceable, is_current, restore, write_release
from synthkit.sources import held_out, open_source
from synthkit.work import WORK_FOLDER, Workspace, locked, rate_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthkit.build import ShardBuilder
    from synthkit.filters import Judge
    from synthkit.generators import Generator
    from synthkit.recipe import Recipe

RELEASES = Path("releases")


@dataclass(frozen=True, slots=True)
class Options:
    """How to build; nothing here changes a byte of an image.

    `out` is where release folders go (default `releases`); `limit` makes a preview of that many
    images; `fresh` drops finished shards; `overwrite` allows replacing what this recipe did not make.
    """

    out: Path | None = None
    device: str = "auto"
    limit: int | None = None
    fresh: bool = False
    overwrite: bool = False

    @property
    def releases(self) -> Path:
        """The folder of release folders."""
        return self.out or RELEASES

    @property
    def work_root(self) -> Path:
        """Where unfinished work is kept: on the disk that the user chose for the release."""
        return work_root(self.out)


@dataclass(frozen=True, slots=True)
class Generated:
    """Images made in this run, and the seconds from the first batch to the last shard."""

    images: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build did; `generated` is None if the release was there already and nothing was done."""

    release: Path
    facts: Facts
    generated: Generated | None
    seconds: float


def work_root(out: Path | None) -> Path:
    """The folder of work folders: `.synthkit`, or inside `--out` where one is given."""
    return Path(WORK_FOLDER) if out is None else out / WORK_FOLDER


def make_release(recipe: Recipe, options: Options) -> Outcome:
    """Build a release, going on from what is finished. Nothing is done if it is there already.

    Raises a SynthkitError that says what to do; finished shards survive any error.
    """
    preview = "" if options.limit is None else "-preview"
    target = options.releases / f"{recipe.name}{preview}"
    started = time.monotonic()
    try:
        facts = identify(recipe, options)
        generated = None
        if options.fresh or not is_current(target, facts):
            with locked(target):
                generated = _make(facts, options, target)
        seconds = time.monotonic() - started
        return Outcome(target, facts, generated, seconds)
    except OSError as error:
        # A write that fails says what is wrong, but not where.
        error.filename = error.filename or str(options.work_root)
        raise


def _make(facts: Facts, options: Options, target: Path) -> Generated | None:
    restore(target)
    # Again, now that nobody else can be building it.
    if not options.fresh and is_current(target, facts):
        return None
    if not options.overwrite:
        check_replaceable(target, facts)
    _check_leaks(facts)
    workspace = Workspace(options.work_root, facts.recipe.name, facts.digest, limit=options.limit)
    workspace.open(fresh=options.fresh)
    generated = _generate_missing(facts, workspace, options.device)
    write_release(target, facts, workspace)
    return generated


def identify(recipe: Recipe, options: Options) -> Facts:
    """Read the real images and plan: all that decides a release, before any is made.

    Raises SourceError or GeneratorError if the real images or the model are not here.
    """
    source = open_source(recipe.source)
    checkpoint = locate(recipe.model)
    with (
        open_contents(options.work_root / FILE) as contents,
        progress("reading real images", len(source.listing)) as advance,
    ):
        real = read_all(source, on_error=recipe.source.on_error, contents=contents, advance=advance)
    digest = recipe.digest(listing_digest=real.digest, model=checkpoint.name, revision=checkpoint.revision)
    whole = make_plan(recipe, real.listing)
    plan = whole if options.limit is None else whole.first(options.limit)
    return Facts(recipe, digest, plan, len(whole), real, checkpoint, preview=options.limit is not None)


def _check_leaks(facts: Facts) -> None:
    """A few-shot pool holds no image that scores, as far as those that score are on this machine."""
    if facts.recipe.source.shots is None:
        return
    try:
        scoring = open_source(held_out(facts.recipe.source))
    except SourceError:
        return
    with progress("reading held-out images", len(scoring.listing)) as advance:
        found = leaks(facts.real, scoring, advance)
    if found:
        raise SourceError(f"source.shots: {len(found)} held-out images are in the pool: {found[0].told()}")


def _generate_missing(facts: Facts, workspace: Workspace, wanted_device: str) -> Generated:
    """Generate the shards that are not finished. Heavy imports happen here, if there are any."""
    plan = facts.plan
    intact = workspace.intact(plan.shards)
    missing = [shard for shard in range(plan.shards) if shard not in intact]
    if not missing:
        return Generated()
    from synthkit.engines import local

    device = choose_device(wanted_device)
    workspace.begin(describe(device))
    builder = _builder(facts, workspace, device)
    to_make = sum(plan.images_in(shard) for shard in missing)
    started = time.monotonic()
    with progress("generating", len(plan), done=len(plan) - to_make) as advance:
        local.run(builder, missing, advance)
    generated = Generated(to_make, time.monotonic() - started)
    workspace.log(_log_entry(facts, workspace, generated))
    return generated


def _builder(facts: Facts, workspace: Workspace, device: str) -> ShardBuilder:
    from synthkit.build import ShardBuilder

    recipe, real, plan = facts.recipe, facts.real, facts.plan
    generator = load(facts.checkpoint, dtype=recipe.model.dtype, sampler=recipe.sampler, device=device)
    # All of them now: a prompt that is too long must not stop a build that has run for hours.
    names = [real.listing.classes[label] for label in np.unique(plan.labels)]
    generator.embed_prompts([recipe.prompt_for(name) for name in names])
    embeddings = None
    if needed(recipe):
        # A gate may compare with any real image.
        gated = recipe.filters is not None and recipe.filters.compare
        positions = (
            np.arange(len(real.listing), dtype=np.int32)
            if gated
            else np.unique(plan.pairs[:, : plan.sources])
        )
        with progress("embedding real images", len(positions)) as advance:
            embeddings = embed(
                real, positions, generator, workspace.embeddings, recipe.sampler.batch_size, advance
            )
    maker = ImageMaker(recipe, facts.digest, real, facts.checkpoint, generator, embeddings)
    judge = _judge(facts, generator, embeddings, device)
    return ShardBuilder(plan, maker, judge, workspace.shards)


def _judge(
    facts: Facts, generator: Generator, embeddings: NDArray[np.float32] | None, device: str
) -> Judge | None:
    filters, listing = facts.recipe.filters, facts.real.listing
    if filters is None:
        return None
    classifier = None
    if filters.classifier is not None:
        from synthkit.classifier import Classifier

        batch_size = facts.recipe.sampler.batch_size
        classifier = Classifier(filters.classifier, len(listing.classes), batch_size, device)
    return make_judge(filters, listing, generator, embeddings, classifier)


def _log_entry(facts: Facts, workspace: Workspace, generated: Generated) -> dict[str, Any]:
    shards = workspace.finished(facts.plan.shards).values()
    return {
        "event": "generated",
        "key": rate_key(facts.recipe, facts.checkpoint),
        "device": workspace.environment()["device"],
        "images": generated.images,
        "seconds": round(generated.seconds, 3),
        "images_per_second": generated.rate,
        "bytes_per_image": sum(shard.bytes for shard in shards) / len(facts.plan),
    }
