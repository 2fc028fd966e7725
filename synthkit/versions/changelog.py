"""changelog/NAME.yaml: what every version of a release is, and what changed since the one before."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from synthkit.errors import SynthkitError, VersionError, one_line
from synthkit.release.diff import difference
from synthkit.release.files import MANIFEST, RECIPE
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import read_manifest
from synthkit.release.recipe_file import read_recipe
from synthkit.system.files import make_folder, sha256_of, write_file
from synthkit.versions.git import show_prefix
from synthkit.versions.params import read_yaml

if TYPE_CHECKING:
    from synthkit.versions.params import Listed

_HEADER = "# Versions of {name}, newest first; written by `synthkit release {name}`.\n"


def write_changelog(listed: Listed, before: str | None) -> str:
    """Put the release's version on top of its changelog, and return where to read what changed.

    `before` is the version to compare with. Raises VersionError if the file there is not a changelog.
    """
    entry = _facts(listed.folder)
    told = f"{listed.changelog} says what changed"
    if before is not None:
        entry["since"] = before
        entry["changes"] = changes = _changes(listed, before)
        if isinstance(changes, str):
            told = f"what changed since {before} is {changes}; dvc push where it was made lets others compare"
    earlier = [item for item in _read(listed.changelog) if item.get("version") != entry["version"]]
    text = yaml.safe_dump([entry, *earlier], sort_keys=False, allow_unicode=True)
    make_folder(listed.changelog.parent)
    write_file(listed.changelog, (_HEADER.format(name=listed.name) + text).encode())
    return told


def _facts(release: Path) -> dict[str, Any]:
    with ReleaseFolder(release).opened() as manifest:
        return {
            "version": manifest.version,
            "images": manifest.images,
            "bytes": manifest.size,
            "recipe_digest": manifest.recipe_digest,
            "manifest_sha256": sha256_of(release / MANIFEST),
        }


def _read(path: Path) -> list[dict[str, Any]]:
    found = read_yaml(path) if path.exists() else []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise VersionError(f"{path}: is not a changelog: a list of versions; restore it with git checkout")
    return found


def _changes(listed: Listed, before: str) -> dict[str, Any] | str:
    """Return what `synthkit diff` finds, or why it cannot compare.

    The earlier release comes from DVC's cache or remote.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            old = _fetch(listed, before, Path(folder))
            with ReleaseFolder(old).opened() as first, ReleaseFolder(listed.folder).opened() as second:
                new = listed.folder
                found = difference((old, first, read_recipe(old)), (new, second, read_recipe(new)))
        except SynthkitError as error:
            return f"not known: {error}"
    counts = {kind: len(getattr(found, kind)) for kind in ("changed", "added", "removed", "moved")}
    return {
        "recipe": {field: list(values) for field, values in found.recipe.items()},
        "made_with": found.environment,
        "classes": {name: list(both) for name, both in found.classes.items()},
        "images": {"same": found.same, **counts},
        "changed_in": found.changed_fields,
    }


def _fetch(listed: Listed, version: str, folder: Path) -> Path:
    """Put the files of an earlier version that `diff` needs into a folder, and return it."""
    from dvc.api import DVCFileSystem

    # DVC counts from the top of the git repository, of which the project may be a folder.
    release = f"{show_prefix()}{listed.folder.as_posix()}"
    try:
        files = DVCFileSystem(".", rev=f"{listed.name}@v{version}", subrepos=True)

        def get(name: str) -> None:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(f"{release}/{name}", str(place))

        for name in (MANIFEST, RECIPE):
            get(name)
        for name in read_manifest(folder).tables():
            get(name)
    except Exception as error:
        # DVC, its remotes and git fail in ways of their own.
        raise VersionError(f"{version} is in no DVC cache or remote ({one_line(error)})") from None
    return folder
