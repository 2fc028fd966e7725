"""A list file with `path label` on each line, as long-tailed benchmarks are distributed (Liu et al. 2019)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.errors import SourceError
from synthkit.records import Listing
from synthkit.source_config import IMAGENET
from synthkit.sources.files import ImageFiles, check_inside, expanded, get_it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.source_config import ListingSourceConfig


def open_listing(config: ListingSourceConfig) -> ImageFiles:
    """The images of a list, in its order; ids are its paths. No image needs to be there yet.

    A root that lacks the folder in which all paths of the list begin (`train/`) is that folder.
    Raises SourceError naming the lines that are wrong.
    """
    names = _names(config)
    text = _text(config.list, "source.list", config.available_from)
    entries = _parse(text, config.list, len(names))
    root = expanded(config.root)
    ids = tuple(entry.path for entry in entries)
    labels = np.array([entry.label for entry in entries], dtype=np.int32)
    return ImageFiles(Listing(names, ids, labels), root, _below(root, ids))


def imagenet_names() -> tuple[str, ...]:
    """The 1000 ImageNet classes, all synonyms of each ("tench, Tinca tinca"), from timm's metadata.

    timm itself is not imported: that takes seconds, and a plan should not.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "source.names: timm, which has ImageNet's names, is not installed: pip install timm"
        )
    info = Path(spec.submodule_search_locations[0]) / "data" / "_info"
    lemmas = dict(
        line.split("\t", 1)
        for line in (info / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    )
    synsets = (info / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return tuple(lemmas[synset] for synset in synsets)


class _Entry(NamedTuple):
    path: str
    label: int


def _names(config: ListingSourceConfig) -> tuple[str, ...]:
    if not isinstance(config.names, str):
        return tuple(config.names)
    if config.names == IMAGENET:
        return imagenet_names()
    lines = _text(config.names, "source.names").splitlines()
    names = tuple(line.strip() for line in lines)
    if not all(names):
        number = names.index("") + 1
        raise SourceError(f"{config.names}: line {number}: is empty; every line is a class's name")
    return names


def _text(path: str, field: str, available_from: str = "") -> str:
    try:
        return expanded(path).read_text(encoding="utf-8-sig").rstrip()
    except FileNotFoundError:
        raise SourceError(f"{field}: there is no file {path}{get_it(available_from)}") from None
    except UnicodeDecodeError:
        raise SourceError(f"{field}: {path} is not a text file in UTF-8") from None
    except OSError as error:
        raise SourceError(f"{field}: {path} cannot be read: {error.strerror}") from None


def _parse(text: str, file: str, classes: int) -> list[_Entry]:
    entries: list[_Entry] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        entry = _entry(line, f"{file}: line {number}", classes)
        if entry.path in line_of:
            raise SourceError(
                f"{file}: line {number}: repeats line {line_of[entry.path]}: {entry.path}; keep one of them"
            )
        line_of[entry.path] = number
        entries.append(entry)
    if not entries:
        raise SourceError(f"{file}: is empty; expected `path label` on each line")
    return entries


def _entry(line: str, where: str, classes: int) -> _Entry:
    parts = line.rsplit(maxsplit=1)
    if len(parts) != 2:
        raise SourceError(f"{where}: {line.strip()[:80]!r} is not `path label`")
    path, label = parts[0].strip(), parts[1]
    if not re.fullmatch(r"-?[0-9]{1,9}", label):
        raise SourceError(f"{where}: the label {label[:80]!r} is not a whole number")
    if not 0 <= int(label) < classes:
        raise SourceError(
            f"{where}: there is no label {label}: source.names has {classes} classes, 0 to {classes - 1}"
        )
    return _Entry(check_inside(path, where), int(label))


def _below(root: Path, ids: Sequence[str]) -> Sequence[str]:
    """The paths below a root that may be the very folder that all ids begin with."""
    level = ids[0].partition("/")[0]
    common = all(path.startswith(f"{level}/") for path in ids)
    if not common or (root / level).is_dir() or not root.is_dir():
        return ids
    return tuple(path[len(level) + 1 :] for path in ids)
