"""A release from its recipe to those who train on it, by the commands and the files that ship."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.project import RECIPE, Project
from tests.helpers.publishing import REPO, published, whole


def test_the_first_version_reaches_those_who_train_on_it(
    hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", hub.environment(tmp_path / "home", hub.WRITE_TOKEN))
    first_version(project, hub, synthkit)
    told = synthkit("pull", f"{REPO}@v1.0.0", "--out", tmp_path / "pulled").output
    assert "is here and intact" in told
    assert digests(tmp_path / "pulled" / "digits") == published(hub, "v1.0.0")


def first_version(project: Project, hub: HubServer, synthkit: Client) -> dict[str, str]:
    """The first version: made, verified, recorded, and nothing to do after that. Returns its digests."""
    project.start()
    told = project("synthkit", "release", "small")
    commit, tag = (line.strip() for line in told.splitlines() if line.startswith("  git "))
    assert tag.startswith("git tag -a small@v1.0.0")
    project("bash", "-c", commit)
    before = project.made()
    told = project("synthkit", "release", "small", "--tag")
    assert "Committed and tagged small@v1.0.0" in told
    assert project("git", "status", "--porcelain") == ""
    assert project.made() == before
    assert "Stage 'build@small' didn't change, skipping" in told
    first = digests(project.folder / "releases" / "small")
    assert synthkit("publish", project.folder / "releases" / "small", REPO).exit_code == 0
    assert whole(hub, "v1.0.0")
    return first


@pytest.mark.slow
def test_from_a_recipe_to_those_who_train_on_it(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    project = Project(tmp_path / "project", hub.environment(tmp_path / "home", hub.WRITE_TOKEN))
    first = first_version(project, hub, synthkit)

    # The second: another guidance, and smaller images, for these come from no model that is guided.
    project.edit(RECIPE, "guidance_scale: 1.0", "guidance_scale: 2.0")
    project.edit(RECIPE, "shard_size: 4", "shard_size: 4, size: 16")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.1.0")
    project.commit("More guidance")
    project("synthkit", "release", "small", "--tag")
    assert synthkit("publish", project.folder / "releases" / "small", REPO).exit_code == 0
    assert whole(hub, "v1.1.0") and whole(hub, "v1.0.0")
    changes = yaml.safe_load((project.folder / "changelog" / "small.yaml").read_text())
    assert [item["version"] for item in changes] == ["1.1.0", "1.0.0"]
    assert changes[0]["changes"]["recipe"]["sampler.guidance_scale"] == [1.0, 2.0]
    images = changes[0]["images"]
    assert changes[0]["changes"]["images"]["changed"] == images
    told = synthkit("diff", f"{REPO}@v1.0.0", f"{REPO}@v1.1.0").output
    assert "recipe sampler.guidance_scale: 1.0 -> 2.0" in told
    assert f"{images} changed" in told

    # Those who use it: either version, by the card's own words, and every image made again.
    script = ""
    for tag in ("v1.0.0", "v1.1.0"):
        card = hub.files(REPO, tag)["README.md"].decode()
        snippets = [part.split("```")[0] for part in card.split("```python\n")[1:]]
        assert len(snippets) == 4 and all(f'"{tag}"' in snippet for snippet in snippets)
        script += "\n".join([*snippets, "print(len(synthetic), images.shape[1:])\n"])
    told = project(sys.executable, "-W", "ignore", "-c", script)
    assert told.splitlines()[-1] == f"{images} torch.Size([3, 224, 224])"
    assert told.count(f"{images} torch.Size") == 2
    told = synthkit("pull", f"{REPO}@v1.0.0", "--out", tmp_path / "pulled").output
    assert "is here and intact" in told
    assert digests(tmp_path / "pulled" / "digits") == published(hub, "v1.0.0")
    told = synthkit("replay", tmp_path / "pulled" / "digits", "--sample", "8").output
    assert told.count("identical") >= images
    check_dvc(project, first, tmp_path)


def check_dvc(project: Project, first: dict[str, str], tmp_path: Path) -> None:
    """DVC's remote gives the same bytes, by name and version too."""
    project("dvc", "push", "--all-tags")
    project("git", "clone", "-q", project.folder, tmp_path / "clone")
    clone = Project(tmp_path / "clone", project.environment)
    clone("dvc", "pull")
    assert digests(clone.folder / "releases" / "small") == digests(project.folder / "releases" / "small")
    clone("dvc", "artifacts", "get", ".", "small", "--rev", "v1.0.0", "-o", tmp_path / "got")
    assert digests(tmp_path / "got") == first
    assert "verify.json" in clone("dvc", "metrics", "show")
