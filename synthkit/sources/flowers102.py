"""Oxford 102 Flowers as distributed (Nilsback and Zisserman 2008)."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import MissingSource, SourceError, one_line
from synthkit.sources.base import Listing
from synthkit.sources.files import ImageFiles, check_regular, expanded, folder_at, get_it

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.recipe.families import Flowers102SourceConfig

LABELS, SPLITS, IMAGES = "imagelabels.mat", "setid.mat", "jpg"
_SPLIT_KEYS = {"train": "trnid", "valid": "valid", "test": "tstid"}


def open_flowers102(config: Flowers102SourceConfig) -> ImageFiles:
    """Open the 8,189 flowers or a part of setid.mat; ids are `jpg/image_00001.jpg`, labels count from 0.

    Raises SourceError if a file is missing or is not the one that is distributed.
    """
    root = folder_at(
        config.root, "source.root", f"the folder that holds {IMAGES}/ and {LABELS}", config.available_from
    )
    names = class_names()
    labels = _numbers(root, LABELS, "labels", config.available_from)
    if len(labels) == 0 or labels.min() < 1 or labels.max() > len(names):
        raise SourceError(
            f"{root / LABELS}: labels go from {labels.min(initial=0)} to {labels.max(initial=0)}, "
            f"not from 1 to {len(names)}: this is another version of the file{get_it(config.available_from)}"
        )
    images = np.arange(1, len(labels) + 1)
    if config.split != "all":
        images = np.sort(_numbers(root, SPLITS, _SPLIT_KEYS[config.split], config.available_from))
        if len(images) and (images.min() < 1 or images.max() > len(labels)):
            raise SourceError(f"{root / SPLITS}: names images that {LABELS} has no label for")
        if len(np.unique(images)) < len(images):
            raise SourceError(f"{root / SPLITS}: names an image twice: this is another version of the file")
    ids = tuple(f"{IMAGES}/image_{number:05d}.jpg" for number in images.tolist())
    return ImageFiles(Listing(names, ids, (labels[images - 1] - 1).astype(np.int32)), root, ids)


def paths_read(config: Flowers102SourceConfig) -> list[Path]:
    """Return the folder of images and the two files beside it."""
    return [expanded(config.root) / name for name in (LABELS, SPLITS, IMAGES)]


def class_names() -> tuple[str, ...]:
    """Return the 102 names in the order of the labels."""
    text = (files("synthkit.sources") / "flowers102_names.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def _numbers(root: Path, name: str, key: str, available_from: str) -> NDArray[np.int64]:
    from scipy.io import loadmat

    path = root / name
    check_regular(path)
    try:
        with path.open("rb") as stream:
            values: Any = loadmat(stream)[key]
        with np.errstate(invalid="ignore"):
            return np.asarray(values).ravel().astype(np.int64)
    except FileNotFoundError:
        raise MissingSource(f"source.root: there is no {path}{get_it(available_from)}") from None
    except KeyError:
        raise SourceError(f"{path}: has no {key!r}: this is another version of the file") from None
    except Exception as error:
        # scipy's reader raises errors of many types for damaged files.
        raise SourceError(f"{path}: is not the file that is distributed: {one_line(error)}") from None
