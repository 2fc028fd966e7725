"""Data sets opened by `datasets`, with a check that the files they name are their own.

A data set's card, or a file that `save_to_disk` wrote, could otherwise have any file of this machine read.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import SourceError
from synthkit.hub.patience import asked_once
from synthkit.sources.files import check_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.recipe.families import HubSourceConfig

# The files in which `datasets` looks for the names of a data set's files.
_CARDS = ("README.md", ".huggingface.yaml")


def from_the_hub(config: HubSourceConfig) -> Any:
    """Return the split of a data set on the Hub, or in the cache of `datasets`.

    Raises SourceError if the data set names foreign files; `datasets` raises errors of its own.
    """
    import datasets

    with asked_once() as reachable:
        for name in _CARDS:
            _check_card(_of_the_hub(config, name, reachable=reachable), config)
        builder = datasets.load_dataset_builder(config.id, config.config, revision=config.revision)
        return _prepared(builder, config, f"hf://datasets/{config.id}@")


def from_folder(folder: Path, config: HubSourceConfig) -> Any:
    """Return the split of a folder of data files. Raises SourceError if its card names foreign files."""
    import datasets

    for name in _CARDS:
        _check_card(folder / name, config)
    builder = datasets.load_dataset_builder(str(folder), config.config)
    return _prepared(builder, config, f"{os.path.abspath(folder)}{os.sep}")  # noqa: PTH100 (links stay links)


def check_saved(folder: Path, config: HubSourceConfig) -> None:
    """Raise SourceError if a folder that `save_to_disk` wrote names files that are not in it."""
    parts = [_beside(part, config) for part in _stated(folder / "dataset_dict.json", "splits")]
    for place in [folder / part for part in parts] or [folder]:
        for file in _stated(place / "state.json", "_data_files"):
            check_regular(place / _beside(file["filename"], config))


def _prepared(builder: Any, config: HubSourceConfig, own: str) -> Any:
    """Return the split after a check of the files that the card's patterns matched; opens none before."""
    for files in (builder.config.data_files or {}).values():
        for file in files:
            # A file in an archive is `zip://INSIDE::ARCHIVE`.
            place = str(file).split("::")[-1]
            if not place.startswith(own) or ".." in place.split("/"):
                raise _foreign(place, config)
    builder.download_and_prepare()
    return builder.as_dataset(split=config.split)


def _of_the_hub(config: HubSourceConfig, name: str, *, reachable: bool) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    # Any other fault meets the loader, too, which reports it.
    with suppress(EntryNotFoundError, HfHubHTTPError):
        return Path(
            hf_hub_download(
                config.id,
                name,
                repo_type="dataset",
                revision=config.revision,
                local_files_only=not reachable,
            )
        )
    return None


def _check_card(card: Path | None, config: HubSourceConfig) -> None:
    """Raise SourceError if a card names data files by more than a pattern below the data set."""
    import yaml
    from huggingface_hub import DatasetCard

    if card is None or not card.is_file():
        return
    if card.suffix == ".md":
        facts = DatasetCard.load(card, ignore_metadata_errors=True).data.to_dict()
    else:
        facts = yaml.safe_load(card.read_text(encoding="utf-8")) or {}
    for section in facts.get("configs") or ():
        for pattern in _texts([section.get(key) for key in ("data_files", "data_dir")]):
            is_below = not pattern.startswith(("/", "~")) and ".." not in pattern.split("/")
            if not is_below or ":" in pattern or "\\" in pattern:
                raise _foreign(pattern, config)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _stated(path: Path, key: str) -> list[Any]:
    return list(json.loads(path.read_text(encoding="utf-8"))[key]) if path.is_file() else []


def _beside(name: str, config: HubSourceConfig) -> str:
    if Path(name).name != name:
        raise _foreign(name, config)
    return name


def _foreign(name: str, config: HubSourceConfig) -> SourceError:
    told = f"source.id: {config.id}: names files that are not the data set's own"
    return SourceError(f"{told}: {name[:80]!r}", told=told)
