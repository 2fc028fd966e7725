"""A release and its evaluation images as points of a feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import ReleaseError
from synthkit.progress import progress
from synthkit_eval.features import NONE, open_features
from synthkit_eval.set_metrics import LabelledFeatures, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image

    from synthkit.real_images import RealImages
    from synthkit_eval.features import Features
    from synthkit_eval.score import SetScore
    from synthkit_eval.training_data import ScoredRelease

_BATCH = 32


def check_features_here(spec: str, device: str) -> None:
    """Raise ScoreError if the features' weights cannot be had: before a training of hours, not after."""
    if spec != NONE:
        open_features(spec, device)


def compare_sets(
    release: ScoredRelease, evaluation: RealImages, spec: str, device: str, work_root: Path
) -> SetScore | None:
    """The set metrics of a release against the evaluation images; None for the features `none`.

    Features of the release lie in a file of the work folder, so that memory does not grow with them.
    Raises ScoreError if the features' weights cannot be had.
    """
    if spec == NONE:
        return None
    features = open_features(spec, device)
    manifest = release.manifest
    total = manifest.images + len(evaluation.listing)
    with progress(f"features ({features.name})", total) as advance:
        real = np.empty((len(evaluation.listing), features.dimensions), dtype=np.float32)
        labels = evaluation.listing.labels
        for start in range(0, len(real), _BATCH):
            images = [evaluation.load(place) for place in range(start, min(start + _BATCH, len(real)))]
            real[start : start + len(images)] = features(images)
            advance(len(images))
        file = work_root / "eval" / f".features-{manifest.seal[:16]}.npy"
        try:
            synthetic = _synthetic(release, features, file, advance)
            groups = {item.label: item.group for item in manifest.classes}
            return measure(features.name, LabelledFeatures(real, labels), synthetic, groups)
        finally:
            file.unlink(missing_ok=True)


def _synthetic(release: ScoredRelease, features: Features, file: Path, advance: Any) -> LabelledFeatures:
    count = release.manifest.images
    points = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(count, features.dimensions))
    labels = np.empty(count, dtype=np.int32)
    start = 0
    for images, some in _batches(release):
        points[start : start + len(images)] = features(images)
        labels[start : start + len(images)] = some
        start += len(images)
        advance(len(images))
    return LabelledFeatures(points, labels)


def _batches(release: ScoredRelease) -> Iterator[tuple[list[Image.Image], list[int]]]:
    """The images and labels of a release in batches, as a downstream user reads them."""
    import webdataset

    manifest = release.manifest
    urls = [str(release.folder / shard.path) for shard in manifest.shards]
    samples = webdataset.WebDataset(urls, shardshuffle=False).decode("pil")
    pairs = samples.to_tuple(manifest.extension, "cls").batched(_BATCH, collation_fn=None)
    try:
        for batch in pairs:
            yield [image.convert("RGB") for image, _ in batch], [int(label) for _, label in batch]
    except Exception as error:
        # A damaged shard makes the reader raise anything at all.
        reason = " ".join(str(error).split())[:200]
        raise ReleaseError(f"{release.reference}: cannot be read: {reason}; run synthkit verify") from error
