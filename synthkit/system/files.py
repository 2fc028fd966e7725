"""Files and folders that are either whole or not there, even after a kill or a power cut.

A file gets its final name when its content is on the disk, and the name is on the disk before anything relies
on it. Source: POSIX.1, rename() and fsync(); a new name needs the fsync of its folder, too.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from synthkit.system.locks import is_left, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

# The errors of network file systems on which no folder can be synced.
_UNSYNCABLE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
# From so many files on, flushing all disks at once is faster than flushing each file.
_MANY = 1000
# The ending of the names of files that are being written, as a regular expression.
HALF_WRITTEN = r"\.[0-9a-f]{8}\.tmp"


def write_file(path: Path, content: bytes) -> None:
    """Write a file that a user keeps: all of it is written, or it stays as it was.

    Half-written files that killed writers of the same file left are removed. A symbolic link is followed and
    stays a link.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        # A terminal or a pipe; for a folder, this raises the error that says so.
        path.write_bytes(content)
        return
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if is_left(leftover):
            leftover.unlink(missing_ok=True)
    write_atomically(path, content)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, even after a power cut. An OSError names it."""
    try:
        with _own_temporary(path) as (temporary, stream):
            stream.write(content)
            sync(stream)
            rename(temporary, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def rename(old: Path, new: Path) -> None:
    """Give a file its final name, and sync the folder, so that the name is on the disk."""
    old.rename(new)
    sync_folder(new.parent)


def link(source: Path, target: Path) -> None:
    """Give a file a second name (a hard link), or copy it where the file system allows no link."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copyfile(source, target)
        sync_file(target)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, and sync the new names to the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(stream: IO[bytes]) -> None:
    """Flush an open file to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_file(path: Path) -> None:
    """Flush a file that is closed, or was written by others, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming_the_place(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where its file system can."""
    try:
        sync_file(folder)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise


def sync_tree(folder: Path) -> None:
    """Flush a folder and everything in it to the disk, the folder itself last."""
    if sum(len(names) for _, _, names in os.walk(folder)) > _MANY:
        # One flush of all that waits for a disk takes seconds, one of each file milliseconds.
        os.sync()
        return
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(below) / name)
        sync_folder(Path(below))


def temporary_name(path: Path) -> Path:
    """Return a name for the file while it is written.

    It is another one each time: a writer that counts as lost may be alive somewhere and still write.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextmanager
def naming_the_place(place: Path) -> Iterator[None]:
    """Add a path to an OSError that has none: a failed write says what is wrong, but not where."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(place)
        raise


@contextmanager
def _own_temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Open a new temporary file and lock it, so that others see that its writer is alive."""
    while True:
        temporary = temporary_name(path)
        with temporary.open("xb") as stream:
            # Another process that looked for leftovers may have removed it before it was locked.
            if not try_lock(stream.fileno()) or not temporary.exists():
                continue
            try:
                yield temporary, stream
            finally:
                temporary.unlink(missing_ok=True)
            return


def check_place(folder: Path) -> None:
    """Raise OSError if a folder cannot be written to, or, if it is missing, cannot be made. Make nothing."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        reason = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(reason, os.strerror(reason), str(there))


def check_file_places(*files: Path | None) -> None:
    """Raise OSError if one of some files could not be written; called before the work that fills them."""
    for file in files:
        if file is not None and file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if file is not None:
            check_place(file.parent)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
