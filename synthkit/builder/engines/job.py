"""What an engine is given: the inputs of a build, the shards to make, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.builder.ready import ready

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.shard import Observer, ShardBuilder
    from synthkit.release.shards import Origin


def to_need_less_memory(inputs: Inputs) -> str:
    """What to do where workers get too little, of what is not done already."""
    smaller = ", or lower sampler.batch_size" if inputs.recipe.sampler.batch_size > 1 else ""
    return f"use fewer --workers{smaller}"


@dataclass(frozen=True, slots=True)
class Job:
    """Shards to make, by number; `folder` receives them, `embeddings` keeps what is computed once.

    A worker that shows no sign of life for `timeout` seconds is given up.
    """

    inputs: Inputs
    origin: Origin
    missing: tuple[int, ...]
    folder: Path
    embeddings: Path
    timeout: float

    @property
    def to_make(self) -> int:
        """Images of the missing shards."""
        return sum(self.inputs.plan.images_in(shard) for shard in self.missing)

    def ready(self, device: str, observer: Observer) -> ShardBuilder:
        """A device of this machine made ready for the job."""
        return ready(
            self.inputs,
            self.origin,
            shards=self.folder,
            embeddings=self.embeddings,
            device=device,
            observer=observer,
        )
