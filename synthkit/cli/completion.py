"""The values that a shell offers when one presses Tab on an argument; no heavy library is loaded for them.

If a function returns nothing, the shell offers file names.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.version import LATER_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How many entries of a folder are looked at, and how many names are offered at most.
_MOST_ENTRIES, _MOST_NAMES = 1000, 200
_MANIFEST = "manifest.json"
SCHEMAS = ("recipe", "provenance", *(f"provenance-{form}" for form in LATER_FORMATS), "score")
DEVICES = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps")
FORMATS = ("terminal", "markdown", "csv")


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return a completion that offers those words that begin with what is typed."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """Offer YAML files of the folder that is typed (or the current one) and of its sub-folders."""
    return _paths(incomplete, lambda path: path.suffix in (".yaml", ".yml") and path.is_file())


def releases(incomplete: str) -> list[str]:
    """Offer release folders of the folder that is typed (or the current one) and of its sub-folders."""
    return _paths(incomplete, lambda path: (path / _MANIFEST).is_file())


def listed_releases(incomplete: str) -> list[str]:
    """Offer the releases that params.yaml in the current folder lists."""
    import yaml

    try:
        listed = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["releases"]
        return [str(name) for name in listed if str(name).startswith(incomplete)]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def shipped(incomplete: str) -> list[str]:
    """Offer the recipes that come with synthkit."""
    from synthkit.recipe.shipped import names

    return [name for name in names() if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Offer the families of real images."""
    from synthkit.sources.families import FAMILIES

    return [kind for kind in FAMILIES if kind.startswith(incomplete)]


def feature_spaces(incomplete: str) -> list[str]:
    """Offer the names of feature spaces, up to the part that the user chooses: `timm:` of `timm:NETWORK`."""
    from synthkit_eval.feature_names import FORMS, NONE

    names = dict.fromkeys([NONE, *(re.sub(r"(?<=:)[A-Z].*", "", form) for form in FORMS)])
    return [name for name in names if name.startswith(incomplete)]


def protocols(incomplete: str) -> list[str]:
    """Offer the protocols that come with synthkit, or else YAML files."""
    from synthkit_eval.protocol import names

    return [name for name in names() if name.startswith(incomplete)] or recipes(incomplete)


def _paths(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    folder, slash, _ = incomplete.rpartition("/")
    typed = folder + slash
    start = Path(os.path.expanduser(typed or "."))  # noqa: PTH111 (what follows is spelt as typed)
    found = (
        typed + path.relative_to(start).as_posix()
        for path in _within(start)
        if not path.name.startswith(".") and wanted(path)
    )
    return sorted(islice((name for name in found if name.startswith(incomplete)), _MOST_NAMES))


def _within(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder and of its sub-folders."""
    try:
        entries = list(islice(folder.iterdir(), _MOST_ENTRIES))
    except OSError:
        return
    for entry in entries:
        yield entry
        if entry.is_dir() and not entry.name.startswith("."):
            try:
                yield from islice(entry.iterdir(), _MOST_ENTRIES)
            except OSError:
                continue
