"""Any data set that `datasets.load_dataset` opens, on the Hub or on this machine, as a source."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import UnreadableImage
from synthkit.sources.base import Listing
from synthkit.sources.decoding import decode
from synthkit.sources.files import ImageFiles
from synthkit.sources.hub_columns import check_columns, labels_of, undecoded
from synthkit.sources.hub_files import left_out_of, listed_files, load
from synthkit.system.known_hashes import state_of

if TYPE_CHECKING:
    from PIL import Image

    from synthkit.recipe.families import HubSourceConfig


class HubSource:
    """The rows of a split; ids are the split and the row's number, `train/0000012`. Raises SourceError."""

    def __init__(self, config: HubSourceConfig) -> None:
        dataset = load(config)
        check_columns(dataset, config)
        classes, labels = labels_of(dataset, config)
        ids = tuple(f"{config.split}/{row:07d}" for row in range(len(labels)))
        self.listing = Listing(classes, ids, labels)
        self.notes = left_out_of(dataset, config)
        self._config = config
        self._rows = undecoded(dataset, config)
        self._state = _state(self._rows)
        self._roots = _roots(config)

    def stamp(self, index: int) -> str:
        """Return the state of the data set's files and the row, or that of the image's own file."""
        cell = self._cell(index)
        if cell.get("bytes") is None and cell.get("path"):
            return self._file(index, cell["path"]).stamp(0)
        return f"{self._state}|{index}"

    def read(self, index: int) -> bytes:
        """Return the content of the image, which the data set holds or names. Raises UnreadableImage."""
        cell = self._cell(index)
        if cell.get("bytes") is not None:
            return bytes(cell["bytes"])
        if cell.get("path"):
            return self._file(index, cell["path"]).read(0)
        raise UnreadableImage(self.listing.ids[index], "the row holds no image")

    def decode(self, index: int, content: bytes) -> Image.Image:
        """Return the RGB image. Raises UnreadableImage."""
        return decode(content, self.listing.ids[index])

    def _cell(self, index: int) -> dict[str, Any]:
        cell = self._rows[index]["image"]
        return cell if isinstance(cell, dict) else {"bytes": cell, "path": None}

    def _file(self, index: int, path: str) -> ImageFiles:
        """Return the file that a row names. Raises UnreadableImage for one outside the data set.

        Links out of the data set are refused, too, except those that `datasets` found by listing a folder:
        the caches of DVC and of the Hub consist of links.
        """
        inside = any(Path(path).resolve().is_relative_to(root) for root in self._roots)
        if not inside and path not in self._listed:
            by_link = " by a link; put a copy in its place" if Path(path).is_symlink() else ""
            reason = f"the row names a file outside the data set{by_link}"
            raise UnreadableImage(self.listing.ids[index], reason)
        return ImageFiles(self.listing, Path(), (path,))

    @cached_property
    def _listed(self) -> frozenset[str]:
        return listed_files(self._config)


def open_hub(config: HubSourceConfig) -> HubSource:
    """Open a split of a data set, on the Hub or on this machine. Raises SourceError."""
    return HubSource(config)


def paths_read(config: HubSourceConfig) -> list[Path]:
    """Return the local file or folder that `id` names, if it names one."""
    return [config.path]


def _state(dataset: Any) -> str:
    """Return a text that changes when the data set's files do.

    The fingerprint of `datasets` alone says how they were made, not what is in them.
    """
    files = [Path(item["filename"]) for item in dataset.cache_files]
    states = [f"{path}|{state_of(path.stat())}" for path in files]
    return hashlib.sha256("\n".join([dataset._fingerprint, *states]).encode()).hexdigest()


def _roots(config: HubSourceConfig) -> list[Path]:
    import datasets
    from huggingface_hub import constants

    local = config.path
    places = [local] if local.is_dir() else []
    places += [Path(datasets.config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE)]
    return [place.resolve() for place in places]
