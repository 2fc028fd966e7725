"""The real images that train, those that score and those that choose the epoch; none may do two of these."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

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
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    """The real images that train, those that score, and those that choose the epoch; none is in two of them.

    `validation` is None if the protocol chooses the epoch otherwise. `counts` is the number of training
    images of each class.
    """

    training: RealImages
    evaluation: RealImages
    validation: RealImages | None
    counts: tuple[int, ...]

    @property
    def digests(self) -> list[str]:
        """The digests of the images that train, score, and choose the epoch if any do."""
        parts = (self.training, self.evaluation, self.validation)
        return [images.digest for images in parts if images is not None]


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
    """Read the real images that train, those that score, and those that choose the epoch if any do.

    Raises SourceError if they are not here, or ScoreError if they are not the ones the release was made
    from, if classes differ, if an image that scores or chooses may have been learned from, or if one does
    both.
    """
    place, training = find_source(release.received, work_root, "reading real training images")
    evaluation = _read_apart(place, "evaluation", protocol.evaluation, work_root)
    validation = None
    if protocol.report == "validation":
        validation = _read_apart(place, "validation", protocol.validation, work_root)
    _check_counts(release, training)
    for apart in (evaluation, validation):
        if apart is not None:
            _check_classes(release.manifest, apart)
            _check_leaks(release, training, apart, ids=_same_place(place.source, apart.source))
    if validation is not None:
        _check_not_both(validation, evaluation)
    counts = _counts(training, len(release.manifest.classes))
    return RealData(training, evaluation.images, validation and validation.images, counts)


class _Apart(NamedTuple):
    """Real images that never train; `name` is the protocol's field that says where they are."""

    name: str
    source: SourceConfig
    images: RealImages


def _read_apart(place: Place, name: str, fields: Mapping[str, Any], work_root: Path) -> _Apart:
    """Read the real images that differ from the training images by `fields`, whose places are trusted."""
    found = place.of(held_out(place.source, fields, name))
    found = replace(found, free=found.free | fields.keys())
    with errors_without_content(found.source):
        return _Apart(name, found.source, read_place(found, f"reading {name} images", work_root))


def _check_classes(manifest: Manifest, apart: _Apart) -> None:
    ours, name = [item.name for item in manifest.classes], apart.name
    theirs = list(apart.images.listing.classes)
    if ours != theirs:
        odd = [*(name for name in ours if name not in theirs), *(name for name in theirs if name not in ours)]
        order = "their order differs" if not odd else f"only one of them has {', '.join(odd[:5])}"
        raise ScoreError(
            f"{manifest.name}: has {len(ours)} classes, the {name} images {len(theirs)}, and {order}; "
            f"score it with the protocol of its data set, or set {name}.… to its own {name} images"
        )
    missing = sorted(set(range(len(ours))) - set(apart.images.listing.labels.tolist()))
    if missing:
        raise ScoreError(f"{name}: there is no image of class {ours[missing[0]]}")


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


def _check_leaks(release: ScoredRelease, training: RealImages, apart: _Apart, *, ids: bool) -> None:
    """Raise ScoreError if an image apart trains, or is the source of a synthetic image, or is one."""
    found = _found_in(apart, _learned_from(release, training), ids=ids)
    if found:
        raise ScoreError(
            f"leak: {len(found)} of {len(apart.images.listing)} {apart.name} images may have been learned "
            f"from: {found[min(found)]}; leave out what leaks: {_without(found, apart)}"
        )


def _check_not_both(validation: _Apart, evaluation: _Apart) -> None:
    """Raise ScoreError if an image would choose the epoch and score it."""
    others = zip(evaluation.images.listing.ids, evaluation.images.sha256, strict=True)
    same_place = _same_place(validation.source, evaluation.source)
    found = _found_in(validation, others, ids=same_place)
    if found:
        raise ScoreError(
            f"leak: {len(found)} of {len(validation.images.listing)} validation images are evaluation images "
            f"as well: {found[min(found)]}; leave them out: {_without(found, validation)}"
        )


def _found_in(apart: _Apart, others: Iterable[tuple[str, str]], *, ids: bool) -> dict[str, str]:
    """Return the images apart that are among `others` (name, SHA-256), each with what is told of it.

    They are found by their content, and with `ids` by their names as well.
    """
    listing = apart.images.listing
    names = frozenset(listing.ids if ids else ())
    by_content = dict(zip(apart.images.sha256, listing.ids, strict=True))
    found: dict[str, str] = {}
    for name, sha256 in others:
        if name in names:
            found.setdefault(name, name)
        elif sha256 in by_content:
            same = by_content[sha256]
            found.setdefault(same, f"{same} has the content of {name}")
    return found


def _without(found: Collection[str], apart: _Apart) -> str:
    """Return what to set so that the found images are left out, if they are few."""
    if len(found) > _FEW:
        return "choose other images"
    return f"--set '{apart.name}.exclude=[{', '.join(sorted(found))}]'"


def _learned_from(release: ScoredRelease, training: RealImages) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 of the training images, the pool, the sources and the synthetic images.

    Of retrieved images it is the SHA-256 of the real one: its id may be another image's in another data set.
    """
    yield from zip(training.listing.ids, training.sha256, strict=True)
    yield from ((image.id, image.sha256) for image in release.manifest.source.pool or ())
    what, retrieved = release.manifest.what, release.manifest.retrieval is not None
    columns = ["key", "sources", "image_sha256", *(["retrieved_sha256"] if retrieved else [])]
    for part in RecordTables(release.folder, release.manifest).parts(columns):
        sources = part.column("sources").combine_chunks().flatten()
        yield from zip(sources.field("id").to_pylist(), sources.field("sha256").to_pylist(), strict=True)
        keys = [f"{what} image {key}" for key in part.column("key").to_pylist()]
        for column in columns[2:]:
            yield from zip(keys, part.column(column).to_pylist(), strict=True)
