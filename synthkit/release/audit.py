"""audit.json of a release: what an audit compared, and which pairs look most like copies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from synthkit.release.likeness import Limits  # noqa: TC001 (msgspec reads the annotation)
from synthkit.release.manifest import AuditFacts

if TYPE_CHECKING:
    from pathlib import Path


# Real images that the release could be conditioned on, and those that its data set keeps for scoring.
Part = Literal["pool", "held out"]
# How many pairs audit.json lists, and how many of them audit.png shows.
KEPT_PAIRS = 100
PICTURED = 16
# The layout of audit.png: pairs in a row, and the width and height of each in pixels.
COLUMNS, WIDE, HIGH = 4, 268, 172
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True, slots=True)
class Pair:
    """A synthetic image and the real image it is nearest to.

    `exact` says that their pixels are equal, `source` that the one was conditioned on the other.
    """

    key: str
    class_name: str
    real: str
    part: Part
    similarity: float
    distance: int
    exact: bool
    source: bool
    suspected: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    `synthetic_to_real` and `real_to_real` are quantiles of the similarity to the nearest real image: of
    synthetic images, and of each real image to the nearest other one.
    """

    images: int
    pool: int
    held_out: int
    limits: Limits
    suspected: int
    suspected_of_held_out: int
    exact: int
    synthetic_to_real: dict[str, float]
    real_to_real: dict[str, float]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return asdict(self)

    def to_bytes(self) -> bytes:
        """Return the content of audit.json; an audit has exactly one form as bytes."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False).encode() + b"\n"


def facts_of(found: Audit) -> AuditFacts:
    """Return the numbers of an audit that the manifest and the card state."""
    return AuditFacts(
        images=found.images,
        pool=found.pool,
        held_out=found.held_out,
        similarity=found.limits.similarity,
        distance=found.limits.distance,
        suspected=found.suspected,
        suspected_of_held_out=found.suspected_of_held_out,
        exact=found.exact,
    )


def suspicion(pair: Pair) -> tuple[bool, bool, float, str]:
    """Return the sort key of a pair; the most suspicious pair has the largest."""
    return pair.exact, pair.suspected, pair.similarity, pair.key


def picture_size(pairs: int) -> tuple[int, int]:
    """Return the width and height in pixels of an audit.png with so many pairs."""
    return COLUMNS * WIDE + 20, max(1, -(-pairs // COLUMNS)) * HIGH + 60


_MAX_BYTES = 1 << 22


def read_audit(path: Path) -> Audit | None:
    """Read audit.json; return None for a file that `synthkit audit` would not have written."""
    with path.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    try:
        found: Audit = msgspec.json.decode(raw, type=Audit)
    except (ValueError, RecursionError):
        return None
    return found if found.to_bytes() == raw else None
