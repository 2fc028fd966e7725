"""Reading a recipe from YAML: `extends`, `--set`, and every error at once with its line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from synthkit.errors import RecipeError
from synthkit.recipe import Recipe
from synthkit.source_config import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_MAX_BYTES = 1_000_000
_MAX_BITS = 1024
_TYPE_NAMES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text (in quotes)",
    "bool_type": "true or false",
    "model_type": "a section with keys of its own",
    "model_attributes_type": "a section with keys of its own",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


@dataclass(frozen=True, slots=True)
class _Document:
    """A parsed file: its data, and where each key was written ("file.yaml: line 7")."""

    data: dict[str, Any]
    places: dict[KeyPath, str]


# What PyYAML raises of text: a number in form but not in value, a tag that does not fit, endless nesting.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, with what it extends and the overrides (`section.field=value`) applied.

    Raises RecipeError with one line for each thing that is wrong, its place and the nearest name.
    """
    document = _read(path, ())
    # Another kind of source empties its section, so that it must come before the section's fields.
    for override in sorted(overrides, key=lambda text: not text.startswith("source.kind=")):
        _apply(document, override)
    try:
        return Recipe.model_validate(document.data)
    except ValidationError as error:
        raise RecipeError(_report(path, error.errors(include_url=False), document)) from None


def files_of(path: Path) -> list[Path]:
    """The file of a recipe and those that it extends, of a recipe that can be loaded."""
    parent = _parse(path).data.get("extends")
    return [path] if parent is None else [path, *files_of(path.parent / parent)]


def load_complete(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A release's own recipe: as `load`, but it stands alone, and no other file is read."""
    if "extends" in _parse(path).data:
        raise RecipeError(f"{path}: extends: a release's recipe stands alone")
    return load(path, overrides)


def _report(path: Path, details: Sequence[ErrorDetails], document: _Document) -> str:
    """Every problem on a line of its own, in the order of the file."""
    order = {place: number for number, place in enumerate(document.places.values())}
    found = [_describe(detail, document) for detail in details]
    problems = [f"{place}: {text}" for place, text in sorted(found, key=lambda item: order.get(item[0], -1))]
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"{path}: {len(problems)} errors", *(f"  {problem}" for problem in problems)])


def _read(path: Path, via: tuple[Path, ...]) -> _Document:
    if path.resolve() in via:
        raise RecipeError(f"{path}: extends itself; remove one of the `extends:` lines")
    document = _parse(path)
    parent = document.data.pop("extends", None)
    if parent is None:
        return document
    place = document.places.get(("extends",), str(path))
    if not isinstance(parent, str):
        raise RecipeError(f"{place}: extends: must be the path of another recipe")
    base = path.parent / parent
    if not base.is_file():
        raise RecipeError(f"{place}: extends: there is no file {base}")
    return _merge(_read(base, (*via, path.resolve())), document)


def _parse(path: Path) -> _Document:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe{_nearest_file(path)}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise RecipeError(f"{path}: is more than {_MAX_BYTES:,} bytes long; that is not a recipe")
    try:
        return _compose(path, raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not UTF-8 text; a recipe is a YAML file") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f": line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{line}: is not plain YAML: {_yaml_problem(error)}") from None
    except YAML_ERRORS as error:
        raise RecipeError(f"{path}: is not plain YAML: {' '.join(str(error).split())[:200]}") from None


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, yaml.constructor.ConstructorError) and "tag" in (error.problem or ""):
        return f"{error.problem}; recipes are plain data, remove the tag"
    return str(error.problem or error.context)


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [item.name for item in path.parent.glob("*.yaml")]
    return _suggest(path.name, names, prefix=f"{path.parent}/" if str(path.parent) != "." else "")


def _compose(path: Path, text: str) -> _Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{path}: is not a recipe: expected keys and values, as in `name: my-release`")
        places: dict[KeyPath, str] = {(): str(path)}
        _locate(node, (), str(path), places, set())
        return _Document(loader.construct_document(node), places)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Plain data, without numbers that are too long to be told in a message."""

    def whole_number(self, node: yaml.ScalarNode) -> int:
        number: int = self.construct_yaml_int(node)
        if number.bit_length() > _MAX_BITS:
            raise ValueError(f"the number {node.value[:20]}… is too large")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def _locate(node: yaml.Node, at: KeyPath, file: str, places: dict[KeyPath, str], seen: set[int]) -> None:
    line = f"{file}: line {node.start_mark.line + 1}"
    if id(node) in seen:
        raise RecipeError(f"{line}: anchors and aliases are not used in recipes; write the value out")
    seen.add(id(node))
    places.setdefault(at, line)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _locate(item, (*at, position), file, places, seen)
    if isinstance(node, yaml.MappingNode):
        for key_node, item in node.value:
            place = f"{file}: line {key_node.start_mark.line + 1}"
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise RecipeError(f"{place}: a key must be plain text; put it in quotes")
            if (*at, key) in places:
                raise RecipeError(f"{place}: {_dotted((*at, key))}: is given twice; keep one of them")
            places[(*at, key)] = place
            _locate(item, (*at, key), file, places, seen)


def _merge(base: _Document, child: _Document) -> _Document:
    """The child's values over the base's, section by section."""
    return _Document(_deep(base.data, child.data), base.places | child.places)


def _deep(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in child.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind")):
            merged[key] = _deep(old, value)
        else:
            merged[key] = value
    return merged


def _apply(document: _Document, override: str) -> None:
    dotted, equals, text = override.partition("=")
    place = f"--set {override}"
    keys = dotted.strip().split(".")
    if keys == ["extends"]:
        raise RecipeError(f"{place}: extends cannot be set; write it in the file")
    if not equals or not all(keys):
        raise RecipeError(f"{place}: write it as section.field=value, e.g. conditioning.method=dropout")
    value = _override_value(keys, text, place, document)
    section = document.data
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise RecipeError(f"{place}: {key} is not a section")
    if keys == ["source", "kind"] and value != section.get("kind"):
        section.clear()
    section[keys[-1]] = value
    document.places[tuple(keys)] = place


def _override_value(keys: list[str], text: str, place: str, document: _Document) -> Any:
    """The value of an override: YAML, but what is meant for a text field is text without quotes too."""
    try:
        value = _plain(text, place)
    except YAML_ERRORS as error:
        if _is_text_field(keys, document):
            return text
        problem = _yaml_problem(error) if isinstance(error, yaml.MarkedYAMLError) else str(error)
        raise RecipeError(f"{place}: the value is not plain YAML: {problem[:200]}") from None
    return text if _is_text_field(keys, document) and not isinstance(value, (str, type(None))) else value


def _plain(text: str, place: str) -> Any:
    """The value of YAML under the rules of a recipe: no anchors, no key twice."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _locate(node, (), place, {}, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _is_text_field(keys: list[str], document: _Document) -> bool:
    model: type[BaseModel] | None = Recipe
    if keys[0] == "source":
        source = document.data.get("source")
        kind = source.get("kind") if isinstance(source, dict) else None
        model, keys = SOURCES.get(kind) if isinstance(kind, str) else None, keys[1:]
    for key in keys[:-1]:
        model = _section(model, key) if model else None
    field = model.model_fields.get(keys[-1]) if model and keys else None
    return field is not None and field.annotation in (str, str | None)


def _describe(detail: ErrorDetails, document: _Document) -> tuple[str, str]:
    """Where a problem is, and what it is."""
    path, parent = _resolve(detail["loc"])
    if detail["type"] == "union_tag_invalid":
        path = (*path, "kind")
    message = _message(detail, path, parent)
    return _place(path, document), f"{_dotted(path)}: {message}" if path else message


def _place(path: KeyPath, document: _Document) -> str:
    """Where a key was written; else where something inside it was, else its section, else the file."""
    if path not in document.places:
        inside = [place for key, place in document.places.items() if key[: len(path)] == path]
        if inside:
            return inside[-1]
    while path not in document.places:
        path = path[:-1]
    return document.places[path]


def _message(detail: ErrorDetails, path: KeyPath, parent: type[BaseModel]) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return "unknown key" + _suggest(str(path[-1]), _names(parent))
    if kind == "missing":
        field = parent.model_fields.get(str(path[-1]))
        return f"is missing: {field.description}" if field else "is missing"
    if kind == "union_tag_not_found":
        return f"needs `kind:`, one of {', '.join(SOURCES)}"
    if kind == "union_tag_invalid":
        return _choice(context["tag"], list(SOURCES))
    if kind == "literal_error":
        return _choice(value, _choices(parent, str(path[-1])))
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
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


def _resolve(loc: Iterable[str | int]) -> tuple[KeyPath, type[BaseModel]]:
    """The path in the YAML (pydantic adds a union's tag to it) and the model that holds its last key."""
    path: list[str | int] = []
    holder: type[BaseModel] = Recipe
    model: type[BaseModel] | None = Recipe
    for depth, step in enumerate(loc):
        if depth == 1 and path == ["source"] and step in SOURCES:
            model = SOURCES[str(step)]
            continue
        holder = model or holder
        path.append(step)
        model = _section(holder, str(step))
    return tuple(path), holder


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    field = model.model_fields.get(key)
    annotation = field.annotation if field else None
    # A section that may be left out is a union with None.
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _names(model: type[BaseModel]) -> list[str]:
    return [*model.model_fields, *(["extends"] if model is Recipe else [])]


def _choices(model: type[BaseModel], key: str) -> list[str]:
    field = model.model_fields.get(key)
    return [str(choice) for choice in get_args(field.annotation)] if field else []


def _choice(value: Any, choices: list[str]) -> str:
    return f"must be one of {', '.join(choices)}; is {_shown(value)}" + _suggest(str(value), choices)


def _description(model: type[BaseModel], path: KeyPath) -> str:
    field = model.model_fields.get(str(path[-1]))
    if field is None:
        return ""
    example = f" For example: {field.examples[0]}" if field.examples else ""
    return f"{field.description}{example}"


def _type_hint(kind: str, value: Any, parent: type[BaseModel], path: KeyPath) -> str:
    """How to write what was probably meant."""
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


def _suggest(name: str, candidates: Iterable[str], prefix: str = "") -> str:
    nearest = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
