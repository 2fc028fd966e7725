"""The images of a release, read at random."""

from __future__ import annotations

from pathlib import Path

import webdataset

from tests.helpers.scoring import synthetic_of


def test_images_read_at_random_are_those_that_webdataset_reads(small_release: Path) -> None:
    found = synthetic_of(small_release)
    urls = [str(path) for path in sorted(small_release.glob("data/*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).to_tuple("png", "cls"))
    assert [(found.read(index), int(found.labels[index])) for index in range(len(found))] == [
        (image, int(label)) for image, label in samples
    ]
