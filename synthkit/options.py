"""How to build: all that changes no byte of an image. And what comes of a run."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synthkit.part import WHOLE
from synthkit.work import WORK_FOLDER

if TYPE_CHECKING:
    from synthkit.part import Part

RELEASES = Path("releases")


@dataclass(frozen=True, slots=True)
class Options:
    """How to build.

    `out` is where release folders go (default `releases`); `limit` makes a preview of that many
    images; `part` makes only its shards, and no release; `fresh` drops finished shards; `overwrite`
    allows replacing what this recipe did not make. `workers` is how many processes share the work,
    None for one a GPU; one that shows no sign of life for `timeout` seconds is replaced. The engine
    `ray` shares it among the nodes of the cluster at `address`, None for the one of this machine.
    """

    out: Path | None = None
    device: str = "auto"
    limit: int | None = None
    part: Part = WHOLE
    workers: int | None = None
    timeout: float = 900.0
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    fresh: bool = False
    overwrite: bool = False

    @property
    def releases(self) -> Path:
        """The folder of release folders."""
        return self.out or RELEASES

    @property
    def work_root(self) -> Path:
        """Where unfinished work is kept: on the disk that the user chose for the release."""
        return work_root(self.out)


@dataclass(frozen=True, slots=True)
class Generated:
    """Images made in this run, and the seconds from the first batch to the last shard.

    `lost` were made as well, by workers that died before they had finished a shard.
    """

    images: int = 0
    seconds: float = 0.0
    lost: int = 0

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / max(self.seconds, 1e-9)


def check_place(folder: Path) -> None:
    """Raise OSError if a folder cannot be written to, or be made where it is not yet. Nothing is made."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        reason = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(reason, os.strerror(reason), str(there))


def check_file_places(*files: Path | None) -> None:
    """Raise OSError if one of the files that are to be written at the end cannot be."""
    for file in files:
        if file is not None and file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if file is not None:
            check_place(file.parent)


def work_root(out: Path | None) -> Path:
    """The folder of work folders: `.synthkit`, or inside `--out` where one is given."""
    return Path(WORK_FOLDER) if out is None else out / WORK_FOLDER
