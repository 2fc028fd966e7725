"""The set metrics of a release: its images and the evaluation images as points of a feature space."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from synthkit.system.files import write_file
from synthkit.system.progress import progress
from synthkit_eval.feature_names import NONE
from synthkit_eval.machine import code_digest, cpus
from synthkit_eval.score import SetScore
from synthkit_eval.sets.features import open_features
from synthkit_eval.sets.metrics import LabelledFeatures, measure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.sources.pool import RealImages
    from synthkit_eval.sets.features import Features
    from synthkit_eval.training.real_images import ScoredRelease
    from synthkit_eval.training.synthetic_images import SyntheticImages

_BATCH = 32
# The code that decides the numbers: metrics that other code has measured are not used.
_CODE = "synthkit_eval.sets"


def check_features_here(spec: str, device: str) -> None:
    """Raise ScoreError if the features' weights cannot be had; called before a training of hours."""
    if spec != NONE:
        open_features(spec, device)


def compare_sets(
    release: ScoredRelease,
    images: SyntheticImages,
    evaluation: RealImages,
    spec: str,
    device: str,
    work: Path,
) -> SetScore | None:
    """Return the set metrics of a release's `images` and the evaluation images; None for the features `none`.

    They are kept in the folder `work` and read from there the next time. The features of the release are in
    a temporary file there, so that memory does not grow with its images. Raises ScoreError if the features'
    weights cannot be had.
    """
    if spec == NONE:
        return None
    features = open_features(spec, device)
    kept = work / f"sets-{_key(release, images, evaluation, features)}.json"
    found = _kept(kept)
    if found is None:
        total = len(images) + len(evaluation.listing)
        with progress(f"features ({features.name})", total) as advance:
            found = _measure(release, images, evaluation, features, work, advance)
        write_file(kept, found.model_dump_json().encode())
    return found


def _key(release: ScoredRelease, images: SyntheticImages, evaluation: RealImages, features: Features) -> str:
    decides = [
        release.manifest.seal,
        # Of one release these are the first of each class: as many are the same ones.
        len(images),
        evaluation.digest,
        features.name,
        code_digest(_CODE),
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def _kept(path: Path) -> SetScore | None:
    try:
        return SetScore.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _measure(
    release: ScoredRelease,
    images: SyntheticImages,
    evaluation: RealImages,
    features: Features,
    work: Path,
    advance: Callable[[int], None],
) -> SetScore:
    real = np.empty((len(evaluation.listing), features.dimensions), dtype=np.float32)
    _fill(real, features, evaluation.load, advance)
    with tempfile.TemporaryFile(dir=work) as file:
        shape = (len(images), features.dimensions)
        # Take the room now: writing into a memory-mapped file on a full disk would kill the process.
        os.posix_fallocate(file.fileno(), 0, max(1, 4 * shape[0] * shape[1]))
        synthetic = np.memmap(file, dtype=np.float32, mode="r+", shape=shape)
        _fill(synthetic, features, images.image, advance)
        groups = {item.label: item.group for item in release.manifest.classes}
        sides = (
            LabelledFeatures(real, evaluation.listing.labels),
            LabelledFeatures(synthetic, images.labels),
        )
        return measure(features.name, *sides, groups)


def _fill(
    points: NDArray[np.float32],
    features: Features,
    load: Callable[[int], Image.Image],
    advance: Callable[[int], None],
) -> None:
    """Fill `points` with the features of all images in order; threads decode a batch at a time."""
    with ThreadPoolExecutor(cpus()) as pool:
        for start in range(0, len(points), _BATCH):
            some = list(pool.map(load, range(start, min(start + _BATCH, len(points)))))
            points[start : start + len(some)] = features(some)
            advance(len(some))
