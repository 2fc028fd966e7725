"""Publishing images of a model whose licence restricts training on them: only if that licence is accepted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthkit.generators.checkpoint import BUILTIN
from tests.conftest import digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.publishing import REPO, build, published, refused, whole

FLUX = "flux-1-dev-non-commercial-license"
ACCEPT = "--accept-model-license"


@pytest.fixture(scope="module")
def restricted(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release to be published, as if its model had a licence that restricts training."""
    return build(tmp_path_factory.mktemp("restricted"), f"model.license={FLUX}", like=release)


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_it_is_refused_before_anything_is_sent(
    hub: HubServer, synthkit: Client, restricted: Path, options: list[str]
) -> None:
    message = refused(hub, synthkit, restricted, REPO, *options)
    assert f"model (builtin:flat-colours) has the licence {FLUX}, which restricts training" in message
    assert "may not train a model that competes with FLUX" in message
    assert message.endswith(f"add {ACCEPT} {FLUX}")
    assert not hub.requests


def test_it_is_published_as_it_is_if_that_licence_is_accepted(
    hub: HubServer, synthkit: Client, restricted: Path
) -> None:
    before = digests(restricted)
    ran = synthkit("publish", restricted, REPO, ACCEPT, FLUX)
    assert ran.exit_code == 0, ran.output
    assert "warning" not in ran.output
    assert whole(hub, "v1.0.0") and digests(restricted) == before
    tables = {path: sha256 for path, sha256 in before.items() if path.startswith(("data/", "provenance/"))}
    assert tables.items() <= published(hub).items()
    card = hub.files(REPO, "v1.0.0")["README.md"].decode()
    assert "**The licence of the model restricts training on these images.**" in card
    assert f"`{FLUX}` (`builtin:flat-colours`): the images may not train a model" in card
    assert synthkit("verify", f"{REPO}@v1.0.0").exit_code == 0


def test_the_licence_of_a_model_that_made_no_image_is_none_of_theirs(
    hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    settings = ("conditioning.method=retrieval", "retrieval.source={kind: digits, part: all}")
    release = build(tmp_path, *settings, f"model.license={FLUX}")
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0, ran.output
    card = hub.files(REPO, "v1.0.0")["README.md"].decode()
    croissant = hub.files(REPO, "v1.0.0")["croissant.json"].decode()
    assert "restricts training" not in card + croissant
    message = refused(hub, synthkit, release, REPO, ACCEPT, FLUX)
    assert message.endswith("none needs to be accepted: leave it out")


def test_another_licence_than_the_models_is_no_acceptance(
    hub: HubServer, synthkit: Client, restricted: Path, release: Path
) -> None:
    message = refused(hub, synthkit, restricted, REPO, ACCEPT, "cc-by-nc-4.0")
    assert f"{ACCEPT} cc-by-nc-4.0: no piece of the model of " in message
    assert message.endswith(f"the one to accept is {FLUX}")
    assert FLUX.upper() in refused(hub, synthkit, restricted, REPO, ACCEPT, FLUX.upper())
    message = refused(hub, synthkit, release, REPO, ACCEPT, FLUX)
    assert message.endswith("none needs to be accepted: leave it out")


def test_a_licence_that_is_not_known_is_warned_of(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    unknown = build(tmp_path, "model.license=houses-own-2", like=release)
    told = "warning: the licence of model (builtin:flat-colours) is houses-own-2, not known to synthkit: read"
    assert told in synthkit("publish", unknown, REPO, "--dry-run").output
    ran = synthkit("publish", unknown, REPO, ACCEPT, "houses-own-2")
    assert ran.exit_code == 0, ran.output
    assert "warning" not in ran.output and whole(hub, "v1.0.0")


def test_a_licence_that_is_not_stated_is_warned_of(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    shutil.copytree(BUILTIN["flat-colours"], tmp_path / "colours")
    ran = synthkit("publish", build(tmp_path, "model.id=colours"), REPO)
    assert ran.exit_code == 0, ran.output
    assert (
        "warning: the licence of model (colours) is not stated: read what it says of the images" in ran.output
    )
    assert whole(hub, "v1.0.0")


def test_what_comes_with_synthkit_needs_no_warning(hub: HubServer, synthkit: Client, release: Path) -> None:
    assert "warning" not in synthkit("publish", release, REPO, "--dry-run").output
