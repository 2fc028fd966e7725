"""Doubts about a folder of images: its class folders may be the parts of a data set, or a level too high."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Names of the parts of a data set, the one to train on first.
_PARTS = ("train", "training", "trainval", "val", "valid", "validation", "test", "testing", "dev", "eval")
_SHOWN = 5


def doubts(root: str, classes: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Return what is odd about the classes of a folder, a line each; `ids` are `CLASS/…/IMAGE`."""
    inner = _folders_in(ids)
    names = sorted(inner)
    parts = [part for part in _PARTS for name in names if name.lower() == part]
    nested = {name for name in names if inner[name] and "" not in inner[name]}
    if parts and len(parts) == len(names) and (len(names) > 1 or nested):
        best = next(name for name in names if name.lower() == parts[0])
        place = f"{root.rstrip('/')}/{best}" if nested else "a folder with a folder for each class"
        return [
            f"its class folders are called {_some(names)}, as the parts of a data set are, and each is a "
            f"class now: if that is a level too high, set source.root to {place}"
        ]
    if len(nested) == len(names) and names:
        return _too_high(root, names, inner)
    if len(classes) == 1:
        return [f"there is one class only, {classes[0]}: source.root should hold every class's folder"]
    return _same_but_for_case(classes)


def _folders_in(ids: Iterable[str]) -> dict[str, set[str]]:
    """Return, for each class folder, the folders in it that hold images; "" if itself holds images."""
    inner: dict[str, set[str]] = defaultdict(set)
    for path in ids:
        parts = path.split("/", 2)
        inner[parts[0]].add(parts[1] if len(parts) == 3 else "")
    return inner


def _too_high(root: str, names: list[str], inner: dict[str, set[str]]) -> list[str]:
    """Return a doubt about class folders that hold only folders: a single one, or several that are alike."""
    shared = set.intersection(*inner.values())
    if len(names) == 1:
        (only,) = names
        return [
            f"its one class folder, {only}, holds only folders ({_some(sorted(inner[only]))}), and all are "
            f"one class now: if they are the classes, set source.root to {root.rstrip('/')}/{only}"
        ]
    if shared:
        return [
            f"its class folders {_some(names)} hold folders of the same names ({_some(sorted(shared))}): if "
            f"those are the classes, source.root is a level too high; set it to {root.rstrip('/')}/{names[0]}"
        ]
    return []


def _same_but_for_case(names: Sequence[str]) -> list[str]:
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(name.casefold(), name), name) for name in names]
    return [f"classes {a} and {b} differ in capital letters only" for a, b in pairs if a != b]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
