"""What came of a build, of a part of one, or of a build that went to an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.builder.options import WHOLE, Part

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.inputs import Inputs


@dataclass(frozen=True, slots=True)
class Made:
    """Images made in this run, by how many workers, and the seconds from the first batch to the last shard.

    `lost` were made as well, by workers that died before they had finished a shard.
    """

    images: int = 0
    seconds: float = 0.0
    lost: int = 0
    workers: int = 0

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build did; `made` is None if the release was there already and nothing was done.

    `release` is the folder; of a part, the work folder that has its shards.
    """

    release: Path
    inputs: Inputs
    made: Made | None
    part: Part = WHOLE


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a build did at an address; `shards` is how many of the release are there now."""

    url: str
    inputs: Inputs
    shards: int
    made: Made
