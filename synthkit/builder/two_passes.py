"""A build in two passes, for `filters.near_duplicate`, which compares each image with all before it.

The first pass is a build like any other, into a folder of its own. The second one takes the shards from
there, in order, and leaves them finished in the work folder.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from synthkit.builder.outcome import Made
from synthkit.builder.store import check_planned, one_origin
from synthkit.builder.workspace import Workspace
from synthkit.errors import BuildError
from synthkit.generators import environment_of
from synthkit.system import stopping
from synthkit.system.files import make_folder
from synthkit.system.progress import progress
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.recipe.schema import Recipe
    from synthkit.release.shards import Origin, ShardFacts

    Generate = Callable[[Workspace, Inputs, Options], Made]


class FirstDraws(Workspace):
    """The shards of the first pass of a build; a ShardStore. `numbers` are those that are not finished."""

    def __init__(self, work: Workspace, inputs: Inputs, numbers: tuple[int, ...]) -> None:
        super().__init__(work.folder.parent, inputs)
        self.shards = self.folder / "first-draws"
        self.numbers = numbers
        make_folder(self.shards)

    def remove(self, number: int) -> None:
        """Remove a shard, which the second pass has finished."""
        self._unmake(number)

    def remove_all(self) -> None:
        """Remove what kills have left, and the folder."""
        for path in self.shards.iterdir():
            path.unlink()
        self.shards.rmdir()


def needs_two_passes(recipe: Recipe) -> bool:
    """Return whether the images of a recipe are compared with each other."""
    return recipe.filters is not None and recipe.filters.near_duplicate is not None


def refuse_parts(recipe: Recipe, asked: str) -> None:
    """Raise BuildError for a build that no one process can see the whole of; `asked` is the option for it."""
    if needs_two_passes(recipe):
        raise BuildError(
            f"{asked}: filters.near_duplicate compares each image with all before it, so one machine makes "
            "the whole release: run synthkit build without it, which uses all GPUs, or leave the filter out"
        )


def make_in_two_passes(work: Workspace, inputs: Inputs, options: Options, generate: Generate) -> Made:
    """Bring the shards that are not finished into a work folder; `generate` makes those of the first pass.

    Raises Stopped if the process was asked to stop, or a SynthkitError; finished shards survive.
    """
    finished = work.intact()
    check_planned(work.place, inputs, finished)
    missing = tuple(number for number in work.numbers if number not in finished)
    if not missing:
        return Made()
    first = FirstDraws(work, inputs, missing)
    made = generate(first, inputs, options)
    _settle(work, first, inputs, options, finished)
    first.remove_all()
    work.settle()
    return made


def _settle(
    work: Workspace, first: FirstDraws, inputs: Inputs, options: Options, finished: Mapping[int, ShardFacts]
) -> None:
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.local import Observer, devices_for
    from synthkit.builder.ready import Setup, ready
    from synthkit.builder.second_pass import SecondPass
    from synthkit.system.environment import describe_all

    filters = inputs.recipe.filters
    assert filters is not None  # noqa: S101 (for the type checker)
    devices = devices_for(inputs, options)
    environment = describe_all(devices) | environment_of(inputs.checkpoint)
    origin = _origin(work, first, inputs, environment, finished)
    setup = Setup(inputs, origin, work.shards, work.root)
    observer = Observer(Display(0, 0), options.timeout)
    # The model of the first pass, if it was in this process: a small GPU does not hold it twice.
    gc.collect()
    try:
        builder = ready(setup, devices[0], observer)
        second = SecondPass(builder, filters, first.shards, work.settled(origin), observer)
        with progress("looking for near duplicates", len(inputs.plan)) as advance, stopping.gracefully():
            for number in work.numbers:
                if stopping.requested():
                    raise Stopped
                if number in finished:
                    second.take(number, finished[number])
                else:
                    second.settle(number)
                    first.remove(number)
                observer.alive()
                advance(inputs.plan.images_in(number))
    finally:
        observer.finish()


def _origin(
    work: Workspace,
    first: FirstDraws,
    inputs: Inputs,
    environment: Mapping[str, str],
    finished: Mapping[int, ShardFacts],
) -> Origin:
    """Return the origin of the shards to be finished now.

    Raises BuildError if others of the same blocks, or their first draws, were made in another environment.
    """
    blocks, drawn = inputs.plan.blocks, first.finished()
    begun = {blocks.block_of(number) for number in drawn}
    beside = [facts for number, facts in finished.items() if blocks.block_of(number) in begun]
    return one_origin(str(work), inputs.generation_digest, environment, [*beside, *drawn.values()])
