"""A check, without opening a file, that no link among the files of a source leads out of a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from synthkit.sources.families import paths_read
from synthkit.sources.files import ImageFiles
from synthkit.sources.selection import Selected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from synthkit.recipe.families import SourceConfig
    from synthkit.sources.base import Source


def link_out_of(config: SourceConfig, below: Path) -> str | None:
    """Return a file or folder that opening a source would read and that lies outside `below`; else None.

    Links are resolved.
    """
    return _first_outside((str(path) for top in paths_read(config) for path in _all_in(top, below)), below)


def image_out_of(source: Source, below: Path) -> str | None:
    """Return an image of an open source that lies outside `below`, links resolved; None without one."""
    while isinstance(source, Selected):
        source = source.source
    if not isinstance(source, ImageFiles):
        return None
    return _first_outside((source.path(index) for index in range(len(source.paths))), below)


def is_below(path: str | Path, folder: str | Path) -> bool:
    """Return whether a path, links resolved, is `folder` or below it."""
    place, top = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([place, top]) == top


def _all_in(top: Path, below: Path) -> Iterator[str]:
    """Yield a path and all that is in it, also in folders that links lead to, each folder once."""
    yield str(top)
    seen: set[tuple[int, int]] = set()
    folders = [str(top)]
    while folders:
        folder = folders.pop()
        # A folder outside `below` was yielded, so that the caller refuses it; it is not listed.
        if not os.path.isdir(folder) or not is_below(folder, below):  # noqa: PTH112
            continue
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.path
                if entry.is_dir(follow_symlinks=False) or entry.is_symlink():
                    folders.append(entry.path)


def _first_outside(paths: Iterable[str], below: Path) -> str | None:
    """Return the first path that lies outside `below`, links resolved; None without one."""
    here = os.path.realpath(below)
    inside: dict[str, bool] = {}
    for path in paths:
        folder = os.path.dirname(path)  # noqa: PTH120 (a million times)
        if folder not in inside:
            inside[folder] = is_below(folder or ".", here)
        # A file lies where its folder does, unless it is a link.
        if not inside[folder] or (os.path.islink(path) and not is_below(path, here)):  # noqa: PTH114
            return path
    return None
