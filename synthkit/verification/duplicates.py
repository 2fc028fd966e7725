"""Compares the near duplicates of audit.json with the release: totals, shares of classes, and listed groups.

A deep verification also compares pixels. Only another audit, with the model, can check which images are near
to which by their embeddings.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from synthkit.release.audit import (
    KEPT_GROUPS,
    KEPT_MEMBERS,
    Duplicates,
    Group,
    largest_group,
    share_of,
    worst_class,
)
from synthkit.release.records import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from synthkit.release.audit import ClassShare
    from synthkit.release.likeness import Limits
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


def duplicate_faults(
    manifest: Manifest, found: Duplicates, records: Mapping[str, Provenance]
) -> Iterator[str]:
    """Yield what an audit says wrongly of near duplicates; `records` are those of the listed images."""
    if not are_limits(found.limits):
        yield "has limits of near duplicates that no audit accepts"
    if not (_counts_fit(found, found.in_groups) and 2 * found.groups <= found.in_groups <= manifest.images):
        yield "has counts of near duplicates that do not fit each other"
    yield from _classes(manifest, found)
    yield from _sums(found)
    yield from _groups(manifest, found, records)


def equal_pixels_faults(found: Duplicates, pixels: NDArray[np.uint8]) -> Iterator[str]:
    """Yield what an audit says wrongly of images with equal pixels; `pixels` (N, 32) are digests."""
    _, place, counts = np.unique(pixels.view("S32").ravel(), return_inverse=True, return_counts=True)
    equal = counts[place] > 1
    if found.exact != equal.sum():
        yield f"says {found.exact:,} images have the pixels of another one, it is {equal.sum():,} of them"
    groups: dict[int, int] = {}
    for number, group in enumerate(found.largest, 1):
        images = [int(key) for key in group.members if is_key(key, len(pixels))]
        shown = int(equal[images].sum())
        if not shown <= group.exact <= shown + group.images - len(images):
            yield f"its group {number} says exact is {group.exact:,}, its images show {shown:,}"
        for image in images:
            if groups.setdefault(int(place[image]), number) != number:
                yield f"{key_of(image)}: its group {number} lacks an image with its pixels"


def are_limits(limits: Limits) -> bool:
    """Return whether an audit accepts these limits."""
    return 0 <= limits.similarity <= 1 and 0 <= limits.distance <= 64


def is_key(text: str, images: int) -> bool:
    """Return whether a text is the key of an image of a release with so many images."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    return is_number and int(text) < images and text == key_of(int(text))


def _counts_fit(found: Duplicates | Group, images: int) -> bool:
    """Return whether counts by measure are possible of so many images: equal pixels have equal hashes."""
    by_measure = (found.exact, found.perceptual, found.embedding)
    # No image is near without another one.
    return (
        0 <= found.exact <= found.perceptual <= images
        and 0 <= found.embedding <= images <= found.perceptual + found.embedding
        and 1 not in by_measure
    )


def _classes(manifest: Manifest, found: Duplicates) -> Iterator[str]:
    known = {item.label: (item.name, item.synthetic) for item in manifest.classes}
    for share in found.classes:
        reason = _share(known, share)
        if reason:
            yield f"says of class {share.label}: {reason}"
    if len({share.label for share in found.classes}) != len(found.classes):
        yield "counts the near duplicates of a class twice"
    if any(worst_class(one) > worst_class(other) for one, other in pairwise(found.classes)):
        yield "does not list the class with the largest share of near duplicates first"
    if sum(share.in_groups for share in found.classes) != found.in_groups:
        yield f"says {found.in_groups:,} images are near duplicates, its classes have others"
    listed = Counter(name for group in found.largest for name in group.members.values())
    stated = Counter[str]()
    for share in found.classes:
        # Two classes may have one name.
        stated[share.class_name] += share.in_groups
    for name, count in listed.items():
        if count > stated[name]:
            yield f"names {count:,} near duplicates of class {name!r:.64}, and counts {stated[name]:,}"


def _share(known: Mapping[int, tuple[str, int]], share: ClassShare) -> str:
    """Return what is wrong with a class, or an empty text."""
    if known.get(share.label) != (share.class_name, share.images):
        return "the release has no class of this label, name and number of images"
    if not 1 <= share.in_groups <= share.images:
        return f"{share.in_groups:,} of its {share.images:,} images are near duplicates"
    if share.share != share_of(share.in_groups, share.images):
        return f"{share.share:g} of its images are near duplicates, by its numbers it is not so"
    return ""


def _sums(found: Duplicates) -> Iterator[str]:
    """Yield totals that the listed groups contradict; what is not listed is groups no larger than these."""
    listed = found.largest
    more = found.groups - len(listed)
    if more < 0 or (more > 0 and len(listed) != KEPT_GROUPS):
        yield f"lists {len(listed):,} groups of near duplicates, and counts {found.groups:,}"
        return
    rest = found.in_groups - sum(group.images for group in listed)
    if not 2 * more <= rest <= more * (listed[-1].images if listed else 0):
        yield f"says {found.in_groups:,} images are near duplicates, its groups have others"
    for name in ("exact", "perceptual", "embedding"):
        said, shown = getattr(found, name), sum(getattr(group, name) for group in listed)
        if not shown <= said <= shown + rest:
            yield f"says {name} of near duplicates is {said:,}, its groups show {shown:,}"


def _groups(manifest: Manifest, found: Duplicates, records: Mapping[str, Provenance]) -> Iterator[str]:
    if any(largest_group(one) > largest_group(other) for one, other in pairwise(found.largest)):
        yield "does not list the largest group of near duplicates first"
    times = Counter(key for group in found.largest for key in group.members)
    for key in (key for key, count in times.items() if count > 1):
        yield f"{key:.20}: it is in several groups of near duplicates"
    for number, group in enumerate(found.largest, 1):
        reason = _group(manifest, group, records)
        if reason:
            yield f"its group {number} {reason}"


def _group(manifest: Manifest, group: Group, records: Mapping[str, Provenance]) -> str:
    """Return what is wrong with a group, or an empty text."""
    keys, names = [*group.members], set(group.members.values())
    if group.images < 2 or not _counts_fit(group, group.images):
        return "has counts that do not fit each other"
    if len(keys) != min(group.images, KEPT_MEMBERS):
        return (
            f"names {len(keys)} of {group.images:,} images, not the first {min(group.images, KEPT_MEMBERS)}"
        )
    for key in keys:
        if not is_key(key, manifest.images):
            return f"names {key!r:.24}, an image that the release does not have"
        if key in records and records[key].class_name != group.members[key]:
            return f"says class {group.members[key]!r:.64} of {key}, its record says otherwise"
    if keys != sorted(keys):
        return "does not name its images in order"
    if not group.perceptual and len(names) > 1:
        return "has near embeddings alone, and several classes: these are compared within a class"
    return ""
