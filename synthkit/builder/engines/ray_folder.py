"""A build on a Ray cluster whose nodes share the work folder."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from synthkit.builder.engines.display import Display
from synthkit.builder.engines.ray_driver import RayJob, run
from synthkit.builder.outcome import Made
from synthkit.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.builder.workspace import Workspace
    from synthkit.release.shards import Origin, ShardFacts

# A network file system may show what another node wrote as late as this.
_PATIENCE_S = 90


def generate(
    inputs: Inputs,
    workspace: Workspace,
    missing: Sequence[int],
    intact: Mapping[int, ShardFacts],
    options: Options,
) -> tuple[Made, int]:
    """Make the missing shards; returns what was made, and how many actors had a share in it.

    Raises BuildError as `ray_driver.run` does, or if shards that nodes made do not appear here.
    """
    mark = workspace.shards / f".ray-{secrets.token_hex(8)}.tmp"

    def agree(environment: Mapping[str, str]) -> Origin:
        return workspace.origin(environment, intact.values())

    images = sum(inputs.plan.images_in(number) for number in workspace.numbers)
    to_make = sum(inputs.plan.images_in(number) for number in missing)
    mark.touch()
    try:
        with Display(images, images - to_make) as display:
            job = RayJob(inputs, tuple(missing), str(workspace.shards.absolute()), mark.name, agree)
            actors = run(job, options, display)
            generated = Made(display.images, display.seconds, display.lost_images)
    finally:
        mark.unlink(missing_ok=True)
    _await(workspace)
    # Lost actors leave half-written files.
    workspace.open(fresh=False)
    return generated, actors


def _await(workspace: Workspace) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while len(workspace.finished()) < len(workspace.numbers):
        if time.monotonic() > deadline:
            raise BuildError(f"{workspace.shards}: shards that other nodes made are not to be seen here")
        time.sleep(0.5)
