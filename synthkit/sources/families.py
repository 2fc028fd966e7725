"""The table of families: which module reads the images of which kind of source."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.recipe.families import SourceConfig
    from synthkit.sources.base import Source

# By the kind in a recipe, "module:function". The function opens a source by its config. Beside it the module
# has `paths_read(config)`: the files and folders that opening looks into before a list names any image.
# A module is imported when a source of its family is used.
FAMILIES = {
    "digits": "synthkit.sources.digits:open_digits",
    "folder": "synthkit.sources.folder:open_folder",
    "listing": "synthkit.sources.listing:open_listing",
    "flowers102": "synthkit.sources.flowers102:open_flowers102",
    "coco": "synthkit.sources.coco:open_coco",
    "voc": "synthkit.sources.voc:open_voc",
    "hub": "synthkit.sources.hub:open_hub",
}


def open_whole(config: SourceConfig) -> Source:
    """Open every image of a source, before the recipe selects some. Raises SourceError."""
    module, function = _of_kind(config.kind)
    source: Source = getattr(module, function)(config)
    return source


def paths_read(config: SourceConfig) -> list[Path]:
    """Return the files and folders that opening a source looks into; no file is opened."""
    module, _ = _of_kind(config.kind)
    paths: list[Path] = module.paths_read(config)
    return paths


def _of_kind(kind: str) -> tuple[Any, str]:
    """Return the module of a family and the name of the function that opens it."""
    module, _, function = FAMILIES[kind].partition(":")
    return import_module(module), function
