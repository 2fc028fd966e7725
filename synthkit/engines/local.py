"""Runs shards on this machine, one after another, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from synthkit.build import ShardBuilder


def run(builder: ShardBuilder, shards: Iterable[int], advance: Callable[[int], None]) -> None:
    """Build shards; each is whole on disk before the next begins."""
    for shard in shards:
        builder.build(shard, advance)
