"""What an engine is given: the shards to make, of which inputs, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.builder.store import one_origin
from synthkit.generators import environment_of
from synthkit.release.files import shard_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.store import ShardStore
    from synthkit.release.shards import Origin, ShardFacts


@dataclass(frozen=True, slots=True)
class Job:
    """Shards to make, by number (`missing`), and the place that receives them.

    `done` are finished shards of the same blocks, whose environment the missing ones must have too.
    """

    inputs: Inputs
    store: ShardStore
    missing: tuple[int, ...]
    done: tuple[ShardFacts, ...]

    @property
    def images(self) -> int:
        """How many images the missing shards have."""
        return sum(map(self.images_in, self.missing))

    def images_in(self, shard: int) -> int:
        """Return how many images a shard has."""
        return self.inputs.plan.images_in(shard)

    def name(self, shard: int) -> str:
        """Return the file name of a shard."""
        return shard_name(shard, self.inputs.recipe.output.container)

    def origin(self, environment: Mapping[str, str]) -> Origin:
        """Return the origin of shards made in an environment. Raises BuildError if others have another."""
        told = {**environment, **environment_of(self.inputs.checkpoint)}
        return one_origin(str(self.store), self.inputs.generation_digest, told, self.done)

    @property
    def less_memory(self) -> str:
        """What a user can do where workers get too little memory, as far as it is not done already."""
        smaller = ", or lower sampler.batch_size" if self.inputs.recipe.sampler.batch_size > 1 else ""
        return f"use fewer --workers{smaller}"
