"""audit.json of a release: which images look most like copies of real ones, and which like each other."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from synthkit.release.facts import AuditFacts, DuplicateFacts
from synthkit.release.likeness import Limits  # noqa: TC001 (msgspec reads the annotation)

if TYPE_CHECKING:
    from pathlib import Path


# Real images that the release could be conditioned on, and those that its data set keeps for scoring.
Part = Literal["pool", "held out"]
# How many pairs audit.json lists, and how many of them audit.png shows.
KEPT_PAIRS = 100
PICTURED = 16
# How many groups of near duplicates audit.json lists, and how many images of each.
KEPT_GROUPS, KEPT_MEMBERS = 100, 16
# How many of them audit.png shows: a row for each group.
PICTURED_GROUPS, PICTURED_MEMBERS = 8, 8
# The layout of audit.png: pairs in a row, the width and height of each in pixels, the height of a title.
COLUMNS, WIDE, HIGH, TITLE = 4, 268, 172, 56
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
class ClassShare:
    """A class with near duplicates: how many of its synthetic images are in a group; `share` is rounded."""

    label: int
    class_name: str
    images: int
    in_groups: int
    share: float


@dataclass(frozen=True, slots=True)
class Group:
    """Synthetic images that are near duplicates: from each, a chain of near images leads to each other one.

    `exact` of them have the same pixels as another one, `perceptual` a near hash, and `embedding` a near
    embedding, among those of their class. `members` are the first of them: their keys, with their classes.
    """

    images: int
    exact: int
    perceptual: int
    embedding: int
    members: dict[str, str]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Near duplicates among the synthetic images.

    `groups` of them hold `in_groups` images. The counts by measure are as in a group. `classes` are those
    with any, the largest share first; `largest` are the largest groups, the largest first.
    """

    limits: Limits
    groups: int
    in_groups: int
    exact: int
    perceptual: int
    embedding: int
    classes: tuple[ClassShare, ...]
    largest: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit; audits of releases of format 1 know no `duplicates`.

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
    duplicates: Duplicates | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the audit as plain data."""
        return {key: value for key, value in asdict(self).items() if value is not None}

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
        duplicates=None if found.duplicates is None else _facts_of_duplicates(found.duplicates),
    )


def _facts_of_duplicates(found: Duplicates) -> DuplicateFacts:
    return DuplicateFacts(
        similarity=found.limits.similarity,
        distance=found.limits.distance,
        groups=found.groups,
        images=found.in_groups,
        exact=found.exact,
    )


def suspicion(pair: Pair) -> tuple[bool, bool, float, str]:
    """Return the sort key of a pair; the most suspicious pair has the largest."""
    return pair.exact, pair.suspected, pair.similarity, pair.key


def share_of(in_groups: int, images: int) -> float:
    """Return the share of a class's images that are in groups, as audit.json states it."""
    return round(in_groups / images, 4)


def worst_class(share: ClassShare) -> tuple[float, int]:
    """Return the sort key of a class; that with the largest share has the smallest."""
    return -share.share, share.label


def largest_group(group: Group) -> tuple[int, str]:
    """Return the sort key of a group; the largest has the smallest."""
    return -group.images, next(iter(group.members), "")


def listed_keys(found: Audit) -> list[str]:
    """Return the keys of all synthetic images that audit.json names."""
    groups = found.duplicates.largest if found.duplicates else ()
    return [*(pair.key for pair in found.pairs), *(key for group in groups for key in group.members)]


def pictured_groups(found: Audit) -> tuple[Group, ...]:
    """Return the groups that audit.png shows."""
    return found.duplicates.largest[:PICTURED_GROUPS] if found.duplicates else ()


def picture_size(pairs: int, groups: int) -> tuple[int, int]:
    """Return the width and height in pixels of an audit.png with so many pairs and groups."""
    height = TITLE + max(1, -(-pairs // COLUMNS)) * HIGH + 4
    return COLUMNS * WIDE + 20, height + (TITLE + groups * HIGH if groups else 0)


# Classes with near duplicates have no bound: room for 50,000.
_MAX_BYTES = 1 << 23


def read_audit(path: Path) -> Audit | None:
    """Read audit.json; return None for a file that `synthkit audit` would not have written."""
    with path.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    try:
        found: Audit = msgspec.json.decode(raw, type=Audit)
    except (ValueError, RecursionError):
        return None
    return found if found.to_bytes() == raw else None
