"""Whatever `datasets.load_dataset` opens, on the Hub or on this machine, with its columns by name."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import UnreadableImage
from synthkit.sources.base import Listing
from synthkit.sources.decoding import decode
from synthkit.sources.files import ImageFiles, state_of
from synthkit.sources.hub_columns import check_columns, labels_of, undecoded
from synthkit.sources.hub_files import left_out_of, listed_files, load

if TYPE_CHECKING:
    from PIL import Image

    from synthkit.recipe.families import HubSourceConfig


class HubSource:
    """Rows of a data set; ids are `train/0000012`: the split and the row."""

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
        """The state of the data set's files and the row; for an image kept as a file, that file's."""
        cell = self._cell(index)
        if cell.get("bytes") is None and cell.get("path"):
            return self._file(index, cell["path"]).stamp(0)
        return f"{self._state}|{index}"

    def read(self, index: int) -> bytes:
        """The image's file, as the data set holds it."""
        cell = self._cell(index)
        if cell.get("bytes") is not None:
            return bytes(cell["bytes"])
        if cell.get("path"):
            return self._file(index, cell["path"]).read(0)
        raise UnreadableImage(self.listing.ids[index], "the row holds no image")

    def decode(self, index: int, content: bytes) -> Image.Image:
        """The image, RGB."""
        return decode(content, self.listing.ids[index])

    def _cell(self, index: int) -> dict[str, Any]:
        cell = self._rows[index]["image"]
        return cell if isinstance(cell, dict) else {"bytes": cell, "path": None}

    def _file(self, index: int, path: str) -> ImageFiles:
        """A file that a row names; rows name none but the data set's own, nor links that lead out of it.

        Links that `datasets` found itself, listing a folder (DVC's and the Hub's caches make such), are
        followed, as those of a `folder` are.
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
    """What changes when the data set's files do; a fingerprint says only how they were made."""
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
