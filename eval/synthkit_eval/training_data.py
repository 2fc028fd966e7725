"""What a release is scored on: its real images, the evaluation images, and proof that they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.contents import FILE, open_contents
from synthkit.errors import ReleaseError, ScoreError
from synthkit.leaks import Seen
from synthkit.manifest import read_manifest
from synthkit.progress import progress
from synthkit.pull import find_release
from synthkit.real_images import RealImages, read_all
from synthkit.sources import held_out, open_source
from synthkit.trace import read_recipe
from synthkit.verify import RECORDS, verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.manifest import Manifest
    from synthkit.recipe import Recipe
    from synthkit.source_config import SourceConfig
    from synthkit_eval.protocol import Protocol

# Paths in which two lists of one data set may differ.
_LISTS = frozenset({"list", "names", "annotations"})


@dataclass(frozen=True, slots=True)
class ScoredRelease:
    """A release as it lies here, verified: `reference` is how the user named it."""

    reference: str
    folder: Path
    manifest: Manifest
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class RealData:
    """The real images of a release: those that train and those that score, none in both."""

    training: RealImages
    evaluation: RealImages


def open_release(reference: str, places: Sequence[str]) -> ScoredRelease:
    """A release folder, or one on the Hub; `places` say where its real images are on this machine.

    Raises ReleaseError if it is damaged, or ScoreError if it is a preview.
    """
    folder = find_release(reference)
    manifest = read_manifest(folder)
    if manifest.partial is not None:
        raise ScoreError(
            f"{reference}: is a preview, {manifest.images} of {manifest.partial.of} images; "
            "build it without --limit"
        )
    return ScoredRelease(reference, folder, manifest, read_recipe(folder, places))


def check_intact(release: ScoredRelease) -> None:
    """Raise ReleaseError with the first fault if any byte is not what the manifest says."""
    faults = verified(release.folder, release.manifest, deep=False)
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise ReleaseError(
            f"{release.reference}: {faults[0].path}: {faults[0].reason}{more}; "
            "it is not scored: build or pull it again"
        )


def open_real(release: ScoredRelease, protocol: Protocol, work_root: Path) -> RealData:
    """Read the real images that train and those that score.

    Raises SourceError if they are not here, or ScoreError if they are not the ones the release was made
    from, if classes differ, or if an image that scores may have been learned from.
    """
    source = release.recipe.source
    training = _read(source, "real training images", work_root)
    digest = release.manifest.source.digest
    if training.digest != digest:
        raise ScoreError(
            f"source: the real images here are not those that {release.manifest.name} was made from "
            f"(digest {training.digest[:12]}, not {digest[:12]}); point --set source.… to the same ones"
        )
    scoring = held_out(source, protocol.evaluation)
    evaluation = _read(scoring, "evaluation images", work_root)
    _check_classes(release.manifest, evaluation)
    _check_leaks(release, training, evaluation, ids=_same_place(source, scoring))
    return RealData(training, evaluation)


def _read(config: SourceConfig, what: str, work_root: Path) -> RealImages:
    source = open_source(config)
    with (
        open_contents(work_root / FILE) as contents,
        progress(f"reading {what}", len(source.listing)) as advance,
    ):
        return read_all(source, on_error=config.on_error, contents=contents, advance=advance)


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


def _same_place(source: SourceConfig, scoring: SourceConfig) -> bool:
    """Whether equal ids mean equal images: two folders may both hold cat/0001.png."""
    mine, theirs = (
        {k: v for k, v in config.places().items() if k not in _LISTS} for config in (source, scoring)
    )
    return mine == theirs


def _check_leaks(release: ScoredRelease, training: RealImages, evaluation: RealImages, *, ids: bool) -> None:
    """No evaluation image is a training image, a source of a synthetic one, or one of the release."""
    seen = _seen(release, training)
    if not ids:
        seen = Seen(frozenset(), seen.by_content)
    for name, sha256 in zip(evaluation.listing.ids, evaluation.sha256, strict=True):
        leak = seen.leak(name, sha256)
        if leak is not None:
            raise ScoreError(f"leak: evaluation image {leak.told()}; what it may learn from cannot score it")


def _seen(release: ScoredRelease, training: RealImages) -> Seen:
    """Ids and contents of the training part, the pool, the sources, and the release's own images."""
    import pyarrow.parquet as pq

    by_content = dict(zip(training.sha256, training.listing.ids, strict=True))
    by_content |= {image.sha256: image.id for image in release.manifest.source.pool or ()}
    path = release.folder / RECORDS
    for batch in pq.ParquetFile(path).iter_batches(columns=["key", "sources", "image_sha256"]):
        sources = batch.column("sources").flatten()
        by_content |= dict(
            zip(sources.field("sha256").to_pylist(), sources.field("id").to_pylist(), strict=True)
        )
        keys = (f"synthetic image {key}" for key in batch.column("key").to_pylist())
        by_content |= dict(zip(batch.column("image_sha256").to_pylist(), keys, strict=True))
    return Seen(frozenset(by_content.values()), by_content)
