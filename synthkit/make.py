"""Recipe in, release out: the whole way through, resumable at every shard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.embeddings import embed_all, needed
from synthkit.environment import choose_device, describe
from synthkit.errors import BuildError, ReleaseError
from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.manifest import MANIFEST, read_manifest
from synthkit.plan import make_plan
from synthkit.progress import progress
from synthkit.real_images import read_all
from synthkit.release import Facts, is_current, restore, write_release
from synthkit.sources import open_source
from synthkit.work import WORK_FOLDER, Workspace, locked

if TYPE_CHECKING:
    from synthkit.build import ShardBuilder
    from synthkit.recipe import Recipe

RELEASES = Path("releases")


@dataclass(frozen=True, slots=True)
class Options:
    """How to build, none of which changes a byte of what is built.

    `out` is where release folders go (default `releases`); `limit` makes a preview of that many
    images; `fresh` drops finished shards; `overwrite` allows replacing another recipe's release.
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
    """Images made in this run, and how long the model and its surroundings took for them."""

    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build did; `generated` is None if the release was there already and nothing was done."""

    release: Path
    images: int
    planned: int
    shards: int
    generated: Generated | None
    seconds: float
    device: str


def work_root(out: Path | None) -> Path:
    """The folder of work folders: `.synthkit`, or inside `--out` where one is given."""
    return Path(WORK_FOLDER) if out is None else out / WORK_FOLDER


def make_release(recipe: Recipe, options: Options) -> Outcome:
    """Build a release, going on from what is finished. Nothing is done if it is there already.

    Raises a SynthkitError that says what to do; finished shards survive any error.
    """
    name = recipe.name if options.limit is None else f"{recipe.name}-preview"
    try:
        with locked(options.work_root, name):
            return _make(recipe, options, options.releases / name)
    except OSError as error:
        # A write that fails says what is wrong, but not where.
        error.filename = error.filename or str(options.work_root)
        raise


def _make(recipe: Recipe, options: Options, target: Path) -> Outcome:
    started = time.monotonic()
    _writable(options.releases)
    environment = describe(choose_device(options.device))
    facts, workspace = _prepare(recipe, options, environment)
    restore(target)
    _refuse_strangers(target, facts, options)
    if not options.fresh and is_current(target, facts):
        return _outcome(target, facts, None, started)
    workspace.open(environment, fresh=options.fresh)
    generated = _generate_missing(facts, workspace, options)
    finished = workspace.finished(facts.plan.shards)
    write_release(target, facts, [finished[shard] for shard in range(facts.plan.shards)])
    return _outcome(target, facts, generated, started)


def _prepare(recipe: Recipe, options: Options, environment: dict[str, str]) -> tuple[Facts, Workspace]:
    """Read the real images, plan, and find the work folder."""
    source = open_source(recipe.source)
    checkpoint = locate(recipe.model)
    with progress("reading real images", len(source.listing)) as advance:
        real = read_all(source, on_error=recipe.source.on_error, advance=advance)
    digest = recipe.digest(listing_digest=real.digest, model=checkpoint.name, revision=checkpoint.revision)
    plan = make_plan(recipe, real.listing)
    planned = len(plan)
    if options.limit is not None:
        plan = plan.first(options.limit)
    workspace = Workspace(options.work_root, recipe.name, digest, limit=options.limit)
    facts = Facts(recipe, digest, plan, planned, real, checkpoint, environment, workspace.shards)
    return facts, workspace


def _generate_missing(facts: Facts, workspace: Workspace, options: Options) -> Generated:
    """Generate the shards that are not finished."""
    plan = facts.plan
    finished = workspace.finished(plan.shards)
    missing = [shard for shard in range(plan.shards) if shard not in finished]
    if not missing:
        return Generated()
    # Heavy imports come late: an unchanged rebuild needs none of them.
    from synthkit.engines import local

    builder = _builder(facts, workspace, choose_device(options.device))
    to_make = sum(plan.images_in(shard) for shard in missing)
    started = time.monotonic()
    with progress("generating", len(plan), done=len(plan) - to_make) as advance:
        local.run(builder, missing, advance)
    generated = Generated(to_make, time.monotonic() - started)
    workspace.log(_log_entry(facts, workspace.finished(plan.shards), generated))
    return generated


def _builder(facts: Facts, workspace: Workspace, device: str) -> ShardBuilder:
    from synthkit.build import ShardBuilder

    recipe, real = facts.recipe, facts.real
    generator = load(facts.checkpoint, dtype=recipe.model.dtype, sampler=recipe.sampler, device=device)
    embeddings = None
    if needed(recipe):
        size = recipe.sampler.batch_size
        with progress("embedding real images", len(real.listing)) as advance:
            embeddings = embed_all(real, generator, workspace.embeddings, batch_size=size, advance=advance)
    return ShardBuilder(
        recipe, facts.digest, facts.plan, real, facts.checkpoint, generator, embeddings, workspace.shards
    )


def _refuse_strangers(target: Path, facts: Facts, options: Options) -> None:
    """Never replace what this recipe did not make, unless told to. Previews may always be replaced."""
    if options.overwrite or not target.exists():
        return
    if not (target / MANIFEST).exists() and (not target.is_dir() or any(target.iterdir())):
        raise BuildError(f"{target}: exists and is not a release; move it away, or choose another --out")
    try:
        manifest = read_manifest(target)
    except ReleaseError:
        return
    if manifest.recipe_digest != facts.digest and manifest.partial is None:
        raise BuildError(
            f"{target}: was built from another recipe (digest {manifest.recipe_digest[:12]}, version "
            f"{manifest.version}; this one is {facts.digest[:12]}); change the recipe's name, choose another "
            "--out, or replace it with --overwrite"
        )


def _writable(folder: Path) -> None:
    """Find out before the work, not after it."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".synthkit-probe"
    probe.touch()
    probe.unlink()


def rate_key(recipe: Recipe, model: str, revision: str) -> dict[str, Any]:
    """What decides how fast images are made and how large they are."""
    sampler = recipe.sampler
    return {
        "model": [model, revision, recipe.model.dtype],
        "sampler": [sampler.scheduler, sampler.steps, sampler.guidance_scale > 1, sampler.batch_size],
        "output": recipe.output.model_dump(exclude={"shard_size"}),
    }


def _log_entry(facts: Facts, shards: dict[int, Any], generated: Generated) -> dict[str, Any]:
    size = sum(shard.bytes for shard in shards.values())
    return {
        "event": "generated",
        "key": rate_key(facts.recipe, facts.checkpoint.name, facts.checkpoint.revision),
        "device": facts.environment["device"],
        "images": generated.images,
        "seconds": round(generated.seconds, 3),
        "images_per_second": generated.images / max(generated.seconds, 1e-9),
        "bytes_per_image": size / max(len(facts.plan), 1),
    }


def _outcome(target: Path, facts: Facts, generated: Generated | None, started: float) -> Outcome:
    return Outcome(
        target,
        len(facts.plan),
        facts.planned,
        facts.plan.shards,
        generated,
        time.monotonic() - started,
        facts.environment["device"],
    )
