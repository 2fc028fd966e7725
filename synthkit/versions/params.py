"""The releases that params.yaml lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthkit.config.yaml_file import YAML_ERRORS, plain_data
from synthkit.errors import VersionError, one_line
from synthkit.recipe.load import load
from synthkit.recipe.schema import SEMVER

PARAMS, DVC_YAML, LOCK = "params.yaml", "dvc.yaml", "dvc.lock"
REPORTS, CHANGELOG = "reports", "changelog"


class Entry(BaseModel):
    """One release in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(min_length=1, description="The recipe, relative to params.yaml.")
    version: str = Field(pattern=SEMVER, description="Its semantic version; it wins over the recipe's.")
    protocol: str = Field(min_length=1, description="How it is scored: `synthkit eval --protocol`.")


class _Params(BaseModel):
    releases: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class Listed:
    """A release by its name in params.yaml."""

    name: str
    entry: Entry

    @property
    def tag(self) -> str:
        """The git tag of this version, in the form that `gto` and `dvc artifacts get` read."""
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
        """The files and folders that are committed to git with this version."""
        return [LOCK, f"{REPORTS}/{self.name}", self.changelog.as_posix()]


def find(name: str) -> Listed:
    """Return a release that params.yaml in this folder lists.

    Raises VersionError if it lists no such release, if the recipe has another name, or if dvc.yaml has no
    artifact for it.
    """
    releases = _params().releases
    if name not in releases:
        raise VersionError(f"{PARAMS}: lists no release {name}; it lists {', '.join(releases) or 'none'}")
    recipe = load(Path(releases[name].recipe))
    if recipe.name != name:
        raise VersionError(
            f"{PARAMS}: releases.{name}: {releases[name].recipe} makes {recipe.name}; use that name"
        )
    _check_artifact(name)
    return Listed(name, releases[name])


def _params() -> _Params:
    data = read_yaml(Path(PARAMS))
    if not isinstance(data, dict) or not isinstance(data.get("releases"), dict):
        raise VersionError(f"{PARAMS}: lists no releases: write releases: NAME: {{recipe: …, version: …}}")
    try:
        return _Params.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VersionError(f"{PARAMS}: {where}: {first['msg']}") from None


def _check_artifact(name: str) -> None:
    """Raise VersionError if dvc.yaml lists no artifact of this name: `dvc artifacts get NAME` needs one."""
    # It is checked because it is written by hand: DVC fills no template in there.
    data = read_yaml(Path(DVC_YAML))
    artifacts = data.get("artifacts") if isinstance(data, dict) else None
    artifact = artifacts.get(name) if isinstance(artifacts, dict) else None
    if not isinstance(artifact, dict) or artifact.get("path") != f"releases/{name}":
        raise VersionError(
            f"{DVC_YAML}: artifacts: lacks {name}; add: {name}: {{path: releases/{name}, type: dataset}}"
        )


def read_yaml(path: Path) -> Any:
    """Return the data in a YAML file. Raises VersionError if it is missing, or not plain YAML."""
    try:
        return plain_data(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VersionError(
            f"{path}: is not here; run this in the folder with {PARAMS} and {DVC_YAML}"
        ) from None
    except YAML_ERRORS as error:
        raise VersionError(f"{path}: is not plain YAML: {one_line(error)}") from None
