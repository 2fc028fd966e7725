"""A dropout of 1: text-only by the way of images, the end of the paper's Figure 6."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli
from tests.helpers.kinds import build_small


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases by name: of text-only, and of two methods that drop everything."""
    cli = Cli(tmp_path_factory.mktemp("whole"))
    for method in ("text-only", "dropout", "embed-cutmix-dropout"):
        conditioning = f"conditioning={{method: {method}, dropout: 1}}"
        build_small(cli, conditioning, "source.subset=[0, 9]", out=method)
    return cli.folder


def pixels(release: Path) -> list[np.ndarray]:
    found = []
    for shard in sorted(release.glob("data/*.tar")):
        with tarfile.open(shard) as tar:
            files = [member for member in tar if member.name.endswith(".png")]
            found += [np.asarray(Image.open(io.BytesIO(tar.extractfile(file).read()))) for file in files]  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize("method", ["dropout", "embed-cutmix-dropout"])
def test_its_pixels_are_those_of_text_only(releases: Path, method: str) -> None:
    """The seeds are the same, and so is the noise; the files differ, since each holds its own record."""
    alone, dropped = (releases / name / "small" for name in ("text-only", method))
    assert len(pixels(alone)) == 14
    np.testing.assert_array_equal(pixels(alone), pixels(dropped))
    assert (alone / "manifest.json").read_bytes() != (dropped / "manifest.json").read_bytes()


def test_it_is_verified_shown_and_made_again(cli: Cli, releases: Path) -> None:
    release = releases / "embed-cutmix-dropout" / "small"
    assert "is intact" in cli("verify", release).output
    assert (
        "  dropped  the whole embedding: the class name alone is left\n" in cli("show", release, "1").output
    )
    replayed = cli("replay", release, "1")
    assert replayed.exit_code == 0, replayed.output
    assert "identical" in replayed.output
