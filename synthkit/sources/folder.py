"""A folder of images with one sub-folder per class: the layout of torchvision's ImageFolder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from synthkit.errors import MissingSource, SourceError
from synthkit.sources.base import Listing
from synthkit.sources.files import ImageFiles, check_inside, expanded, folder_at
from synthkit.sources.layout import doubts
from synthkit.sources.left_out import LeftOut, has_image_ending, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.recipe.families import FolderSourceConfig


def open_folder(config: FolderSourceConfig) -> ImageFiles:
    """Open a folder: classes are its sub-folders in alphabetical order, ids are paths below it, with `/`.

    Images may lie at any depth of a class folder. A deeper folder is a class of its own if `classes` names
    it (`birds/owl`). Hidden files and files that are not images are left out. The notes tell of pictures in
    formats that are not read, and of a root that seems to be one level too high or too low. Raises
    SourceError if there are no classes or no images.
    """
    root = folder_at(config.root, "source.root", "the folder of class folders", config.available_from)
    top, beside = _top(root)
    if not top:
        raise MissingSource(_no_classes(config.root, beside))
    deeper = {name for name in config.classes or () if "/" in name}
    left_out = LeftOut()
    images = sorted(
        (_class_of(path, deeper), path)
        for name in top
        for path in _images_in(root, name, left_out if _is_wanted(name, config.classes) else None)
    )
    owners = {owner for owner, _ in images}
    # A folder in which every image belongs to a deeper class is no class itself.
    emptied = {name for name in top if name not in owners and any(d.startswith(f"{name}/") for d in owners)}
    classes = sorted((set(top) | owners) - emptied)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[owner] for owner, _ in images], dtype=np.int32)
    ids = tuple(path for _, path in images)
    # A user who names classes has looked at the folders.
    doubtful = [] if config.classes else doubts(config.root, classes, ids)
    notes = [*_told_beside(beside), *left_out.told(), *doubtful]
    return ImageFiles(Listing(tuple(classes), ids, labels), root, ids, tuple(notes))


def paths_read(config: FolderSourceConfig) -> list[Path]:
    """Return the root, below which every file may be an image."""
    return [expanded(config.root)]


def _top(root: Path) -> tuple[list[str], int]:
    """Return the names of the class folders, sorted, and the number of images beside them."""
    try:
        items = [item for item in root.iterdir() if not is_hidden(item.name)]
        folders = sorted(item.name for item in items if item.is_dir())
    except OSError as error:
        _cannot_list(error)
    return folders, sum(has_image_ending(item.name) and item.is_file() for item in items)


def _no_classes(root: str, images: int) -> str:
    told = f"source.root: {root} has no class folders; expected {root}/CLASS/IMAGE.jpg"
    if not images:
        return told
    above = os.path.dirname(os.path.normpath(root)) or ".."  # noqa: PTH120
    many = "1 image" if images == 1 else f"{images:,} images"
    return f"{told}. It holds {many} itself: if it is one class's folder, set source.root to {above}"


def _told_beside(images: int) -> list[str]:
    if not images:
        return []
    many = "1 image lies" if images == 1 else f"{images:,} images lie"
    return [f"{many} beside the class folders, and belongs to no class: move what should be used into one"]


def _is_wanted(name: str, classes: Sequence[str] | dict[str, str | None] | None) -> bool:
    """Return whether `classes` uses a class folder or a folder in it."""
    if classes is None:
        return True
    if isinstance(classes, dict):
        return classes.get(name, name) is not None
    return any(wanted == name or wanted.startswith(f"{name}/") for wanted in classes)


def _class_of(path: str, deeper: set[str]) -> str:
    parts = path.split("/")
    prefixes = ("/".join(parts[:count]) for count in range(len(parts) - 1, 1, -1))
    return next((prefix for prefix in prefixes if prefix in deeper), parts[0])


def _images_in(root: Path, class_folder: str, left_out: LeftOut | None) -> Iterator[str]:
    """Yield the images at any depth of a class folder, relative to the root; each folder is read once.

    Links are followed. Other pictures are counted in `left_out`.
    """
    seen: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root / class_folder, followlinks=True, onerror=_cannot_list):
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not is_hidden(name))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in files:
            if is_hidden(name):
                continue
            if has_image_ending(name):
                yield check_inside(f"{relative}/{name}", "source.root")
            elif left_out is not None:
                left_out.look_at(os.path.join(folder, name))  # noqa: PTH118


def _cannot_list(error: OSError) -> NoReturn:
    raise SourceError(f"source.root: {error.filename}: cannot be listed: {error.strerror}") from None
