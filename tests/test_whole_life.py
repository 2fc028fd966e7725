"""A release from its recipe to those who train on it, by the commands and the files that ship."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import digests
from tests.hub_server import HubServer
from tests.publishing import REPO, TINY, published, whole

ROOT = Path(__file__).parents[1]
RECIPE = "recipes/small.yaml"


class Project:
    """A clone of the pipeline that ships, with the small recipe, in a git repository of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        scripts = str(Path(sys.executable).parent)
        self._environment = environment | {
            "PATH": os.pathsep.join([scripts, environment["PATH"]]),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
            "DVC_NO_ANALYTICS": "1",
            "HOME": str(folder.parent),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "USE_TORCH": "1",
        }

    def start(self) -> None:
        for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            text = (ROOT / name).read_text()
            text = text.replace("digits-lt-augcond", "small").replace("recipes/digits_lt_ecd.yaml", RECIPE)
            place.write_text(text)
        self.edit(RECIPE, "", TINY)
        store = self.folder.parent / "store"
        self.edit(".dvc/config", "", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {store}\n")
        self("git", "init", "-q")
        self("git", "config", "user.name", "tests")
        self("git", "config", "user.email", "tests@example.org")
        self.commit("Start")

    def __call__(self, *command: str | Path, fails: bool = False) -> str:
        """What a command prints; it must succeed, or must not."""
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (ran.returncode != 0) is fails, f"{command}: {ran.stdout}"
        return ran.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        place = self.folder / name
        place.parent.mkdir(exist_ok=True)
        text = place.read_text() if place.exists() else ""
        assert old in text
        place.write_text(text.replace(old, new) if old else new)

    def commit(self, message: str) -> None:
        self("git", "add", "-A")
        self("git", "commit", "-q", "-m", message)

    def made(self) -> dict[str, int]:
        """Which files of the release there are, and when they were written."""
        folder = self.folder / "releases" / "small"
        return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(hub: HubServer, tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    started = Project(folder, hub.environment(tmp_path / "home", hub.WRITE_TOKEN))
    started.start()
    yield started


def test_from_a_recipe_to_those_who_train_on_it(hub: HubServer, project: Project, tmp_path: Path) -> None:
    # The first version: made, verified, recorded, and nothing to do after that.
    told = project("synthkit", "release", "small", "--tag")
    assert "Committed and tagged small@v1.0.0" in told
    assert project("git", "status", "--porcelain") == ""
    before = project.made()
    assert "Stage 'build@small' didn't change, skipping" in project("dvc", "repro")
    assert project.made() == before
    assert project("git", "status", "--porcelain") == ""
    first = digests(project.folder / "releases" / "small")
    assert "tagged already; raise releases.small.version" in project(
        "synthkit", "release", "small", fails=True
    )
    project("synthkit", "publish", "releases/small", REPO)
    assert whole(hub, "v1.0.0")

    # The second: another guidance.
    project.edit(RECIPE, "guidance_scale: 1.0", "guidance_scale: 2.0")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.1.0")
    assert "not committed" in project("synthkit", "release", "small", fails=True)
    project.commit("More guidance")
    project("synthkit", "release", "small", "--tag")
    project("synthkit", "publish", "releases/small", REPO)
    assert whole(hub, "v1.1.0") and whole(hub, "v1.0.0")
    changes = yaml.safe_load((project.folder / "changelog" / "small.yaml").read_text())
    assert [item["version"] for item in changes] == ["1.1.0", "1.0.0"]
    assert changes[0]["changes"]["recipe"]["sampler.guidance_scale"] == [1.0, 2.0]
    images = changes[0]["images"]
    assert changes[0]["changes"]["images"]["changed"] == images
    told = project("synthkit", "diff", f"{REPO}@v1.0.0", f"{REPO}@v1.1.0")
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
    told = project("synthkit", "pull", f"{REPO}@v1.0.0", "--out", tmp_path / "pulled")
    assert "is here and intact" in told
    assert digests(tmp_path / "pulled" / "digits") == published(hub, "v1.0.0")
    told = project("synthkit", "replay", tmp_path / "pulled" / "digits", "--sample", "8")
    assert told.count("identical") >= images

    # DVC's way: its remote gives the same bytes, by name and version too.
    project("dvc", "push", "--all-tags")
    project("git", "clone", "-q", project.folder, tmp_path / "clone")
    clone = Project(tmp_path / "clone", project._environment)
    clone("dvc", "pull")
    assert digests(clone.folder / "releases" / "small") == digests(project.folder / "releases" / "small")
    clone("dvc", "artifacts", "get", ".", "small", "--rev", "v1.0.0", "-o", tmp_path / "got")
    assert digests(tmp_path / "got") == first
    assert "verify.json" in clone("dvc", "metrics", "show")
