"""Releases as they are built and published have no fault, whatever their recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthkit.conditioning import METHODS
from synthkit.publish.outgoing import address_to
from synthkit.release.manifest import read_manifest
from tests.conftest import Cli
from tests.helpers.forging import faults_of
from tests.helpers.kinds import KINDS, build_small
from tests.helpers.methods import by


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_release_is_intact_as_built_and_as_published(
    kinds: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    assert faults_of(kinds[kind], deep=True) == []
    outgoing = address_to(kinds[kind], read_manifest(kinds[kind]), "me/elsewhere")
    for name, content in outgoing.contents.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    assert faults_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_intact_whatever_alpha_and_sizes(method: str, cli: Cli) -> None:
    generator = np.random.default_rng(7)
    for number in range(24):
        height, width = generator.integers(3, 300, 2)
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        path = cli.folder / "photos" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for alpha in (0.2, 1, 6):
        changes = (
            *by(method),
            f"conditioning.alpha={alpha}",
            "source={kind: folder, root: photos}",
        )
        release = build_small(cli, *changes, "target_per_class=150", out=f"alpha-{alpha}")
        assert faults_of(release) == []


@pytest.mark.parametrize("limit", [1, 3, 10_000])
def test_previews_are_intact(cli: Cli, limit: int) -> None:
    assert faults_of(build_small(cli, out="made", limit=limit)) == []
