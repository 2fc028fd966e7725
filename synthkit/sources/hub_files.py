"""Data sets opened by `datasets`, on the Hub or on this machine; its errors in one line, with what to do."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from synthkit.errors import HubError, MissingSource, SourceError, one_line
from synthkit.hub.client import prepare_client
from synthkit.sources.data_files import check_saved, from_folder, from_the_hub
from synthkit.sources.files import get_it
from synthkit.sources.left_out import LeftOut, has_image_ending, is_hidden

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.recipe.families import HubSourceConfig

_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
_IMAGE_FOLDER = "imagefolder"


def load(config: HubSourceConfig) -> Any:
    """Return the split of a data set that a recipe names, as an object of `datasets`. Raises SourceError."""
    if config.is_path and not config.is_here:
        raise MissingSource(
            f"source.id: there is no file or folder {config.id}{get_it(config.available_from)}"
        )
    if not config.is_here:
        _ready_client(config)
    _quieten()
    try:
        return _load_local(config.path, config) if config.is_here else from_the_hub(config)
    except SourceError:
        raise
    except Exception as error:
        # `datasets`, its readers and the Hub's client raise errors of many types; the cause is kept.
        reason = _reason(error)
        package = _missing_package(error, reason)
        advice = f"; pip install {package}" if package else _advice(reason, config)
        told = f"source.id: {config.id}: cannot be opened{advice}" if advice else None
        raise SourceError(f"source.id: {config.id}: {reason}{advice}", told=told) from error


def _ready_client(config: HubSourceConfig) -> None:
    """Prepare the Hub's client, which `datasets` uses as well, so that answers to it are checked, too."""
    try:
        prepare_client()
    except HubError as error:
        raise MissingSource(f"source.id: {config.id}: {error}") from None


def _quieten() -> None:
    """Switch off the libraries' warnings (errors say what matters), and their bars unless on a terminal."""
    import datasets
    import huggingface_hub

    datasets.logging.set_verbosity(logging.CRITICAL)
    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()


def _missing_package(error: Exception, reason: str) -> str | None:
    """Return the package that a file's format needs, where `datasets` reads it only if that is installed."""
    if "Compression type zstd" in reason:
        return "zstandard"
    module = error.name if isinstance(error, ModuleNotFoundError) else None
    return "pylance" if module == "lance" else module


def _advice(reason: str, config: HubSourceConfig) -> str:
    if "gated" in reason or "authenticat" in reason:
        return "; accept its terms on the Hub and log in with `hf auth login`"
    if "reach" in reason or "offline" in reason.lower():
        return "; go online once, or point source.id at a local copy"
    return get_it(config.available_from)


def _load_local(path: Path, config: HubSourceConfig) -> Any:
    import datasets

    if path.is_file():
        builder = _BUILDERS.get(path.suffix.lower())
        if builder is None:
            raise SourceError(f"source.id: {path} is neither a .parquet nor an .arrow file")
        return datasets.load_dataset(builder, data_files={config.split: str(path)}, split=config.split)
    if _is_saved(path):
        return _from_disk(path, config)
    return from_folder(path, config)


def _is_saved(path: Path) -> bool:
    """Return whether `save_to_disk` wrote a folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _from_disk(path: Path, config: HubSourceConfig) -> Any:
    import datasets

    check_saved(path, config)
    found = datasets.load_from_disk(str(path))
    if not isinstance(found, datasets.DatasetDict):
        return found
    if config.split not in found:
        raise SourceError(f"source.split: {path} has no split {config.split}; it has {', '.join(found)}")
    return found[config.split]


def listed_files(config: HubSourceConfig) -> frozenset[str]:
    """Return the images that `datasets` found by listing a folder of this machine.

    The set is empty if a file of the data set names the images (metadata.csv, Parquet): that file may name
    any file of this machine.
    """
    import datasets

    local = config.path
    if not local.is_dir() or _is_saved(local):
        return frozenset()
    builder = datasets.load_dataset_builder(str(local), config.config)
    if builder.name != _IMAGE_FOLDER:
        return frozenset()
    files = {str(file) for some in builder.config.data_files.values() for file in some}
    named = any(os.path.basename(file) in builder.METADATA_FILENAMES for file in files)  # noqa: PTH119
    return frozenset() if named else frozenset(files)


def left_out_of(dataset: Any, config: HubSourceConfig) -> tuple[str, ...]:
    """Return notes of the pictures in a local folder of images that `datasets` does not take."""
    local = config.path
    if dataset.info.builder_name != _IMAGE_FOLDER or not local.is_dir():
        return ()
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    left_out = LeftOut()
    for folder, names, files in os.walk(local, followlinks=False):
        names[:] = [name for name in names if not is_hidden(name)]
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118
            ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
            # `datasets` opens archives itself.
            if not is_hidden(name) and ending not in {*ImageFolder.EXTENSIONS, ".zip"}:
                left_out.look_at(path, known=has_image_ending(name))
    return tuple(left_out.told())


def _reason(error: BaseException) -> str:
    """Return what went wrong, and in which file: `datasets` wraps the error in one that says neither."""
    while type(error).__name__.startswith("DatasetGeneration") and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    reason = one_line(error, longest=300).rstrip(".")
    if reason.startswith("Couldn't cast"):
        reason = f"its files differ in columns or types: {reason}"
    file = _file_being_read(error)
    return f"{file}: {reason}" if file and file not in reason else reason


def _file_being_read(error: BaseException) -> str | None:
    """Return the data file at which a reader of `datasets` failed: its local variable holds it."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "packaged_modules" in frame.f_code.co_filename:
            file = frame.f_locals.get("file")
            found = str(file) if isinstance(file, (str, os.PathLike)) else found
    return found
