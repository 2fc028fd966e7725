"""The releases that params.yaml lists, as DVC makes them, and the git repository that records them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import semver
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthkit.config.yaml_file import YAML_ERRORS, plain_data
from synthkit.errors import PipelineError, ReleaseError, one_line
from synthkit.recipe.load import files_of, load
from synthkit.recipe.schema import SEMVER
from synthkit.release.folder import ReleaseFolder
from synthkit.system.files import HALF_WRITTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMS, PIPELINE, LOCK = "params.yaml", "dvc.yaml", "dvc.lock"
REPORTS, CHANGELOG = "reports", "changelog"
# What releases record: this one, and others that were made but not recorded yet; also half-written, after a
# kill: the next run removes that.
_RECORDED = re.compile(
    rf"{re.escape(LOCK)}|({REPORTS}/[^/]+/[^/]+\.json|{CHANGELOG}/[^/]+\.yaml"
    rf"|comparison/(\.?table\.md|plots/\.?[\w-]+\.(png|svg)))({HALF_WRITTEN})?"
)


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
    data = read_yaml(Path(PARAMS))
    if not isinstance(data, dict) or not isinstance(data.get("releases"), dict):
        raise PipelineError(f"{PARAMS}: lists no releases: write releases: NAME: {{recipe: …, version: …}}")
    try:
        return _Params.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PipelineError(f"{PARAMS}: {where}: {first['msg']}") from None


def _check_artifact(name: str) -> None:
    """`dvc artifacts get NAME` finds a release by its entry in dvc.yaml, which no template can make."""
    data = read_yaml(Path(PIPELINE))
    artifacts = data.get("artifacts") if isinstance(data, dict) else None
    artifact = artifacts.get(name) if isinstance(artifacts, dict) else None
    if not isinstance(artifact, dict) or artifact.get("path") != f"releases/{name}":
        raise PipelineError(
            f"{PIPELINE}: artifacts: lacks {name}; add: {name}: {{path: releases/{name}, type: dataset}}"
        )


def read_yaml(path: Path) -> Any:
    """A YAML file's data. Raises PipelineError if it is missing, or not plain YAML."""
    try:
        return plain_data(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(
            f"{path}: is not here; run this in the folder with {PARAMS} and {PIPELINE}"
        ) from None
    except YAML_ERRORS as error:
        raise PipelineError(f"{path}: is not plain YAML: {one_line(error)}") from None


def check_clean(listed: Listed) -> None:
    """Raise PipelineError if anything but what releases record is not committed, the recipe above all."""
    prefix = show_prefix()
    status = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    changed = [entry[3:].removeprefix(prefix) for entry in status.split("\0") if entry]
    others = [path for path in changed if not _RECORDED.fullmatch(path)]
    if not others:
        recipes = [str(path) for path in files_of(Path(listed.entry.recipe))]
        others = [recipe for recipe in recipes if not _git("ls-files", "--", recipe)]
    if others:
        more = " …" if len(others) > 3 else ""
        raise PipelineError(
            f"{listed.name}: {', '.join(others[:3])}{more}: not committed; a release is recorded with the "
            "recipe and the code that made it: commit, stash, or name in .gitignore what has no part in it"
        )


@dataclass(frozen=True, slots=True)
class Earlier:
    """The last version that this commit descends from, and a higher one of another branch; None for none."""

    version: str | None
    elsewhere: str | None

    def note(self, listed: Listed) -> str | None:
        """What to say where the last version is not the one to compare with."""
        if self.elsewhere is None:
            return None
        what = (
            f"changes are told since {self.version}, the last version that this commit descends from"
            if self.version
            else "this commit descends from no version, so no changes are told"
        )
        return f"{listed.name}: {self.elsewhere} is tagged on another branch; {what}"


def check_version(listed: Listed) -> Earlier:
    """The version before this one.

    Raises PipelineError if this one is tagged already or not higher than the last, on whatever branch, or
    where not all of the history is here to tell.
    """
    if _git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise PipelineError(
            f"{listed.name}: this clone is shallow, so versions may be missing: git fetch --unshallow --tags"
        )
    known, ours = _versions(listed), _versions(listed, "--merged", "HEAD")
    last = known[-1] if known else None
    advice = f"raise releases.{listed.name}.version in {PARAMS}"
    branch = "" if last is None or last in ours else " on another branch"
    if listed.entry.version in known:
        raise PipelineError(f"{listed.tag}: is tagged already; {advice}")
    if last and semver.Version.parse(listed.entry.version) <= last:
        raise PipelineError(f"{listed.tag}: is not higher than {last}, which is tagged{branch}; {advice}")
    return Earlier(ours[-1] if ours else None, last if branch else None)


def _versions(listed: Listed, *which: str) -> list[str]:
    """Versions by their tags, the highest last."""
    tags = _git("tag", "--list", *which, f"{listed.name}@v*").split()
    versions = [tag.removeprefix(f"{listed.name}@v") for tag in tags]
    return sorted(filter(semver.Version.is_valid, versions), key=semver.Version.parse)


def keep_audit(listed: Listed) -> None:
    """Tell DVC of an audit in the release folder, which it would make anew otherwise.

    Only where the folder is what the recipe makes now. Raises PipelineError if DVC refuses.
    """
    if not ReleaseFolder(listed.folder).is_here() or not (listed.folder / "audit.json").is_file():
        return
    _run_dvc("repro", f"inputs@{listed.name}")
    if _is_made(listed):
        _run_dvc("commit", "--force", f"build@{listed.name}")


def reproduce(listed: Listed) -> None:
    """Have DVC make and verify the release, unless nothing changed.

    Raises PipelineError if that fails, or if the folder is not what the recipe makes now all the same.
    """
    _run_dvc("repro", f"verify@{listed.name}")
    if not _is_made(listed):
        raise PipelineError(
            f"{listed.folder}: is not what {listed.entry.recipe} makes now, though {LOCK} says so; "
            f"run dvc repro --force build@{listed.name}, and this again"
        )


def _is_made(listed: Listed) -> bool:
    """Whether the folder holds what decides the release now, by version and digest."""
    try:
        inputs = json.loads((Path(REPORTS) / listed.name / "inputs.json").read_bytes())
        manifest = ReleaseFolder(listed.folder).manifest()
    except (OSError, ValueError, ReleaseError):
        return False
    return (manifest.version, manifest.recipe_digest) == (inputs.get("version"), inputs.get("digest"))


def _run_dvc(*arguments: str) -> None:
    """Run DVC; its stages call `synthkit`: this one, also where its environment is not activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", *arguments]
    if subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode:  # noqa: S603
        raise PipelineError(f"dvc {' '.join(arguments)}: failed, see above; finished shards are kept")


def commands(listed: Listed) -> list[list[str]]:
    """The git commands that record this version; without the commit where that is made already."""
    message = f"Release {listed.name} {listed.entry.version}"
    commit = [
        ["git", "add", "--", *listed.recorded],
        ["git", "commit", "-m", message, "--", *listed.recorded],
    ]
    changed = _git("status", "--porcelain", "--untracked-files=all", "--", *listed.recorded)
    return [*(commit if changed else []), ["git", "tag", "-a", listed.tag, "-m", message]]


def run(command: Sequence[str]) -> None:
    """Run one of these commands. Raises PipelineError if it fails."""
    _git(*command[1:])


def push_command(listed: Listed) -> str:
    """What brings the commit and the tag to others, also from a commit that no branch holds."""
    on_branch = _git("branch", "--show-current").strip()
    return "git push --follow-tags" if on_branch else f"git push origin {listed.tag}"


def show_prefix() -> str:
    """Where the project lies in its git repository: empty, or `folder/`."""
    return _git("rev-parse", "--show-prefix").strip()


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise PipelineError("git: is not installed")
    # File names need not be UTF-8.
    done = subprocess.run(  # noqa: S603
        [git, *arguments], capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
    )
    if done.returncode:
        reason = one_line(done.stderr, longest=None) or one_line(done.stdout, longest=None)
        raise PipelineError(f"git {arguments[0]}: {reason.removeprefix('fatal: ')}")
    return done.stdout
