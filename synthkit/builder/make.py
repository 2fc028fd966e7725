"""Recipe in, release out: the whole way through, resumable at every shard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from synthkit.builder.estimate import rate_key
from synthkit.builder.finish import check_replaceable, is_current, write_release
from synthkit.builder.inputs import identify
from synthkit.builder.options import WHOLE
from synthkit.builder.outcome import Generated, Outcome
from synthkit.builder.workspace import Workspace, check_alike, locked_part, when_alone
from synthkit.errors import SourceError
from synthkit.generators import check_arithmetic, needs_device
from synthkit.generators.batch_size import refuse_auto
from synthkit.release.folder import ReleaseFolder
from synthkit.sources import held_out, open_source
from synthkit.sources.leaks import leaks
from synthkit.system.environment import NO_DEVICE, check_device, choose_device, choose_devices, describe_all
from synthkit.system.files import check_place, naming_the_place
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.inputs import Facts
    from synthkit.builder.options import Options
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe


def make_release(recipe: Recipe, options: Options) -> Outcome:
    """Build a release, going on from what is finished. Nothing is done if it is there already.

    Raises a SynthkitError that says what to do; finished shards survive any error.
    """
    release = release_of(recipe, options)
    started = time.monotonic()
    if options.part != WHOLE or options.engine != "local":
        refuse_auto(recipe)
    check_place(options.releases)
    if options.engine == "local":
        check_device(options.device)
    with naming_the_place(options.work_root):
        facts = identify(
            recipe,
            options.work_root,
            limit=options.limit,
            device=options.device,
            check=lambda checkpoint: _check_device(recipe, checkpoint, options, release.path),
        )
        generated, place = None, release.path
        if options.fresh or not is_current(release, facts):
            if options.part == WHOLE:
                with release.locked():
                    generated = _make(facts, options, release)
            else:
                with release.locked(shared=True), locked_part(workspace_of(facts, options)):
                    generated, place = _make_part(facts, options)
        return Outcome(place, facts, generated, time.monotonic() - started, options.part)


def _check_device(recipe: Recipe, checkpoint: Checkpoint, options: Options, target: Path) -> None:
    """Refuse arithmetic that the device has not got, unless there may be nothing left to generate."""
    if recipe.model.dtype != "float16" or options.engine != "local" or not needs_device(checkpoint):
        return
    if not target.exists() and not any(options.work_root.glob(f"{recipe.name}-*")):
        check_arithmetic(recipe.model.dtype, choose_device(options.device))


def release_of(recipe: Recipe, options: Options) -> ReleaseFolder:
    """The release folder of a recipe."""
    preview = "" if options.limit is None else "-preview"
    return ReleaseFolder(options.releases / f"{recipe.name}{preview}")


def workspace_of(facts: Facts, options: Options) -> Workspace:
    """The work folder of a build."""
    name, shards = facts.recipe.name, facts.plan.shards
    return Workspace(options.work_root, name, facts.digest, shards, limit=options.limit, part=options.part)


def _make(facts: Facts, options: Options, release: ReleaseFolder) -> Generated | None:
    # Again, now that nobody else can be building it.
    if not options.fresh and is_current(release, facts):
        return None
    workspace = workspace_of(facts, options)
    if not options.overwrite:
        check_replaceable(release, facts, workspace)
    check_leaks(facts)
    with when_alone(workspace):
        workspace.open(fresh=options.fresh)
    generated = _generate_missing(facts, workspace, options)
    # Parts may have come from elsewhere.
    check_alike(workspace.finished().values())
    if not options.overwrite:
        # Hours may have passed, and somebody put files there.
        check_replaceable(release, facts, workspace)
    write_release(release, facts, workspace)
    return generated


def _make_part(facts: Facts, options: Options) -> tuple[Generated, Path]:
    check_leaks(facts)
    workspace = workspace_of(facts, options)
    with when_alone(workspace):
        workspace.open(fresh=options.fresh)
    return _generate_missing(facts, workspace, options), workspace.folder


def check_leaks(facts: Facts) -> None:
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


def _generate_missing(facts: Facts, workspace: Workspace, options: Options) -> Generated:
    """Generate the shards that are not finished. Heavy imports happen here, if there are any."""
    intact = workspace.intact()
    missing = tuple(number for number in workspace.numbers if number not in intact)
    if not missing:
        return Generated()
    if options.engine == "ray":
        from synthkit.builder.engines.ray_folder import generate

        generated, actors = generate(facts, workspace, missing, intact, options)
        workspace.log(_log_entry(facts, workspace, generated, actors))
        return generated
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job

    devices = _devices(facts, options)
    origin = workspace.origin(describe_all(devices), intact.values())
    job = Job(facts, origin, missing, workspace.shards, workspace.embeddings(origin), options.timeout)
    images = sum(facts.plan.images_in(number) for number in workspace.numbers)
    with Display(images, images - job.to_make) as display:
        _run(job, devices[: len(missing)], workspace, display)
        generated = Generated(display.images, display.seconds, display.lost_images)
    workspace.log(_log_entry(facts, workspace, generated, len(devices)))
    return generated


def _devices(facts: Facts, options: Options) -> list[str]:
    if needs_device(facts.checkpoint):
        return choose_devices(options.device, options.workers, model_bytes=facts.checkpoint.size)
    return [NO_DEVICE] * (options.workers or 1)


def _run(job: Job, devices: list[str], workspace: Workspace, display: Display) -> None:
    from synthkit.builder.engines import local
    from synthkit.builder.engines import processes as workers

    if len(devices) == 1:
        local.run(job, devices[0], display)
    else:
        workers.run(job, devices, workspace.workers_lock, display)


def _log_entry(facts: Facts, workspace: Workspace, generated: Generated, workers: int) -> dict[str, Any]:
    shards = workspace.finished().values()
    images = sum(shard.images for shard in shards)
    return {
        "event": "generated",
        "key": rate_key(facts.recipe, facts.checkpoint),
        "device": next(iter(shards)).origin.environment["device"],
        "workers": workers,
        "images": generated.images,
        "lost": generated.lost,
        "seconds": round(generated.seconds, 3),
        "images_per_second": generated.rate,
        "bytes_per_image": sum(shard.bytes for shard in shards) / images,
    }
