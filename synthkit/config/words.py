"""Changes of fields as words of `--set`, whatever wrote them: a study's file or a Python mapping."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthkit.errors import SynthkitError

# YAML takes these for ends of lines, or no text at all, unless they are escaped.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# No section of a recipe is as deep; what holds itself is.
_DEEPEST = 32


def words(fields: Mapping[str, Any]) -> list[str]:
    """Return plain fields, by their dotted names, as words of `--set`: {"seed": 5} as `seed=5`."""
    return [f"{name}={_written(value)}" for name, value in fields.items()]


def plain(value: Any, where: str, error: type[SynthkitError], depth: int = 0) -> Any:
    """Return a value as a YAML file could hold it: paths as text, tuples as lists, NumPy's numbers as ours.

    Raises `error`, whose message begins with `where`, for anything else.
    """
    if depth > _DEEPEST:
        raise error(f"{where[:200]}: is nested too deeply, or holds itself")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{place}]", error, depth + 1) for place, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            _key(key, where, error): plain(item, f"{where}: {key}", error, depth + 1)
            for key, item in value.items()
        }
    raise error(
        f"{where}: is of type {type(value).__name__}; give text, a number, true or false, a list or a mapping"
    )


def _key(key: Any, where: str, error: type[SynthkitError]) -> str:
    if not isinstance(key, str):
        raise error(f"{where}: has the key {key!r:.80}; keys are text")
    return key


def _written(value: Any) -> str:
    """Return a value as JSON that YAML reads as the same value."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(name)}: {_written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    # JSON writes 1e-05, which YAML reads as text without a point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))
