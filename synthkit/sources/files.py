"""Images that are files below a root, as in most families of sources; and checks of their paths."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from unicodedata import normalize

from synthkit.errors import MissingSource, SourceError, UnreadableImage
from synthkit.sources.decoding import decode
from synthkit.system.known_hashes import stamp_of
from synthkit.system.names import fault_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from synthkit.sources.base import Listing


_DRIVE_OR_ADDRESS = re.compile(r"[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images by path: `paths` are relative to `root`, in the order of the listing."""

    listing: Listing
    root: Path
    paths: Sequence[str]
    notes: tuple[str, ...] = ()

    def path(self, index: int) -> str:
        """Return the path of an image, also if a Mac's disk or archive spells its name in another form."""
        name = self.paths[index]
        path = os.path.join(self.root, name)  # noqa: PTH118 (a million times)
        if name.isascii() or os.path.lexists(path):
            return path
        others = (os.path.join(self.root, normalize(form, name)) for form in ("NFC", "NFD"))  # noqa: PTH118
        return next((other for other in others if os.path.lexists(other)), path)

    def stamp(self, index: int) -> str:
        """Return the path, inode, size and times of the file. Raises UnreadableImage if it is missing."""
        path = self.path(index)
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            raise UnreadableImage(path, error.strerror or "it cannot be opened") from None
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage(path, "it is not a file")
        return stamp_of(path, status)

    def read(self, index: int) -> bytes:
        """Return the content of the file. Raises UnreadableImage."""
        self.stamp(index)  # It refuses a pipe called x.jpg, whose content `read_bytes` would wait for.
        path = self.path(index)
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UnreadableImage(path, error.strerror or "it cannot be opened") from None

    def decode(self, index: int, content: bytes) -> Image.Image:
        """Return the RGB image in the content of the file. Raises UnreadableImage."""
        return decode(content, self.path(index))


def folder_at(path: str, field: str, what: str, available_from: str = "") -> Path:
    """Return the folder that a field names.

    Raises MissingSource if there is none; `what` says what the field should name.
    """
    folder = expanded(path)
    if not folder.is_dir():
        raise MissingSource(f"{field}: there is no folder {path}; set it to {what}{get_it(available_from)}")
    return folder


def check_regular(path: Path) -> None:
    """Raise MissingSource if a path is a pipe, a device or a socket: reading it could wait for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        # Whoever opens the file reports what is wrong with it.
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MissingSource(f"{path}: is a pipe, a device or a socket; name a file")


def expanded(path: str) -> Path:
    """Return a path with `~` as the home folder."""
    # Path.expanduser raises an error for an unknown user, but a folder may be called ~x.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def get_it(available_from: str) -> str:
    """Return where to get what is missing, as the end of an error."""
    return f". Get it from: {available_from}" if available_from else ""


def check_inside(path: str, where: str, below: str = "source.root") -> str:
    """Return a path that is below the root, as a record holds it. Raises SourceError for any other.

    `where` says where the path was read, `below` is the field that names the root.
    """
    inner = PurePosixPath(path)
    told = f"{where}: has a path that is not below {below}, or cannot be printed"
    outside = _outside(path, inner)
    if outside:
        raise SourceError(f"{where}: {path!r} must be a path below {below}{outside}", told=told)
    fault = fault_in(path)
    if fault:
        raise SourceError(
            f"{where}: {path!r} has a name that cannot be printed; rename it ({fault})", told=told
        )
    # One spelling for each file: otherwise `a` and `./a` would be two images.
    return inner.as_posix()


def _outside(path: str, inner: PurePosixPath) -> str | None:
    """Return why a path is not below a root, as the end of an error; None if it is."""
    if "\\" in path or ".." in inner.parts or not inner.parts:
        return ", with / and without .."
    if inner.is_absolute():
        return ", and begins with /: leave out the / and what leads to that folder"
    if _DRIVE_OR_ADDRESS.match(path):
        return ": leave out the drive or address and what leads to that folder"
    return None


def check_listed(path: str, where: str, below: str) -> str:
    """Return what `check_inside` does for a path in a file; backslashes of Windows are read as `/`."""
    return check_inside(path.replace("\\", "/"), where, below)
