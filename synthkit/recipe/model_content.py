"""What a model is: the SHA-256 over its files, wherever a copy of them lies."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def content_sha256(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of a model, from the path and the SHA-256 of each of its files.

    It is that of the lines `path sha256`, each ended by a newline, in the order of the paths.
    """
    lines = "".join(f"{path} {sha256}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
