"""Where real images and models were read last, so that one's own release finds them again.

A release names no folder of this machine. So the work root keeps, by the digest of the real images, the
absolute paths of their source, and by the content of a model its folder: a small file each. Any may be
deleted at any time. None is trusted: what lies there must still have the digest.
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
    """Keep where the real images of a digest are, if their kind has a place. Never a reason to fail."""
    places = {field: _absolute(path) for field, path in source.places().items()}
    if source.kind == "hub" and not places and "/" not in source.id:
        # A data set of the Hub by its bare name, which a release's reader takes for a folder's.
        places = {"id": source.id}
    if places:
        _keep(root, digest, {"kind": source.kind, **places})


def remember_model(root: Path, name: str, revision: str, folder: Path) -> None:
    """Keep where the folder of a model is that is neither built in nor the Hub's."""
    if _DIGEST.fullmatch(revision) and not name.startswith("builtin:"):
        _keep(root, revision, {"kind": "model", "folder": _absolute(str(folder))})


def recall(root: Path, digest: str, kind: str) -> dict[str, str]:
    """The places that were kept, by field; nothing if there are none or the file is damaged."""
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
                # A pipe would be written into.
                path.unlink()
            write_file(path, json.dumps(facts, indent=2).encode() + b"\n")
    except (OSError, UnicodeEncodeError):
        # A full disk, or a folder that is not ours to write: the places are named on the command line then.
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
