"""A project that makes releases by DVC, in a git repository of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.publishing import TINY

RECIPE = "recipes/small.yaml"


class Project:
    """A clone of the pipeline that ships, with the small recipe, in a git repository of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        scripts = str(Path(sys.executable).parent)
        self.environment = environment | {
            "PATH": os.pathsep.join([scripts, environment["PATH"]]),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
            "DVC_NO_ANALYTICS": "1",
            "HOME": str(folder.parent),
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }

    def start(self) -> None:
        """Write its files and commit them."""
        for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"):
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            text = (ROOT / name).read_text()
            text = text.replace("digits-lt-augcond", "small").replace("recipes/digits_lt_ecd.yaml", RECIPE)
            place.write_text(text)
        # Its images come from no model, so that no process of the pipeline has to load one.
        self.edit(RECIPE, "", TINY.replace("builtin:tiny-unclip-digits", "builtin:flat-colours"))
        store = self.folder.parent / "store"
        self.edit(".dvc/config", "", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {store}\n")
        self("git", "init", "-q")
        self("git", "config", "user.name", "tests")
        self("git", "config", "user.email", "tests@example.org")
        self.commit("Start")

    def __call__(self, *command: str | Path) -> str:
        """What a command prints; it must succeed."""
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout}"
        return ran.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
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
