"""A release to be signed, a key of the test's own, and the release signed with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers.commands import output_of
from tests.helpers.signing import KeyPair, make_key


@pytest.fixture
def copy(flat_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(flat_release, tmp_path / "small"))


@pytest.fixture
def lab(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "lab")


@pytest.fixture
def signed(cli: Cli, copy: Path, lab: KeyPair) -> Path:
    """A release with a signature by the lab."""
    output_of(cli, "sign", copy, "--key", lab.key)
    return copy
