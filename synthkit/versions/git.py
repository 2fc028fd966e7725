"""Releases in git: what must be committed and tagged before a version, and what records it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import semver

from synthkit.errors import VersionError, one_line
from synthkit.recipe.load import files_of
from synthkit.system.files import HALF_WRITTEN
from synthkit.versions.params import CHANGELOG, LOCK, PARAMS, REPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.versions.params import Listed

# The files that `synthkit release` and DVC's stages write. They may differ from the last commit, also those
# of other releases: they may have been made and not recorded, or be left half-written after a kill.
_RECORDED = re.compile(
    rf"{re.escape(LOCK)}|({REPORTS}/[^/]+/[^/]+\.json|{CHANGELOG}/[^/]+\.yaml"
    rf"|comparison/(\.?table\.md|plots/\.?[\w-]+\.(png|svg)))({HALF_WRITTEN})?"
)


def check_clean(listed: Listed) -> None:
    """Raise VersionError if a file is not committed: a version is recorded with the code that made it.

    Files that releases themselves write may differ from the last commit.
    """
    prefix = show_prefix()
    status = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    changed = [entry[3:].removeprefix(prefix) for entry in status.split("\0") if entry]
    others = [path for path in changed if not _RECORDED.fullmatch(path)]
    if not others:
        recipes = [str(path) for path in files_of(Path(listed.entry.recipe))]
        others = [recipe for recipe in recipes if not git("ls-files", "--", recipe)]
    if others:
        more = " …" if len(others) > 3 else ""
        raise VersionError(
            f"{listed.name}: {', '.join(others[:3])}{more}: not committed; a release is recorded with the "
            "recipe and the code that made it: commit, stash, or name in .gitignore what has no part in it"
        )


@dataclass(frozen=True, slots=True)
class Earlier:
    """The versions before this one.

    `version` is the last that this commit descends from, `elsewhere` a higher one that is tagged on another
    branch; each is None if there is none.
    """

    version: str | None
    elsewhere: str | None

    def note(self, listed: Listed) -> str | None:
        """Return a note for the user if a higher version is on another branch, else None."""
        if self.elsewhere is None:
            return None
        what = (
            f"changes are told since {self.version}, the last version that this commit descends from"
            if self.version
            else "this commit descends from no version, so no changes are told"
        )
        return f"{listed.name}: {self.elsewhere} is tagged on another branch; {what}"


def check_version(listed: Listed) -> Earlier:
    """Return the versions before this one.

    Raises VersionError if this one is tagged already, if it is not higher than the last on any branch, or if
    the clone is shallow and so lacks tags.
    """
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise VersionError(
            f"{listed.name}: this clone is shallow, so versions may be missing: git fetch --unshallow --tags"
        )
    known, ours = _versions(listed), _versions(listed, "--merged", "HEAD")
    last = known[-1] if known else None
    advice = f"raise releases.{listed.name}.version in {PARAMS}"
    branch = "" if last is None or last in ours else " on another branch"
    if listed.entry.version in known:
        raise VersionError(f"{listed.tag}: is tagged already; {advice}")
    if last and semver.Version.parse(listed.entry.version) <= last:
        raise VersionError(f"{listed.tag}: is not higher than {last}, which is tagged{branch}; {advice}")
    return Earlier(ours[-1] if ours else None, last if branch else None)


def _versions(listed: Listed, *which: str) -> list[str]:
    """Return the versions that `git tag` lists for a release, the highest last."""
    tags = git("tag", "--list", *which, f"{listed.name}@v*").split()
    versions = [tag.removeprefix(f"{listed.name}@v") for tag in tags]
    return sorted(filter(semver.Version.is_valid, versions), key=semver.Version.parse)


def commands(listed: Listed) -> list[list[str]]:
    """Return the git commands that record this version; only the tag's if its files are committed already."""
    message = f"Release {listed.name} {listed.entry.version}"
    commit = [
        ["git", "add", "--", *listed.recorded],
        ["git", "commit", "-m", message, "--", *listed.recorded],
    ]
    changed = git("status", "--porcelain", "--untracked-files=all", "--", *listed.recorded)
    return [*(commit if changed else []), ["git", "tag", "-a", listed.tag, "-m", message]]


def run(command: Sequence[str]) -> None:
    """Run one of the commands that `commands` returns. Raises VersionError if it fails."""
    git(*command[1:])


def push_command(listed: Listed) -> str:
    """Return the command that pushes the commit and the tag; from a detached HEAD, the tag alone."""
    on_branch = git("branch", "--show-current").strip()
    return "git push --follow-tags" if on_branch else f"git push origin {listed.tag}"


def show_prefix() -> str:
    """Return the project's folder below the top of its git repository, as `folder/`; empty at the top."""
    return git("rev-parse", "--show-prefix").strip()


def git(*arguments: str) -> str:
    """Return what a git command prints. Raises VersionError if it fails, or if there is no git."""
    executable = shutil.which("git")
    if executable is None:
        raise VersionError("git: is not installed")
    # File names need not be UTF-8.
    done = subprocess.run(  # noqa: S603
        [executable, *arguments], capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
    )
    if done.returncode:
        reason = one_line(done.stderr, longest=None) or one_line(done.stdout, longest=None)
        raise VersionError(f"git {arguments[0]}: {reason.removeprefix('fatal: ')}")
    return done.stdout
