"""Data sets in miniature, as each is distributed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import miniatures


@pytest.fixture(scope="session")
def caltech(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(miniatures.caltech101(tmp_path_factory.mktemp("caltech"), per_class=3))


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.flowers102(tmp_path_factory.mktemp("flowers"), per_class=4)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return miniatures.coco(tmp_path / "coco", per_class=2)


@pytest.fixture(scope="session")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.voc2012(tmp_path_factory.mktemp("voc"), per_class=1)
