"""What the tests of comparisons share: a folder of scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, put, score


@pytest.fixture
def scores(cli: Cli) -> Path:
    """A folder with real only and three methods."""
    folder = cli.folder / "scores"
    put(folder / "real-only", "digits", score(REAL))
    put(folder, "digits-lt-random-image", score(RANDOM, method="random-image", fid=20.181))
    put(folder, "digits-lt-mixup", score(MIXUP, method="mixup", fid=24.115))
    put(folder, "digits-lt-ecd", score(ECD, method="embed-cutmix-dropout", name="digits-lt-ecd", fid=20.433))
    return folder
