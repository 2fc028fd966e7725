"""The releases that params.yaml lists, as DVC makes them, and the git repository that records them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import semver
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthkit.errors import PipelineError
from synthkit.recipe import SEMVER
from synthkit.recipe_file import load

if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMS, PIPELINE, LOCK = "params.yaml", "dvc.yaml", "dvc.lock"
REPORTS, CHANGELOG = "reports", "changelog"


class Entry(BaseModel):
    """One release in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(min_length=1, description="The recipe, relative to params.yaml.")
    version: str = Field(pattern=SEMVER, description="Its semantic version; it wins over the recipe's.")
    protocol: str | None = Field(None, description="How it is scored.")


class _Params(BaseModel):
    releases: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Listed:
    """A release by its name in params.yaml."""

    name: str
    entry: Entry

    @property
    def tag(self) -> str:
        """The git tag of this version, as `gto` and `dvc artifacts get` read it."""
        return f"{self.name}@v{self.entry.version}"

    @property
    def folder(self) -> Path:
        """The release folder."""
        return Path("releases") / self.name

    @property
    def changelog(self) -> Path:
        """The file that says what changed in each version."""
        return Path(CHANGELOG) / f"{self.name}.yaml"

    @property
    def recorded(self) -> list[str]:
        """What git is to hold of this version."""
        return [LOCK, f"{REPORTS}/{self.name}", self.changelog.as_posix()]


def find(name: str) -> Listed:
    """A release of the params.yaml here. Raises PipelineError if it is not there, or not as it should be."""
    releases = _params().releases
    if name not in releases:
        raise PipelineError(f"{PARAMS}: lists no release {name}; it lists {', '.join(releases) or 'none'}")
    recipe = load(Path(releases[name].recipe))
    if recipe.name != name:
        raise PipelineError(
            f"{PARAMS}: releases.{name}: {releases[name].recipe} makes {recipe.name}; use that name"
        )
    _check_artifact(name)
    return Listed(name, releases[name])


def _params() -> _Params:
    data = _read_yaml(Path(PARAMS))
    try:
        return _Params.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PipelineError(f"{PARAMS}: {where}: {first['msg']}") from None


def _check_artifact(name: str) -> None:
    """`dvc artifacts get NAME` finds a release by its entry in dvc.yaml, which no template can make."""
    data = _read_yaml(Path(PIPELINE))
    artifacts = data.get("artifacts") if isinstance(data, dict) else None
    artifact = artifacts.get(name) if isinstance(artifacts, dict) else None
    if not isinstance(artifact, dict) or artifact.get("path") != f"releases/{name}":
        raise PipelineError(
            f"{PIPELINE}: artifacts: lacks {name}; add: {name}: {{path: releases/{name}, type: dataset}}"
        )


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(
            f"{path}: is not here; run this in the folder with {PARAMS} and {PIPELINE}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None


def check_clean(listed: Listed) -> None:
    """Raise PipelineError if anything but what a release records is not committed."""
    _git("rev-parse", "--show-toplevel")
    status = _git("status", "--porcelain", "--untracked-files=all")
    changed = [line[3:].strip('"') for line in status.splitlines()]
    prefix = _git("rev-parse", "--show-prefix").strip()
    ours = tuple(f"{prefix}{path}" for path in (LOCK, f"{REPORTS}/", f"{CHANGELOG}/"))
    others = [path for path in changed if not path.startswith(ours)]
    if others:
        more = " …" if len(others) > 3 else ""
        raise PipelineError(
            f"{listed.name}: {', '.join(others[:3])}{more}: not committed; a release is recorded with the "
            "recipe and the code that made it: commit or stash first"
        )


def check_version(listed: Listed) -> str | None:
    """The version before this one, if there is one.

    Raises PipelineError if this one is tagged already, or not higher than the last.
    """
    tags = _git("tag", "--list", f"{listed.name}@v*").split()
    versions = [tag.removeprefix(f"{listed.name}@v") for tag in tags]
    known = sorted(filter(semver.Version.is_valid, versions), key=semver.Version.parse)
    advice = f"raise releases.{listed.name}.version in {PARAMS}"
    if listed.entry.version in known:
        raise PipelineError(f"{listed.tag}: is tagged already; {advice}")
    if known and semver.Version.parse(listed.entry.version) <= known[-1]:
        raise PipelineError(f"{listed.tag}: is not higher than {known[-1]}, which is tagged; {advice}")
    return known[-1] if known else None


def reproduce(listed: Listed) -> None:
    """Have DVC make and verify the release, unless nothing changed. Raises PipelineError if it fails."""
    target = f"verify@{listed.name}"
    # The stages call `synthkit`: this one, also where its environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "repro", target]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, check=False)  # noqa: S603
    if done.returncode:
        raise PipelineError(f"dvc repro {target}: failed, see above; finished shards are kept")


def stage_and_commands(listed: Listed) -> list[list[str]]:
    """Stage what is recorded; returns the two git commands that make it a version."""
    _git("add", "--", *listed.recorded)
    message = f"Release {listed.name} {listed.entry.version}"
    return [
        ["git", "commit", "-m", message, "--", *listed.recorded],
        ["git", "tag", "-a", listed.tag, "-m", message],
    ]


def run(command: Sequence[str]) -> None:
    """Run one of these commands. Raises PipelineError if it fails."""
    _git(*command[1:])


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise PipelineError("git: is not installed")
    done = subprocess.run([git, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = " ".join(done.stderr.split()) or " ".join(done.stdout.split())
        raise PipelineError(f"git {arguments[0]}: {reason.removeprefix('fatal: ')}")
    return done.stdout
