"""A folder of images with one sub-folder per class: the layout of torchvision's ImageFolder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from synthkit.errors import SourceError
from synthkit.records import Listing
from synthkit.sources.decoding import EXTENSIONS
from synthkit.sources.files import ImageFiles, check_inside, folder_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.source_config import FolderSourceConfig


def open_folder(config: FolderSourceConfig) -> ImageFiles:
    """Classes are the sub-folders in alphabetical order; ids are paths below the root, with `/`.

    Images may lie at any depth of a class folder. A deeper folder is a class of its own where
    `classes` names it (`birds/owl`). Whatever is hidden or no image is passed over.
    """
    root = folder_at(config.root, "source.root", "the folder of class folders", config.available_from)
    try:
        top = sorted(item.name for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError as error:
        _cannot_list(error)
    if not top:
        raise SourceError(
            f"source.root: {config.root} has no class folders; expected {config.root}/CLASS/IMAGE.jpg"
        )
    deeper = {name for name in config.classes or () if "/" in name}
    images = sorted((_class_of(path, deeper), path) for name in top for path in _images_in(root, name))
    owners = {owner for owner, _ in images}
    # A folder that holds nothing but classes is none itself.
    emptied = {name for name in top if name not in owners and any(d.startswith(f"{name}/") for d in owners)}
    classes = sorted((set(top) | owners) - emptied)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[owner] for owner, _ in images], dtype=np.int32)
    ids = tuple(path for _, path in images)
    return ImageFiles(Listing(tuple(classes), ids, labels), root, ids)


def _class_of(path: str, deeper: set[str]) -> str:
    parts = path.split("/")
    prefixes = ("/".join(parts[:count]) for count in range(len(parts) - 1, 1, -1))
    return next((prefix for prefix in prefixes if prefix in deeper), parts[0])


def _images_in(root: Path, class_folder: str) -> Iterator[str]:
    """The images at any depth of a class folder, relative to the root; links are followed once."""
    seen: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root / class_folder, followlinks=True, onerror=_cannot_list):
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in files:
            if not name.startswith(".") and name[name.rfind(".") :].lower() in EXTENSIONS:
                yield check_inside(f"{relative}/{name}", "source.root")


def _cannot_list(error: OSError) -> NoReturn:
    raise SourceError(f"source.root: {error.filename}: cannot be listed: {error.strerror}") from None
