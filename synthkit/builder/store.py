"""Where the shards of a build come to lie: one protocol for the work folder on a disk and for an address."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from synthkit.builder.shard_plans import ShardPlans
from synthkit.errors import BuildError
from synthkit.release.shards import Origin
from synthkit.system.environment import changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Part
    from synthkit.release.blocks import Blocks
    from synthkit.release.shards import ShardFacts


class ShardStore(Protocol):
    """The shards of a build, or of one part of it, in one place; `str()` names it for a user.

    A shard is finished when its sidecar, which is written last, is there and states the sizes of its files.
    """

    @property
    def numbers(self) -> Sequence[int]:
        """The shards to be made, by number."""
        ...

    @property
    def place(self) -> str:
        """The folder that receives the shards, as an absolute path, or their address."""
        ...

    def opened(self, *, fresh: bool) -> AbstractContextManager[None]:
        """Make the place ready for the length of a block; with `fresh`, remove finished shards first."""
        ...

    def finished(self) -> dict[int, ShardFacts]:
        """Return the finished shards, by number."""
        ...

    def intact(self) -> dict[int, ShardFacts]:
        """Return the finished shards whose content is right, as far as it can be read; remove the others."""
        ...

    def marked(self) -> AbstractContextManager[str]:
        """Keep a small file there for the length of a block; yields its name.

        Other nodes see by it that they look at the same place.
        """
        ...

    def settle(self) -> None:
        """Raise BuildError if a shard is not there, after an engine made the missing ones."""
        ...


def work_name(inputs: Inputs) -> str:
    """Return the name of a build's work folder: that of the release and the start of its digest."""
    preview = f"-first-{len(inputs.plan)}" if inputs.preview else ""
    return f"{inputs.recipe.name}-{inputs.digest[:12]}{preview}"


def mark_of(part: Part) -> str:
    """Return a new name for the file by which nodes that build a part know that they see the same place."""
    return f"{mark_prefix(part)}{secrets.token_hex(8)}.tmp"


def mark_prefix(part: Part) -> str:
    """Return how the names of a part's marks begin."""
    return f".ray-{part.number}-of-{part.of}-"


def check_planned(place: str, inputs: Inputs, done: Mapping[int, ShardFacts]) -> None:
    """Raise BuildError if a finished shard was made from other inputs than these."""
    plans, digest = ShardPlans(inputs), inputs.generation_digest
    for number, facts in done.items():
        if (facts.origin.digest, facts.plan) != (digest, plans.digest(number)):
            raise BuildError(
                f"{place}/{facts.name}: was made from another recipe or other real images; remove it"
            )


def one_origin(place: str, digest: str, environment: Mapping[str, str], done: Iterable[ShardFacts]) -> Origin:
    """Return the origin of shards that are made now, in an environment, beside finished ones.

    Raises BuildError if those were made in another environment: they are not mixed.
    """
    origin = Origin(digest, dict(environment))
    for facts in done:
        differences = changed(facts.origin.environment, origin.environment)
        if differences:
            raise BuildError(
                f"{place}: was begun in another environment ({', '.join(differences)}), which can "
                "change bits; go on there, or start again here with --fresh"
            )
    return origin


def check_alike(blocks: Blocks, shards: Mapping[int, ShardFacts]) -> None:
    """Raise BuildError if shards of one block were made in different environments.

    A block is made in one environment. A later one may be made in another, and the manifest states both.
    """
    firsts: dict[int, ShardFacts] = {}
    for number, shard in shards.items():
        first = firsts.setdefault(blocks.block_of(number), shard)
        differences = changed(first.origin.environment, shard.origin.environment)
        if differences:
            raise BuildError(
                f"{first.name} and {shard.name} were made in different environments "
                f"({', '.join(differences)}), which can change bits: make all of them in one"
            )
