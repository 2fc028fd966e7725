"""Whatever `datasets.load_dataset` opens, on the Hub or on this machine, with its columns by name."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import HubError, SourceError, UnreadableImage
from synthkit.hub_client import prepare_client
from synthkit.records import Listing
from synthkit.sources.decoding import decode
from synthkit.sources.files import ImageFiles, expanded, get_it, state_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.source_config import HubSourceConfig

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}


class HubSource:
    """Rows of a data set; ids are `train/0000012`: the split and the row."""

    def __init__(self, config: HubSourceConfig) -> None:
        dataset = _load(config)
        for field in ("image", "label"):
            _check_column(dataset, config, field)
        classes, labels = _labels(dataset, config)
        ids = tuple(f"{config.split}/{row:07d}" for row in range(len(labels)))
        self.listing = Listing(classes, ids, labels)
        self._rows = _undecoded(dataset, config)
        self._state = _state(self._rows)
        self._roots = _roots(config)

    def stamp(self, index: int) -> str:
        """The state of the data set's files and the row; for an image kept as a file, that file's."""
        cell = self._cell(index)
        if cell["bytes"] is None and cell["path"]:
            return self._file(index, cell["path"]).stamp(0)
        return f"{self._state}|{index}"

    def read(self, index: int) -> bytes:
        """The image's file, as the data set holds it."""
        cell = self._cell(index)
        if cell["bytes"] is not None:
            return bytes(cell["bytes"])
        if cell["path"]:
            return self._file(index, cell["path"]).read(0)
        raise UnreadableImage(self.listing.ids[index], "the row holds no image")

    def decode(self, index: int, content: bytes) -> Image.Image:
        """The image, RGB."""
        return decode(content, self.listing.ids[index])

    def _cell(self, index: int) -> dict[str, Any]:
        cell = self._rows[index]["image"]
        return cell if isinstance(cell, dict) else {"bytes": cell, "path": None}

    def _file(self, index: int, path: str) -> ImageFiles:
        """A file that a row names; rows name none but the data set's own."""
        if not any(Path(path).resolve().is_relative_to(root) for root in self._roots):
            raise UnreadableImage(self.listing.ids[index], "the row names a file outside the data set")
        return ImageFiles(self.listing, Path(), (path,))


def _state(dataset: Any) -> str:
    """What changes when the data set's files do; a fingerprint says only how they were made."""
    files = [Path(item["filename"]) for item in dataset.cache_files]
    states = [f"{path}|{state_of(path.stat())}" for path in files]
    return hashlib.sha256("\n".join([dataset._fingerprint, *states]).encode()).hexdigest()


def _roots(config: HubSourceConfig) -> list[Path]:
    import datasets
    from huggingface_hub import constants

    local = expanded(config.id)
    places = [local] if local.is_dir() else []
    places += [Path(datasets.config.HF_DATASETS_CACHE), Path(constants.HF_HUB_CACHE)]
    return [place.resolve() for place in places]


def _load(config: HubSourceConfig) -> Any:
    local = expanded(config.id)
    if not local.exists():
        _ready_client(config)
    import datasets

    _quieten()
    try:
        if local.exists():
            return _load_local(local, config)
        return datasets.load_dataset(config.id, config.config, split=config.split, revision=config.revision)
    except SourceError:
        raise
    except Exception as error:
        # The loader, its builders and the Hub's client fail in ways of their own; the cause is kept.
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise SourceError(f"source.id: {config.id}: {reason}{_advice(reason, config)}") from error


def _ready_client(config: HubSourceConfig) -> None:
    """The client that `datasets` asks the Hub with; its answers are checked, too."""
    try:
        prepare_client()
    except HubError as error:
        raise SourceError(f"source.id: {config.id}: {error}") from None


def _quieten() -> None:
    """Libraries' warnings off, for what matters is in the error; bars only where someone looks."""
    import datasets
    import huggingface_hub

    datasets.logging.set_verbosity(logging.CRITICAL)
    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()


def _advice(reason: str, config: HubSourceConfig) -> str:
    if "gated" in reason or "authenticat" in reason:
        return "; accept its terms on the Hub and log in with `hf auth login`"
    if "reach" in reason or "offline" in reason.lower():
        return "; go online once, or point source.id at a local copy"
    return get_it(config.available_from)


def _load_local(path: Path, config: HubSourceConfig) -> Any:
    import datasets

    if path.is_file():
        builder = _BUILDERS.get(path.suffix)
        if builder is None:
            raise SourceError(f"source.id: {path} is neither a .parquet nor an .arrow file")
        return datasets.load_dataset(builder, data_files={config.split: str(path)}, split=config.split)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _from_disk(path, config)
    return datasets.load_dataset(str(path), config.config, split=config.split)


def _from_disk(path: Path, config: HubSourceConfig) -> Any:
    import datasets

    found = datasets.load_from_disk(str(path))
    if not isinstance(found, datasets.DatasetDict):
        return found
    if config.split not in found:
        raise SourceError(f"source.split: {path} has no split {config.split}; it has {', '.join(found)}")
    return found[config.split]


def _check_column(dataset: Any, config: HubSourceConfig, field: str) -> None:
    column = getattr(config, field)
    if column not in dataset.column_names:
        raise SourceError(
            f"source.{field}: {config.id} has no column {column!r}; it has {', '.join(dataset.column_names)}"
        )


def _undecoded(dataset: Any, config: HubSourceConfig) -> Any:
    """The images' column alone, called `image`, as the bytes or the path that the data set holds."""
    import datasets

    kind = dataset.features[config.image]
    only = dataset.select_columns([config.image])
    if config.image != "image":
        only = only.rename_column(config.image, "image")
    if isinstance(kind, datasets.Image):
        return only.cast_column("image", datasets.Image(decode=False))
    if getattr(kind, "dtype", None) in ("binary", "large_binary"):
        return only
    images = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.Image)]
    known = f"; columns of images: {', '.join(images)}" if images else ""
    raise SourceError(
        f"source.image: column {config.image!r} of {config.id} holds no images but {kind}{known}"
    )


def _labels(dataset: Any, config: HubSourceConfig) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Class names and (N,) int32 labels: those of a ClassLabel, else the column's values in order."""
    import datasets
    from pyarrow import types

    where = f"source.label: column {config.label!r} of {config.id}"
    column = dataset.select_columns([config.label]).with_format("arrow")[:].column(0)
    if not (
        types.is_integer(column.type) or types.is_string(column.type) or types.is_large_string(column.type)
    ):
        raise SourceError(f"{where} holds neither whole numbers nor names but {column.type}")
    if column.null_count:
        raise SourceError(f"{where} has {column.null_count:,} rows without a label; leave those rows out")
    kind = dataset.features[config.label]
    if isinstance(kind, datasets.ClassLabel) and kind.names:
        labels = column.to_numpy().astype(np.int32)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(kind.names):
            raise SourceError(
                f"{where} has labels from {labels.min()} to {labels.max()}; is this split labelled?"
            )
        return tuple(kind.names), labels
    values, labels = np.unique(column.to_numpy(zero_copy_only=False), return_inverse=True)
    return tuple(str(value) for value in values), labels.astype(np.int32)
