"""DVC's stages: a release is made and verified by them, unless nothing changed since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError, VersionError
from synthkit.release.files import AUDIT, SIGNATURE
from synthkit.release.folder import ReleaseFolder
from synthkit.versions.params import LOCK, REPORTS

if TYPE_CHECKING:
    from synthkit.versions.params import Listed


def keep_additions(listed: Listed) -> None:
    """Have DVC take over what `synthkit audit` and `synthkit sign` put into the release folder.

    DVC would otherwise see a changed folder and make the release anew. A release that the recipe of now
    would not make is left alone. Raises VersionError if DVC fails.
    """
    if not ReleaseFolder(listed.folder).is_here():
        return
    if not any((listed.folder / name).is_file() for name in (AUDIT, SIGNATURE)):
        return
    _run_dvc("repro", f"inputs@{listed.name}")
    if _is_made(listed):
        _run_dvc("commit", "--force", f"build@{listed.name}")


def reproduce(listed: Listed) -> None:
    """Have DVC make and verify the release, unless nothing changed.

    Raises VersionError if DVC fails, or if the folder is another release than the recipe makes now.
    """
    _run_dvc("repro", f"verify@{listed.name}")
    if not _is_made(listed):
        raise VersionError(
            f"{listed.folder}: is not what {listed.entry.recipe} makes now, though {LOCK} says so; "
            f"run dvc repro --force build@{listed.name}, and this again"
        )


def _is_made(listed: Listed) -> bool:
    """Return whether the release in the folder has the version and the digest that the recipe has now."""
    try:
        inputs = json.loads((Path(REPORTS) / listed.name / "inputs.json").read_bytes())
        manifest = ReleaseFolder(listed.folder).manifest()
    except (OSError, ValueError, ReleaseError):
        return False
    return (manifest.version, manifest.recipe_digest) == (inputs.get("version"), inputs.get("digest"))


def _run_dvc(*arguments: str) -> None:
    """Run DVC with this environment's programs first in PATH: its stages call `synthkit`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", *arguments]
    if subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode:  # noqa: S603
        raise VersionError(f"dvc {' '.join(arguments)}: failed, see above; finished shards are kept")
