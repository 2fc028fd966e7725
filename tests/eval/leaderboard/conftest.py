"""What the tests of leaderboards share: a real score of a published release."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkit_eval.score_files import Scored, read_scores
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.hub_store import Repository
from tests.helpers.scoring import QUICK, flags

# A name of its own: the Hub's client keeps what it has fetched, and other tests count what is fetched.
REPO = "lab/scored"


@pytest.fixture(scope="session")
def published(server: HubServer, synthkit: Client, release: Path) -> Repository:
    """A repository with the release, to be put into a Hub."""
    server.reset()
    assert synthkit("publish", release, REPO).exit_code == 0
    return server.store.get("dataset", REPO)


@pytest.fixture(scope="session")
def score_file(
    server: HubServer, synthkit: Client, published: Repository, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The Parquet file of a score of the release, as it is on the Hub. Read it, do not change it."""
    server.reset()
    server.store.repositories["dataset", REPO] = published
    out = tmp_path_factory.mktemp("scored") / "score.json"
    words = ["--protocol", "digits-lt", "--features", "none", "--device", "cpu", "--seeds", "2"]
    ran = synthkit("eval", f"{REPO}@v1.0.0", *words, *flags(*QUICK), "--out", out)
    assert ran.exit_code == 0, ran.output
    return out.with_suffix(".parquet")


@pytest.fixture(scope="session")
def scored(score_file: Path) -> Scored:
    """That score."""
    (found,) = read_scores(score_file)
    return found
