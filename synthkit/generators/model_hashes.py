"""The SHA-256 of a model's files, computed once and remembered until a file changes."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import GeneratorError
from synthkit.system.files import sha256_of
from synthkit.system.known_hashes import KnownHashes, stamp_of
from synthkit.system.progress import progress

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from pathlib import Path

# Bytes: hashing less takes no time to speak of.
_SHOWN_FROM = 256 << 20
_AT_A_TIME = 4


class FileContent(NamedTuple):
    """The number of bytes of a file, and their SHA-256."""

    bytes: int
    sha256: str


# The files that a folder's content was once taken from.
_ONCE = ("*.json", "*.txt", "*.safetensors")


def contents(
    folder: Path, files: Iterable[str], known: KnownHashes, key: str = "model.id"
) -> dict[str, FileContent]:
    """Return what each file of a model holds, by its path below the folder.

    A file whose path, inode, size and times are known is not read again. Raises GeneratorError, which begins
    with the recipe's key, if one cannot be read, or is no file.
    """
    states = {path: _state(folder / path, key) for path in files}
    stamps = {path: stamp_of(folder / path, state) for path, state in states.items()}
    found = known.find(list(stamps.values()))
    new = {path: states[path].st_size for path, stamp in stamps.items() if stamp not in found}
    hashed = {stamps[path]: sha256 for path, sha256 in _hash(folder, new, key).items()}
    known.keep(hashed)
    found |= hashed
    return {path: FileContent(states[path].st_size, found[stamp]) for path, stamp in stamps.items()}


def content_revision(folder: Path) -> str:
    """Return the SHA-256 over the relative names and contents of all files of a folder that a model may have.

    Releases of format 1 name a model in a folder by it, and so do feature spaces. Raises GeneratorError if a
    folder or a pipe has the name of a file.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _ONCE for path in folder.rglob(pattern)):
        if path.exists() and not path.is_file():
            raise GeneratorError(f"model.id: {path} is not a file, though its name is that of a model's file")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _hash(folder: Path, sizes: dict[str, int], key: str) -> dict[str, str]:
    total = sum(sizes.values())
    # Nothing is shown for a total of zero.
    shown = total / 1e3 if total >= _SHOWN_FROM else 0
    with progress("reading the model", shown, unit="kB") as advance, ThreadPoolExecutor(_AT_A_TIME) as pool:

        def one(path: str) -> str:
            sha256 = _sha256(folder / path, key)
            advance(sizes[path] / 1e3)
            return sha256

        return dict(zip(sizes, pool.map(one, sizes), strict=True))


def _sha256(path: Path, key: str) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise _unreadable(path, error, key) from None


def _state(path: Path, key: str) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error, key) from None
    if not stat.S_ISREG(status.st_mode):
        raise GeneratorError(f"{key}: {path} is not a file, though its name is that of a model's file")
    return status


def _unreadable(path: Path, error: OSError, key: str) -> GeneratorError:
    return GeneratorError(f"{key}: {path}: cannot be read: {error.strerror or 'it is gone'}")
