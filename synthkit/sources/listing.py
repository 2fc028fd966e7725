"""A list file with `path label` on each line, as long-tailed benchmarks are distributed (Liu et al. 2019)."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.errors import MissingSource, SourceError
from synthkit.recipe.families import IMAGENET
from synthkit.sources.base import Listing
from synthkit.sources.files import ImageFiles, check_listed, expanded, get_it
from synthkit.system.names import same_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.recipe.families import ListingSourceConfig


def open_listing(config: ListingSourceConfig) -> ImageFiles:
    """Open the images of a list, in its order; ids are its paths. The images need not be there yet.

    If all paths begin with one folder (`train/`) that the root does not have, the root is taken for that
    folder. Raises SourceError with the line that is wrong.
    """
    names = _names(config)
    text = _text(config.list, "source.list", config.available_from)
    entries = _parse(text, config.list, len(names))
    root = expanded(config.root)
    ids = tuple(entry.path for entry in entries)
    labels = np.array([entry.label for entry in entries], dtype=np.int32)
    return ImageFiles(Listing(names, ids, labels), root, _below(root, ids))


def paths_read(config: ListingSourceConfig) -> list[Path]:
    """Return nothing: what a list names is known when it is open, and checked image by image."""
    return []


def imagenet_names() -> tuple[str, ...]:
    """Return the 1000 ImageNet classes with all synonyms ("tench, Tinca tinca"), from timm's metadata.

    timm itself is not imported, because that takes seconds. Raises SourceError if it is not installed.
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
    names = tuple(line.strip() for line in _lines(_text(config.names, "source.names")))
    if not all(names):
        number = names.index("") + 1
        raise MissingSource(f"{config.names}: line {number}: is empty; every line is a class's name")
    return names


def _text(path: str, field: str, available_from: str = "") -> str:
    try:
        return expanded(path).read_text(encoding="utf-8-sig").rstrip()
    except FileNotFoundError:
        raise MissingSource(f"{field}: there is no file {path}{get_it(available_from)}") from None
    except UnicodeDecodeError:
        raise MissingSource(f"{field}: {path} is not a text file in UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise MissingSource(f"{field}: {path} cannot be read: {error.strerror}") from None


def _lines(text: str) -> list[str]:
    """Return the lines as editors show them; `splitlines` would split at seven more characters."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _parse(text: str, file: str, classes: int) -> list[_Entry]:
    entries: list[_Entry] = []
    line_of: dict[str, int] = {}
    too_large: tuple[str, int] | None = None
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        entry = _entry(line, f"{file}: line {number}")
        # Two paths that look the same (NFC and NFD) name one file.
        first = line_of.setdefault(same_name(entry.path), number)
        if first != number:
            told = f"{file}: line {number}: repeats line {first}"
            raise SourceError(f"{told}: {entry.path}; keep one of them", told=told)
        if not 0 <= entry.label < classes:
            too_large = too_large or (f"{file}: line {number}", entry.label)
        entries.append(entry)
    if not entries:
        raise MissingSource(f"{file}: is empty; expected `path label` on each line")
    if too_large:
        told = f"{too_large[0]}: has no label from 0 to {classes - 1}"
        raise SourceError(_no_such_label(*too_large, {entry.label for entry in entries}, classes), told=told)
    return entries


def _entry(line: str, where: str) -> _Entry:
    parts, told = line.rsplit(maxsplit=1), f"{where}: is not `path label`"
    if len(parts) != 2:
        raise SourceError(f"{where}: {line.strip()[:80]!r} is not `path label`{_hint(line)}", told=told)
    path, label = parts[0].strip(" \t"), parts[1]
    if not re.fullmatch(r"-?[0-9]{1,9}", label):
        raise SourceError(f"{where}: the label {label[:80]!r} is not a whole number{_hint(line)}", told=told)
    if path[0] in "\"'" or path.endswith((",", ";")):
        raise SourceError(f"{where}: {path[:80]!r} is not a bare path{_hint(line)}", told=told)
    return _Entry(check_listed(path, where, "source.root"), int(label))


def _hint(line: str) -> str:
    """Return how to write a line that is not `path label`, by what it seems to be."""
    last = line.rsplit(maxsplit=1)[-1]
    _, separator, label = line.strip().rpartition("," if "," in line else ";")
    if separator and re.fullmatch(r"\s*-?[0-9]+(\.0+)?\s*", label):
        return f": write a space for the {separator!r} between path and label"
    if line.lstrip()[0] in "\"'":
        return ": write the path without quotes; it may hold spaces"
    if re.match(r"\s*[0-9]+\s*[,;\s]\s*\S", line):
        return ": the label stands first; write the path first, then the label"
    if re.fullmatch(r"-?[0-9]+\.0+", last):
        return f": write {last.partition('.')[0]}"
    if "." not in line and "/" not in line:
        return ": is it a header? Leave it out"
    return ""


def _no_such_label(where: str, label: int, labels: set[int], classes: int) -> str:
    told = f"{where}: there is no label {label}: source.names has {classes} classes, 0 to {classes - 1}"
    if min(labels) == 1 and max(labels) == classes:
        return f"{told}; labels seem to count from 1 here: take 1 from each"
    return told


def _below(root: Path, ids: Sequence[str]) -> Sequence[str]:
    """Return the images' paths below the root, which may itself be the folder that all ids begin with."""
    level = ids[0].partition("/")[0]
    common = all(path.startswith(f"{level}/") for path in ids)
    if not common or (root / level).is_dir() or not root.is_dir():
        return ids
    return tuple(path[len(level) + 1 :] for path in ids)
