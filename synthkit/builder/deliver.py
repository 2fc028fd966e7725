"""A build on nodes that share no folder: finished shards go to an address, where `merge` finds them."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

from synthkit.builder.inputs import read_inputs
from synthkit.builder.make import check_leaks
from synthkit.builder.options import WHOLE
from synthkit.builder.outcome import Delivered, Made
from synthkit.builder.remote_shards import RemoteShards, refuse_password
from synthkit.builder.workspace import one_origin
from synthkit.errors import BuildError
from synthkit.release.files import shard_name
from synthkit.release.shards import Origin
from synthkit.system.files import naming_the_place
from synthkit.system.work_root import WORK_FOLDER

if TYPE_CHECKING:
    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options, Part
    from synthkit.recipe.schema import Recipe
    from synthkit.release.shards import ShardFacts


def deliver(recipe: Recipe, url: str, options: Options) -> Delivered:
    """Build the shards of a release into an address, going on from those that are there.

    Raises a SynthkitError that says what to do; what is there stays there.
    """
    refuse_password(url)
    if options.engine != "ray":
        raise BuildError(f"--out {url}: only --engine ray writes to an address; give a folder")
    if options.limit is not None:
        raise BuildError(f"--out {url}: a preview is small; give a folder")
    started = time.monotonic()
    root = RemoteShards(url)
    with naming_the_place(options.work_root):
        inputs = read_inputs(recipe, options.work_root, device=options.device)
        check_leaks(inputs)
    there = RemoteShards(f"{root}/{WORK_FOLDER}/{recipe.name}-{inputs.digest[:12]}/shards")
    wanted = {
        shard_name(number, inputs.plan.shards): number for number in options.part.shards(inputs.plan.shards)
    }
    for name in wanted if options.fresh else ():
        there.unmake(name)
    generated = _generate_missing(inputs, there, wanted, options)
    return Delivered(str(root), inputs, len(there.finished()), generated, time.monotonic() - started)


def _generate_missing(inputs: Inputs, there: RemoteShards, wanted: dict[str, int], options: Options) -> Made:
    done = {name: shard for name, shard in there.finished().items() if name in wanted}
    _check_digests(there, inputs, done)
    missing = tuple(number for name, number in wanted.items() if name not in done)
    if not missing:
        return Made()
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.ray_driver import RayJob, run

    _remove_marks(there, options.part)
    part = f"{options.part.number}-of-{options.part.of}"
    mark = f".ray-{part}-{secrets.token_hex(8)}.tmp"
    to_make = sum(inputs.plan.images_in(number) for number in missing)
    images = sum(inputs.plan.images_in(number) for number in wanted.values())

    def agree(environment: dict[str, str]) -> Origin:
        return one_origin(str(there), Origin(inputs.digest, environment), done.values())

    with there.marked(mark), Display(images, images - to_make) as display:
        run(RayJob(inputs, missing, str(there), mark, agree), options, display)
        generated = Made(display.images, display.seconds, display.lost_images)
    lost = wanted.keys() - there.finished().keys()
    if lost:
        raise BuildError(f"{there}: {len(lost)} shards were delivered and are not there ({min(lost)} …)")
    return generated


def _remove_marks(there: RemoteShards, part: Part) -> None:
    """Those that stopped builds left; builds of other parts may be running."""
    own = re.compile(rf"\.ray-{'.*' if part == WHOLE else f'{part.number}-of-{part.of}-.*'}\.tmp")
    for name in there.listed():
        if own.fullmatch(name):
            there.remove(name)


def _check_digests(there: RemoteShards, inputs: Inputs, done: dict[str, ShardFacts]) -> None:
    for name, shard in done.items():
        if shard.origin.digest != inputs.digest:
            raise BuildError(f"{there}/{name}: is of another recipe or other real images; remove it")
