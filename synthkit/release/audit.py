"""audit.json of a release: what an audit compared and found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from synthkit.release.manifest import AuditFacts

if TYPE_CHECKING:
    from pathlib import Path


Part = Literal["pool", "held out"]


KEPT_PAIRS = 100


# How many of them are drawn, and the columns, widths and heights in which they are.
PICTURED = 16


COLUMNS, WIDE, HIGH = 4, 268, 172


QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a pair is suspected: cosine similarity of f(x), and bits in which pHashes differ."""

    similarity: float = 0.98
    distance: int = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """A synthetic image and the real one it is nearest to; `source` if it was conditioned on that one."""

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
    """What was compared and found. Quantiles are of the similarity to the nearest real image."""

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
        """For machines: audit.json."""
        return asdict(self)

    def to_bytes(self) -> bytes:
        """audit.json: the one way to write it."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False).encode() + b"\n"


def facts_of(found: Audit) -> AuditFacts:
    """The numbers of an audit, as the manifest and the card tell them."""
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
    """The order of pairs: the most suspicious is the largest."""
    return pair.exact, pair.suspected, pair.similarity, pair.key


def picture_size(pairs: int) -> tuple[int, int]:
    """Width and height of audit.png with so many pairs."""
    return COLUMNS * WIDE + 20, max(1, -(-pairs // COLUMNS)) * HIGH + 60


_MAX_BYTES = 1 << 22


def read_audit(path: Path) -> Audit | None:
    """The audit in a file, or None if it holds none that `synthkit audit` writes."""
    with path.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    try:
        found: Audit = msgspec.json.decode(raw, type=Audit)
    except (ValueError, RecursionError):
        return None
    return found if found.to_bytes() == raw else None
