"""What `filters.prefer` does to images: another classifier, too, is less sure of those that it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.release.image import read_images
from synthkit.release.manifest import read_manifest
from synthkit.release.records import Provenance4
from synthkit.sources.base import load_image
from tests.conftest import Cli
from tests.helpers.opening import opened

RECIPE = """\
name: digits
source: {kind: digits, max_per_class: 20, imbalance_factor: 4}
synthetic_per_class: 8
model: {id: "builtin:tiny-unclip-digits"}
sampler: {steps: 5, batch_size: 16, guidance_scale: 2.0}
seed: 7
"""


def pixels(image: Image.Image) -> NDArray[np.float64]:
    """An image as the 8x8 grey levels of which the digits are."""
    return np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX), dtype=np.float64).ravel() / 255


def pictures(release: Path) -> tuple[NDArray[np.float64], NDArray[np.int64], list[Any]]:
    images = list(read_images(release, read_manifest(release)))
    labels = np.array([image.record.label for image in images])
    return np.stack([pixels(image.pixels()) for image in images]), labels, [image.record for image in images]


@pytest.mark.slow
def test_a_classifier_is_less_sure_of_the_images_that_another_one_chose(cli: Cli) -> None:
    from sklearn.linear_model import LogisticRegression

    (cli.folder / "recipe.yaml").write_text(RECIPE)
    for name, filters in (("random", "null"), ("chosen", "{prefer: {draws: 4}}")):
        built = cli("build", "recipe.yaml", "--set", f"filters={filters}", "--out", name)
        assert built.exit_code == 0, built.output
    real = opened(kind="digits", part="unseen")
    images = np.stack([pixels(load_image(real, index)) for index in range(len(real.listing))])
    judge = LogisticRegression(max_iter=1000).fit(images, real.listing.labels)
    log_odds = {}
    for name in ("random", "chosen"):
        images, labels, records = pictures(cli.folder / name / "digits")
        p = judge.predict_proba(images)[np.arange(len(labels)), labels]
        log_odds[name] = np.log(p / (1 - p))
    # By the classifier that chose: right, and less sure than of the first draw, which is any one.
    kept, first = [], []
    for record in records:
        assert isinstance(record, Provenance4)
        kept.append(next(item for item in record.candidates if item.attempt == record.attempt))
        first.append(record.candidates[0])
    assert np.mean([item.rank == 1 for item in kept]) > 0.95
    assert np.mean([item.log_odds for item in kept]) < 0.9 * np.mean([item.log_odds for item in first])
    # By one that has learnt from other images, by their pixels.
    assert 0 < log_odds["chosen"].mean() < log_odds["random"].mean() - 0.1
