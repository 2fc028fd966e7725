"""Recipe in, release out: the whole way through, resumable at every shard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from synthkit.builder.estimate import rate_key
from synthkit.builder.finish import check_replaceable, is_current, write_release
from synthkit.builder.inputs import read_inputs
from synthkit.builder.options import WHOLE
from synthkit.builder.outcome import Made, Outcome
from synthkit.builder.workspace import Workspace, check_alike, locked_part, when_alone
from synthkit.errors import SourceError
from synthkit.generators import choose_device_for, needs_device
from synthkit.generators.batch_size import refuse_auto
from synthkit.release.folder import ReleaseFolder
from synthkit.sources import held_out, open_source
from synthkit.sources.leaks import leaks
from synthkit.system.environment import NO_DEVICE, check_device, choose_devices, describe_all
from synthkit.system.files import check_place, naming_the_place
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.inputs import Inputs
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
        inputs = read_inputs(
            recipe,
            options.work_root,
            limit=options.limit,
            device=options.device,
            check=lambda checkpoint: _check_device(recipe, checkpoint, options, release.path),
        )
        generated, place = None, release.path
        if options.fresh or not is_current(release, inputs):
            if options.part == WHOLE:
                with release.locked():
                    generated = _make(inputs, options, release)
            else:
                with release.locked(shared=True), locked_part(workspace_of(inputs, options)):
                    generated, place = _make_part(inputs, options)
        return Outcome(place, inputs, generated, time.monotonic() - started, options.part)


def _check_device(recipe: Recipe, checkpoint: Checkpoint, options: Options, target: Path) -> None:
    """Refuse arithmetic that the device has not got, unless there may be nothing left to generate."""
    if recipe.model.dtype != "float16" or options.engine != "local":
        return
    if not target.exists() and not any(options.work_root.glob(f"{recipe.name}-*")):
        choose_device_for(checkpoint, recipe.model.dtype, options.device)


def release_of(recipe: Recipe, options: Options) -> ReleaseFolder:
    """The release folder of a recipe."""
    preview = "" if options.limit is None else "-preview"
    return ReleaseFolder(options.releases / f"{recipe.name}{preview}")


def workspace_of(inputs: Inputs, options: Options) -> Workspace:
    """The work folder of a build."""
    name, shards = inputs.recipe.name, inputs.plan.shards
    return Workspace(options.work_root, name, inputs.digest, shards, limit=options.limit, part=options.part)


def _make(inputs: Inputs, options: Options, release: ReleaseFolder) -> Made | None:
    # Again, now that nobody else can be building it.
    if not options.fresh and is_current(release, inputs):
        return None
    workspace = workspace_of(inputs, options)
    if not options.overwrite:
        check_replaceable(release, inputs, workspace)
    check_leaks(inputs)
    with when_alone(workspace):
        workspace.open(fresh=options.fresh)
    generated = _generate_missing(inputs, workspace, options)
    # Parts may have come from elsewhere.
    check_alike(workspace.finished().values())
    if not options.overwrite:
        # Hours may have passed, and somebody put files there.
        check_replaceable(release, inputs, workspace)
    write_release(release, inputs, workspace)
    return generated


def _make_part(inputs: Inputs, options: Options) -> tuple[Made, Path]:
    check_leaks(inputs)
    workspace = workspace_of(inputs, options)
    with when_alone(workspace):
        workspace.open(fresh=options.fresh)
    return _generate_missing(inputs, workspace, options), workspace.folder


def check_leaks(inputs: Inputs) -> None:
    """A few-shot pool holds no image that scores, as far as those that score are on this machine."""
    if inputs.recipe.source.shots is None:
        return
    try:
        scoring = open_source(held_out(inputs.recipe.source))
    except SourceError:
        return
    with progress("reading held-out images", len(scoring.listing)) as advance:
        found = leaks(inputs.real, scoring, advance)
    if found:
        raise SourceError(f"source.shots: {len(found)} held-out images are in the pool: {found[0].told()}")


def _generate_missing(inputs: Inputs, workspace: Workspace, options: Options) -> Made:
    """Generate the shards that are not finished. Heavy imports happen here, if there are any."""
    intact = workspace.intact()
    missing = tuple(number for number in workspace.numbers if number not in intact)
    if not missing:
        return Made()
    if options.engine == "ray":
        from synthkit.builder.engines.ray_folder import generate

        generated, actors = generate(inputs, workspace, missing, intact, options)
        workspace.log(_log_entry(inputs, workspace, generated, actors))
        return generated
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job

    devices = _devices(inputs, options)
    origin = workspace.origin(describe_all(devices), intact.values())
    job = Job(inputs, origin, missing, workspace.shards, workspace.embeddings(origin), options.timeout)
    images = sum(inputs.plan.images_in(number) for number in workspace.numbers)
    with Display(images, images - job.to_make) as display:
        _run(job, devices[: len(missing)], workspace, display)
        generated = Made(display.images, display.seconds, display.lost_images)
    workspace.log(_log_entry(inputs, workspace, generated, len(devices)))
    return generated


def _devices(inputs: Inputs, options: Options) -> list[str]:
    if needs_device(inputs.checkpoint):
        return choose_devices(options.device, options.workers, model_bytes=inputs.checkpoint.size)
    return [NO_DEVICE] * (options.workers or 1)


def _run(job: Job, devices: list[str], workspace: Workspace, display: Display) -> None:
    from synthkit.builder.engines import local
    from synthkit.builder.engines import processes as workers

    if len(devices) == 1:
        local.run(job, devices[0], display)
    else:
        workers.run(job, devices, workspace.workers_lock, display)


def _log_entry(inputs: Inputs, workspace: Workspace, generated: Made, workers: int) -> dict[str, Any]:
    shards = workspace.finished().values()
    images = sum(shard.images for shard in shards)
    return {
        "event": "generated",
        "key": rate_key(inputs.recipe, inputs.checkpoint),
        "device": next(iter(shards)).origin.environment["device"],
        "workers": workers,
        "images": generated.images,
        "lost": generated.lost,
        "seconds": round(generated.seconds, 3),
        "images_per_second": generated.rate,
        "bytes_per_image": sum(shard.bytes for shard in shards) / images,
    }
