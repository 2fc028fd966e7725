"""The real images that train and those that score, and the check that none of these may have trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ScoreError
from synthkit.publish.pull import find_release
from synthkit.recipe.source import SourceBase
from synthkit.release.files import RECIPE
from synthkit.release.folder import ReleaseFolder
from synthkit.release.places import errors_without_content, receive
from synthkit.release.plan import group_of
from synthkit.release.real_images import find_source, read_place
from synthkit.release.record_table import RecordTables
from synthkit.sources import held_out
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.recipe.families import SourceConfig
    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.places import Place, Received
    from synthkit.sources.pool import RealImages
    from synthkit_eval.protocol import Protocol

# The fields of a source that choose among the images of one place; the others say which place.
_PARTS = {
    "list",
    "names",
    "annotations",
    "split",
    "part",
    "max_per_class",
    "imbalance_factor",
    "image",
    "label",
}
# Up to so many leaks are named one by one, so that they can be left out.
_FEW = 20


@dataclass(frozen=True, slots=True)
class ScoredRelease:
    """A release on this machine; `reference` is how the user named it."""

    reference: str
    received: Received

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.received.folder

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.received.manifest

    @property
    def recipe(self) -> Recipe:
        """Its recipe, with the places of real images that the user set."""
        return self.received.recipe


@dataclass(frozen=True, slots=True)
class RealData:
    """The real images that train and those that score; none is in both.

    `counts` is the number of training images of each class.
    """

    training: RealImages
    evaluation: RealImages
    counts: tuple[int, ...]


def open_release(reference: str, places: Sequence[str]) -> ScoredRelease:
    """Open a release folder, or a release on the Hub, whose shards `fetch_shards` brings later.

    `places` are the `--set` words that say where its real images are on this machine. Raises ReleaseError if
    it is damaged, or ScoreError if it is a preview.
    """
    folder = find_release(reference, [RECIPE])
    with ReleaseFolder.at(folder).opened() as manifest:
        received = receive(folder, manifest, places)
    if manifest.partial is not None:
        raise ScoreError(
            f"{reference}: is a preview, {manifest.images} of {manifest.partial.of} images; "
            "build it without --limit"
        )
    return ScoredRelease(reference, received)


def fetch_shards(release: ScoredRelease) -> ScoredRelease:
    """Return the release with all its files on this machine."""
    return replace(release, received=replace(release.received, folder=find_release(release.reference)))


def check_intact(release: ScoredRelease) -> None:
    """Raise ReleaseError with the first fault if any byte is not what the manifest says."""
    advice = "it is not scored: build or pull it again"
    refuse_damaged(release.folder, release.manifest, advice, name=release.reference)


def open_real(release: ScoredRelease, protocol: Protocol, work_root: Path) -> RealData:
    """Read the real images that train and those that score.

    Raises SourceError if they are not here, or ScoreError if they are not the ones the release was made
    from, if classes differ, or if an image that scores may have been learned from.
    """
    place, training = find_source(release.received, work_root, "reading real training images")
    scoring = _scoring(place, protocol)
    with errors_without_content(scoring.source):
        evaluation = read_place(scoring, "reading evaluation images", work_root)
    _check_counts(release, training)
    _check_classes(release.manifest, evaluation)
    _check_leaks(release, training, evaluation, ids=_same_place(place.source, scoring.source))
    return RealData(training, evaluation, _counts(training, len(release.manifest.classes)))


def _scoring(place: Place, protocol: Protocol) -> Place:
    """Return where the evaluation images are; the places that the protocol names are trusted."""
    scoring = place.of(held_out(place.source, protocol.evaluation))
    return replace(scoring, free=scoring.free | protocol.evaluation.keys())


def _check_classes(manifest: Manifest, evaluation: RealImages) -> None:
    ours = [item.name for item in manifest.classes]
    theirs = list(evaluation.listing.classes)
    if ours != theirs:
        odd = [*(name for name in ours if name not in theirs), *(name for name in theirs if name not in ours)]
        order = "their order differs" if not odd else f"only one of them has {', '.join(odd[:5])}"
        raise ScoreError(
            f"{manifest.name}: has {len(ours)} classes, the evaluation images {len(theirs)}, and {order}; "
            "score it with the protocol of its data set, or set evaluation.… to its own evaluation images"
        )
    missing = sorted(set(range(len(ours))) - set(evaluation.listing.labels.tolist()))
    if missing:
        raise ScoreError(f"evaluation: there is no image of class {ours[missing[0]]}")


def _check_counts(release: ScoredRelease, training: RealImages) -> None:
    """Raise ScoreError if a class has not as many real images, or not the group, as the manifest says.

    The loss and the groups of the score go by these numbers.
    """
    counts = _counts(training, len(release.manifest.classes))
    for item, count in zip(release.manifest.classes, counts, strict=True):
        group = group_of(count, release.recipe.source.groups)
        if (item.real, item.group) != (count, group):
            raise ScoreError(
                f"{release.reference}: the manifest says that {item.name} has {item.real} real images and is "
                f"{item.group}; by the recipe with what --set changes it has {count} and is {group}: "
                "leave source.groups as it is, or build the release again"
            )


def _counts(training: RealImages, classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(training.listing.labels, minlength=classes).tolist())


def _same_place(source: SourceConfig, scoring: SourceConfig) -> bool:
    """Return whether equal ids mean equal images, which those of two folders do not."""
    mine, theirs = (
        config.model_dump(exclude=set(SourceBase.model_fields) | _PARTS) for config in (source, scoring)
    )
    return mine == theirs


def _check_leaks(release: ScoredRelease, training: RealImages, evaluation: RealImages, *, ids: bool) -> None:
    """Raise ScoreError if an evaluation image trains, or is the source of a synthetic image, or is one."""
    names = frozenset(evaluation.listing.ids if ids else ())
    by_content = dict(zip(evaluation.sha256, evaluation.listing.ids, strict=True))
    found: dict[str, str] = {}
    for name, sha256 in _learned_from(release, training):
        if name in names:
            found.setdefault(name, name)
        elif sha256 in by_content:
            leaked = by_content[sha256]
            found.setdefault(leaked, f"{leaked} has the content of {name}")
    if found:
        exclude = ", ".join(sorted(found))
        advice = f"--set 'evaluation.exclude=[{exclude}]'" if len(found) <= _FEW else "choose other images"
        raise ScoreError(
            f"leak: {len(found)} of {len(evaluation.listing)} evaluation images may have been learned from: "
            f"{found[min(found)]}; leave out what leaks: {advice}"
        )


def _learned_from(release: ScoredRelease, training: RealImages) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 of the training images, the pool, the sources and the synthetic images."""
    yield from zip(training.listing.ids, training.sha256, strict=True)
    yield from ((image.id, image.sha256) for image in release.manifest.source.pool or ())
    columns = ["key", "sources", "image_sha256"]
    for part in RecordTables(release.folder, release.manifest).parts(columns):
        sources = part.column("sources").combine_chunks().flatten()
        yield from zip(sources.field("id").to_pylist(), sources.field("sha256").to_pylist(), strict=True)
        keys = (f"synthetic image {key}" for key in part.column("key").to_pylist())
        yield from zip(keys, part.column("image_sha256").to_pylist(), strict=True)
