"""What `synthkit audit` found of a release: pairs that look like copies, groups of near duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import ReleaseError
from synthkit.inspection.audit_picture import real_tiles
from synthkit.page.pictures import Picture, picture_of
from synthkit.page.words import counted, name
from synthkit.release.audit import PICTURED, PICTURED_MEMBERS, pictured_groups, read_audit
from synthkit.release.files import AUDIT, AUDIT_PICTURE
from synthkit.release.image import index_of
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from synthkit.page.shown import Shown
    from synthkit.release.audit import Audit, Group, Pair
    from synthkit.release.places import Received


class PairTold(NamedTuple):
    """A pair in words: numbers, whether it is suspected, and the names of both images."""

    similarity: str
    bits: int
    kind: str
    key: str
    class_name: str
    real: str
    part: str


class PairShown(NamedTuple):
    """A pair with both images."""

    told: PairTold
    image: Shown
    real: Picture | None


class GroupShown(NamedTuple):
    """A group of near duplicates with its first images."""

    told: str
    images: list[Shown]


class AuditTold(NamedTuple):
    """The facts of an audit in words, and what is shown of it."""

    facts: list[tuple[str, str]]
    pairs: list[PairShown]
    all_pairs: list[PairTold]
    groups: list[GroupShown]


def audit_of(received: Received) -> Audit | None:
    """Read audit.json of a release; None if it was not audited. Raises ReleaseError if it is damaged."""
    if received.manifest.audit is None:
        return None
    path = received.folder / AUDIT
    found = read_audit(path) if path.is_file() else None
    if found is None:
        raise ReleaseError(
            f"{path}: is not what synthkit audit writes; run synthkit verify {received.folder}"
        )
    return found


def audited_indices(received: Received, found: Audit) -> list[int]:
    """Return the indices of the images that are shown of an audit. Raises ReleaseError if there is none."""
    keys = [pair.key for pair in found.pairs[:PICTURED]]
    keys += [key for group in pictured_groups(found) for key in [*group.members][:PICTURED_MEMBERS]]
    return [index_of(received.manifest, key) for key in keys]


def audit_told(
    received: Received, found: Audit, images: dict[int, Shown], *, sources: bool = True
) -> AuditTold:
    """Return what is told of an audit; `images` has its images by index.

    Without `sources` the real images are named, not shown.
    """
    manifest, pairs = received.manifest, found.pairs[:PICTURED]
    real = _real_pictures(received, found) if sources else [None] * len(pairs)
    groups = [
        GroupShown(_group(group), [images[index_of(manifest, key)] for key in _members(group)])
        for group in pictured_groups(found)
    ]
    return AuditTold(
        facts=_facts(found),
        pairs=[
            PairShown(_pair(pair), images[index_of(manifest, pair.key)], picture)
            for pair, picture in zip(pairs, real, strict=True)
        ],
        all_pairs=[_pair(pair) for pair in found.pairs],
        groups=groups,
    )


def _members(group: Group) -> list[str]:
    return [*group.members][:PICTURED_MEMBERS]


def _real_pictures(received: Received, found: Audit) -> list[Picture | None]:
    """Return the real image of each pair as audit.png shows it: also where the real ones are not at hand.

    Raises ReleaseError if the file is not a picture of this audit.
    """
    path, pairs = received.folder / AUDIT_PICTURE, found.pairs[:PICTURED]
    if not path.is_file():
        return [None] * len(pairs)
    sheet = decode(path.read_bytes(), AUDIT_PICTURE, ("PNG",))
    tiles = real_tiles(sheet, len(pairs), len(pictured_groups(found)))
    if tiles is None:
        raise ReleaseError(f"{path}: is not the picture of this audit; run synthkit verify {received.folder}")
    return [picture_of(tile, max(tile.size)) for tile in tiles]


def _pair(pair: Pair) -> PairTold:
    kind = "exact copy" if pair.exact else "suspected" if pair.suspected else "not suspected"
    part = (
        "held out for scoring" if pair.part == "held out" else "its source" if pair.source else "of the pool"
    )
    return PairTold(
        f"{pair.similarity:.3f}", pair.distance, kind, pair.key, name(pair.class_name), name(pair.real), part
    )


def _group(group: Group) -> str:
    counts = (
        (group.exact, "with the same pixels as another"),
        (group.perceptual, "with near hashes"),
        (group.embedding, "with near embeddings"),
    )
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    names = ", ".join(name(one, 40) for one in dict.fromkeys(group.members.values()))
    return f"{counted(group.images, 'image')} of {names}: {told}"


def _facts(found: Audit) -> list[tuple[str, str]]:
    median, real = found.synthetic_to_real.get("0.5"), found.real_to_real.get("0.5")
    limits = found.limits
    facts = [
        (
            "Suspected copies",
            f"{found.suspected:,} of {found.images:,} images; {found.exact:,} with exactly the pixels of a "
            f"real one, {found.suspected_of_held_out:,} nearest to an image held out for scoring",
        ),
        (
            "Compared with",
            f"{found.pool:,} real images that the release was made from, {found.held_out:,} held out",
        ),
        (
            "Suspected means",
            f"a cosine similarity of at least {limits.similarity:g}, or perceptual hashes that differ in at "
            f"most {limits.distance} bits",
        ),
    ]
    if median is not None and real is not None:
        told = f"{median:.3f}; of a real image to the nearest other real one: {real:.3f}"
        facts.append(("Median similarity to the nearest real image", told))
    if found.duplicates is not None:
        duplicates = found.duplicates
        facts.append(
            (
                "Near duplicates",
                f"{duplicates.in_groups:,} of {found.images:,} images, in "
                f"{counted(duplicates.groups, 'group')}; {duplicates.exact:,} with the pixels of another",
            )
        )
    return facts
