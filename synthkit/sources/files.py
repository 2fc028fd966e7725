"""Images that are files below a root: what all families but `digits` and `hub` come down to."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from synthkit.errors import SourceError, UnreadableImage
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from synthkit.records import Listing


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images by path: `paths` are relative to `root`, in the order of the listing."""

    listing: Listing
    root: Path
    paths: Sequence[str]

    def path(self, index: int) -> str:
        """Where an image is."""
        return os.path.join(self.root, self.paths[index])  # noqa: PTH118 (a million times)

    def stamp(self, index: int) -> str:
        """Path, size and times: another one when the file is. Raises UnreadableImage."""
        path = self.path(index)
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            raise UnreadableImage(path, error.strerror or "it cannot be opened") from None
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage(path, "it is not a file")
        return f"{os.path.abspath(path)}|{state_of(status)}"  # noqa: PTH100

    def read(self, index: int) -> bytes:
        """The file."""
        self.stamp(index)  # A pipe that is called x.jpg would be waited for.
        path = self.path(index)
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UnreadableImage(path, error.strerror or "it cannot be opened") from None

    def decode(self, index: int, content: bytes) -> Image.Image:
        """The image in the file, RGB."""
        return decode(content, self.path(index))


def state_of(status: os.stat_result) -> str:
    """Inode, size and times (ns). The time of status change is the one that no copying tool can set."""
    return f"{status.st_ino}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


def folder_at(path: str, field: str, what: str, available_from: str = "") -> Path:
    """The folder that a field names. Raises SourceError saying what it should hold and where to get it."""
    folder = expanded(path)
    if not folder.is_dir():
        raise SourceError(f"{field}: there is no folder {path}; set it to {what}{get_it(available_from)}")
    return folder


def expanded(path: str) -> Path:
    """A path with `~` as the home folder."""
    # Path.expanduser raises for an unknown user; a folder may well be called ~x.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def get_it(available_from: str) -> str:
    """Where to get what is missing, as the end of an error."""
    return f". Get it from: {available_from}" if available_from else ""


def check_inside(path: str, where: str) -> str:
    """A path below the root, as it may stand in a record. Raises SourceError for any other."""
    inner = PurePosixPath(path)
    if inner.is_absolute() or ".." in inner.parts or "\\" in path or not inner.parts:
        raise SourceError(f"{where}: {path!r} must be a path below source.root, with / and without ..")
    if not path.isprintable():
        raise SourceError(f"{where}: {path!r} has a name that cannot be printed; rename it")
    # One spelling for one file: `./a` and `a//b` would be images of their own.
    return inner.as_posix()
