"""Releases of every kind, shared by the tests that forge them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.forging import Forgery
from tests.helpers.kinds import KINDS, build_small


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release of each kind; the last one is audited. Copy them."""
    cli = Cli(tmp_path_factory.mktemp("kinds"))
    for number in range(14):
        miniatures.photo(cli.folder / "photos" / "abc"[number % 3] / f"{number} é.jpg", number)
    (cli.folder / "photos" / "a" / "broken.jpg").write_bytes(b"no image")
    releases = {}
    for kind, changes in KINDS.items():
        photos = () if kind != "few-shot" else ("source.exclude=[a/broken.jpg]",)
        releases[kind] = build_small(cli, *changes, *photos, out=kind)
    assert cli("audit", releases["gated"]).exit_code == 0
    return releases


@pytest.fixture
def forge(kinds: dict[str, Path], tmp_path: Path) -> Callable[[str], Forgery]:
    """A copy of a release, to be forged."""

    def copy(kind: str) -> Forgery:
        shutil.rmtree(tmp_path / "forged", ignore_errors=True)
        shutil.copytree(kinds[kind], tmp_path / "forged")
        return Forgery.of(tmp_path / "forged")

    return copy
