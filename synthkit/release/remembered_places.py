"""Remembers where a build read real images and models, so that the release it made finds them again.

A release names no folder of the machine that built it. So a build writes small files into the work root:
under the digest of the real images, the absolute paths of their source; under the digest of a model, its
folder; under that of captions, their file. They may be deleted at any time. Whoever uses such a path checks
that what lies there has the digest.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING

from synthkit.system.files import make_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synthkit.recipe.families import SourceConfig

FOLDER = "places"
_MAX_BYTES = 1 << 16
_DIGEST = re.compile(r"[0-9a-f]{64}")


def remember_source(root: Path, digest: str, source: SourceConfig) -> None:
    """Remember where the real images with a digest are. A failure to write is ignored."""
    places = {field: _absolute(path) for field, path in source.places().items()}
    if source.kind == "hub" and not places and "/" not in source.id:
        # A data set of the Hub by its bare name: in a release, a bare name means a folder.
        places = {"id": source.id}
    if places:
        _keep(root, digest, {"kind": source.kind, **places})


def remember_model(root: Path, name: str, content: str, folder: Path) -> None:
    """Remember the folder of a model that is not built in; `content` is its SHA-256."""
    if not name.startswith("builtin:"):
        _keep(root, content, {"kind": "model", "folder": _absolute(str(folder))})


def remember_captions(root: Path, sha256: str, path: Path) -> None:
    """Remember the file of captions with a SHA-256."""
    _keep(root, sha256, {"kind": "captions", "file": _absolute(str(path))})


def recall(root: Path, digest: str, kind: str) -> dict[str, str]:
    """Return the remembered paths by field; an empty dict if there are none or the file is damaged."""
    kept = _read(root, digest) if _DIGEST.fullmatch(digest) else {}
    return {field: path for field, path in kept.items() if field != "kind" and kept.get("kind") == kind}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (links stay links)


def _keep(root: Path, digest: str, facts: Mapping[str, str]) -> None:
    try:
        if _read(root, digest) != facts:
            make_folder(root / FOLDER)
            path = root / FOLDER / f"{digest}.json"
            if os.path.lexists(path) and not path.is_file():
                # Writing would write into a pipe that lies there.
                path.unlink()
            write_file(path, json.dumps(facts, indent=2).encode() + b"\n")
    except (OSError, UnicodeEncodeError):
        # The disk is full, or the folder is read-only: users can name the places on the command line.
        return


def _read(root: Path, digest: str) -> dict[str, str]:
    path = root / FOLDER / f"{digest}.json"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            return {}
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_plain = isinstance(facts, dict) and all(isinstance(text, str) for text in facts.values())
    return facts if is_plain else {}
