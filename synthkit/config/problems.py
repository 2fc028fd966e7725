"""pydantic's errors in words: one line for each, with its place in the YAML file and the nearest name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from synthkit.config.sections import kinds, section, tag
from synthkit.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

# How many errors are listed; the others are counted.
SHOWN = 10
_LONGEST_KEY = 200

_TYPE_NAMES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text (in quotes)",
    "bool_type": "true or false",
    "model_type": "a section with keys of its own",
    "model_attributes_type": "a section with keys of its own",
    "finite_number": "a finite number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
}
# What a number must be, by the kind of pydantic's error, and where the error states the bound.
BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def report(
    path: Path, details: Sequence[ErrorDetails], root: type[BaseModel], places: Mapping[KeyPath, str]
) -> str:
    """Return the first errors in the order of the file, a line each, and how many more there are.

    `details` are pydantic's errors, `root` is the model of the file, and `places` says where each key stands.
    """
    order = {place: number for number, place in enumerate(places.values())}
    found = _Places(places)
    located = [(found.of(_whole_path(detail, root)), detail) for detail in details]
    located.sort(key=lambda item: order.get(item[0], -1))
    problems = [f"{place}: {_describe(detail, root)}" for place, detail in located[:SHOWN]]
    if len(located) == 1:
        return problems[0]
    more = [f"  … and {len(located) - SHOWN:,} more"] if len(located) > SHOWN else []
    return "\n".join([f"{path}: {len(located):,} errors", *(f"  {problem}" for problem in problems), *more])


def dotted(path: KeyPath) -> str:
    """Return a key as messages and the command line write it: `section.field`."""
    return ".".join(str(part) for part in path)


def _describe(detail: ErrorDetails, root: type[BaseModel]) -> str:
    """Return an error in words, after the key that it is about."""
    path, parent = _resolve(detail["loc"], root)
    known = [*parent.model_fields, *(["extends"] if parent is root else [])]
    message = _message(detail, path, parent, known)
    path = _whole_path(detail, root)
    return f"{_shown_path(path)}: {message}" if path else message


def _whole_path(detail: ErrorDetails, root: type[BaseModel]) -> KeyPath:
    """Return the key that an error is about: of a section of an unknown kind, the key that says the kind."""
    path, parent = _resolve(detail["loc"], root)
    if detail["type"] == "union_tag_invalid":
        return (*path, tag(parent, str(path[-1])) or "kind")
    return path


def _shown_path(path: KeyPath) -> str:
    text = dotted(path)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def _resolve(loc: Iterable[str | int], root: type[BaseModel]) -> tuple[KeyPath, type[BaseModel]]:
    """Return the path of a key in the YAML, and the model that its last key is a field of.

    pydantic's own path also has the kind of each section that may be of several.
    """
    path: list[str | int] = []
    holder: type[BaseModel] = root
    model: type[BaseModel] | None = root
    members: dict[str, type[BaseModel]] = {}
    for step in loc:
        if step in members:
            model, members = members[str(step)], {}
            continue
        holder = model or holder
        path.append(step)
        model, members = section(holder, str(step)), kinds(holder, str(step))
    return tuple(path), holder


class _Places:
    """The places of keys; a missing key has the place of something near it."""

    def __init__(self, places: Mapping[KeyPath, str]) -> None:
        self._places = places
        # The last place inside each section, a section being any beginning of a key that is there.
        self._inside: dict[KeyPath, str] = {}
        for key, place in places.items():
            for length in range(len(key)):
                self._inside[key[:length]] = place

    def of(self, path: KeyPath) -> str:
        """Return where a key stands; else something inside it, else its section, else the file itself."""
        if path not in self._places and path in self._inside:
            return self._inside[path]
        while path not in self._places:
            path = path[:-1]
        return self._places[path]


def _message(detail: ErrorDetails, path: KeyPath, parent: type[BaseModel], known: list[str]) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(path[-1]), known)
    if kind == "missing":
        field = parent.model_fields.get(str(path[-1]))
        return f"is missing: {field.description}" if field else "is missing"
    if kind == "union_tag_not_found":
        key = str(path[-1])
        return f"needs `{tag(parent, key)}:`, one of {', '.join(kinds(parent, key))}"
    if kind == "union_tag_invalid":
        return _choice(context["tag"], list(kinds(parent, str(path[-1]))))
    if kind == "literal_error":
        return _choice(value, _choices(parent, str(path[-1])))
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        return f"must be {words} {context[key]:g}, is {_shown(value)}"
    if kind in _TYPE_NAMES:
        return f"must be {_TYPE_NAMES[kind]}, is {_shown(value)}{_type_hint(kind, value, parent, path)}"
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} does not fit. {_description(parent, path)}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "value_error":
        return str(context["error"])
    return detail["msg"]


def _choices(model: type[BaseModel], key: str) -> list[str]:
    field = model.model_fields.get(key)
    return [str(choice) for choice in get_args(field.annotation)] if field else []


def _choice(value: Any, choices: list[str]) -> str:
    return f"must be one of {', '.join(choices)}; is {_shown(value)}" + did_you_mean(str(value), choices)


def _description(model: type[BaseModel], path: KeyPath) -> str:
    field = model.model_fields.get(str(path[-1]))
    if field is None:
        return ""
    example = f" For example: {field.examples[0]}" if field.examples else ""
    return f"{field.description}{example}"


def _type_hint(kind: str, value: Any, parent: type[BaseModel], path: KeyPath) -> str:
    """Return how to write what was probably meant, as the end of a sentence; or an empty text."""
    if kind == "string_type" and isinstance(value, (int, float)):
        field = parent.model_fields.get(str(path[-1]))
        example = field.examples[0] if field and field.examples else value
        return f": write it in quotes, as in '{example}'"
    if kind in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        number = float(value)
        meant = int(number) if kind == "int_type" and number.is_integer() else number
        return f": YAML reads this as text; write {meant}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    text = "empty" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
