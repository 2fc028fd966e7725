"""A pydantic model read from a YAML file with `extends` and `--set`; all errors at once, with their lines."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from synthkit.config.problems import KeyPath, dotted, report
from synthkit.config.sections import holder, is_tag
from synthkit.config.words import plain
from synthkit.errors import did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from synthkit.errors import SynthkitError

M = TypeVar("M", bound=BaseModel)

_MAX_BYTES = 1_000_000
# Files in a row that extend each other: no person follows more.
_MAX_EXTENDS = 32
_MAX_BITS, _MAX_DIGITS = 1024, 2000
# The deepest section that an override may name, and how many letters of an override a message shows.
_MAX_KEYS, _SHOWN = 16, 200

# What PyYAML raises for bad text: besides its own errors, those of bad numbers, wrong tags and deep nesting.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class FileKind(Generic[M]):
    """A kind of file: the model of its content, and the words for it in messages.

    A section of the model is a model, a union of models with a discriminator, or a mapping of any keys.
    `what` names the file and fits "a …" and "…s". `line` is an example of its content, `override` one of
    `--set`. `how_to_get` returns, for the path of a missing file, how to get it, as the end of a sentence.
    `form` is what else than text the file must be.
    """

    model: type[M]
    what: str
    error: type[SynthkitError]
    line: str = "name: mine"
    override: str = "name=mine"
    how_to_get: Callable[[Path], str] = lambda path: ""
    form: str = "YAML"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its data, and where each key stands ("file.yaml: line 7")."""

    data: dict[str, Any]
    places: dict[KeyPath, str]


def load_model(path: Path, kind: FileKind[M], overrides: Sequence[str] = ()) -> M:
    """Return the model in a file, with what it extends and the overrides (`section.field=value`) applied.

    Raises the error of the kind with a line for each thing that is wrong: its place and the nearest name.
    """
    return _model(path, _read(path, kind, ()), kind, overrides)


def model_of(content: Mapping[str, Any], kind: FileKind[M], overrides: Sequence[str] = ()) -> M:
    """Return the model whose file would have this content, as `load_model` does.

    A file that it extends is looked for from the current folder.
    """
    place = Path(kind.what)
    document = Document(plain(content, kind.what, kind.error), {(): kind.what})
    return _model(place, _extended(place, document, kind, ()), kind, overrides)


def _model(path: Path, document: Document, kind: FileKind[M], overrides: Sequence[str]) -> M:
    # An override of a section's kind empties the section, so it is applied before those of its fields.
    for override in sorted(overrides, key=lambda text: not _names_a_tag(text, kind, document)):
        _apply(override, kind, document)
    try:
        return kind.model.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise kind.error(report(path, details, kind.model, document.places)) from None


def files_of(path: Path, kind: FileKind[M]) -> list[Path]:
    """Return a valid file, followed by the files that it extends."""
    files = [path]
    while (parent := parse(files[-1], kind).data.get("extends")) is not None:
        files.append(files[-1].parent / parent)
    return files


def parse(path: Path, kind: FileKind[M]) -> Document:
    """Return what one file says, its `extends` included. Raises the kind's error unless it is plain YAML."""
    text = text_of(path, kind)
    with _errors_of(path, text, kind):
        return _compose(path, text, kind)


def content_of(path: Path, kind: FileKind[M]) -> dict[str, Any]:
    """Return what a file says, with what it extends. Raises the kind's error unless it is plain YAML."""
    return _read(path, kind, ()).data


def plain_file(path: Path, kind: FileKind[M]) -> Any:
    """Return the plain data in a file, whatever it is, under the rules of recipes: no anchors, no key twice.

    Raises the kind's error unless it is plain YAML.
    """
    text = text_of(path, kind)
    with _errors_of(path, text, kind):
        return _plain(text, str(path), kind)


def text_of(path: Path, kind: FileKind[M]) -> str:
    """Return the text of a file. Raises the kind's error if it is missing, too long or not UTF-8."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        hint = kind.how_to_get(path) or _nearest_file(path)
        raise kind.error(f"{path}: there is no such {kind.what}{hint}") from None
    except IsADirectoryError:
        raise kind.error(f"{path}: is a folder, not a {kind.what}{_recipe_in(path, kind)}") from None
    except OSError as error:
        raise kind.error(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise kind.error(f"{path!s:.200}: cannot be read: no file has such a name") from None
    if len(raw) > _MAX_BYTES:
        raise kind.error(f"{path}: is more than {_MAX_BYTES:,} bytes long; that is not a {kind.what}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise kind.error(f"{path}: is not UTF-8 text; a {kind.what} is a {kind.form} file") from None


@contextmanager
def _errors_of(path: Path, text: str, kind: FileKind[M]) -> Iterator[None]:
    """Replace YAML's errors inside the block by one line with the place."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # If a file ends too early, LibYAML names the line after its last.
        lines = text.count("\n") + (not text.endswith("\n"))
        line = f": line {min(mark.line + 1, max(lines, 1))}" if mark else ""
        raise kind.error(f"{path}{line}: is not plain YAML: {_yaml_problem(error, kind)}") from None
    except YAML_ERRORS as error:
        raise kind.error(f"{path}: is not plain YAML: {one_line(error)}") from None


def _yaml_problem(error: yaml.MarkedYAMLError, kind: FileKind[M]) -> str:
    if isinstance(error, yaml.constructor.ConstructorError) and "tag" in (error.problem or ""):
        return f"{error.problem}; {kind.what}s are plain data, remove the tag"
    return str(error.problem or error.context)


def _recipe_in(folder: Path, kind: FileKind[M]) -> str:
    """Return where a folder has what was asked for, as a release has its recipe."""
    inner = folder / f"{kind.what}.yaml"
    return f"; there is {inner} in it" if inner.is_file() else ""


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    names = [item.name for item in path.parent.glob("*.yaml")]
    return did_you_mean(path.name, names, prefix=f"{path.parent}/" if str(path.parent) != "." else "")


# LibYAML's parser takes time in proportion to the text. PyYAML's own takes far more for deep nesting.
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain_data(text: str) -> Any:
    """Return the plain data in a YAML text. Raises one of YAML_ERRORS."""
    loader = SAFE_LOADER(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(SAFE_LOADER):  # type: ignore[misc, valid-type]
    """Reads plain data, and refuses numbers that are too long for a message."""

    def whole_number(self, node: yaml.ScalarNode) -> int:
        # A number of more letters is too large in any base, and Python may refuse to read it.
        number: int = self.construct_yaml_int(node) if len(node.value) <= _MAX_DIGITS else 1 << _MAX_BITS
        if number.bit_length() > _MAX_BITS:
            raise ValueError(f"the number {node.value[:20]}… is too large")
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.whole_number)


def _compose(path: Path, text: str, kind: FileKind[M]) -> Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise kind.error(f"{path}: is not a {kind.what}: expected keys and values, as in `{kind.line}`")
        return Document(places=_Places(str(path), kind).of(node), data=loader.construct_document(node))
    finally:
        loader.dispose()


def _plain(text: str, place: str, kind: FileKind[M]) -> Any:
    """Return the value of a YAML text under the rules of a file: no anchors, no key twice."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Places(place, kind).of(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Places(Generic[M]):
    """Finds where each key of a file stands; refuses anchors, keys that are not text, and repeated keys."""

    def __init__(self, file: str, kind: FileKind[M]) -> None:
        self._file = file
        self._kind = kind
        self._seen: set[int] = set()
        self._places: dict[KeyPath, str] = {(): file}

    def of(self, node: yaml.Node) -> dict[KeyPath, str]:
        """Return the place of each key of a whole file or value, in its order."""
        self._visit(node, ())
        return self._places

    def _visit(self, node: yaml.Node, at: KeyPath) -> None:
        line = self._line(node)
        if id(node) in self._seen:
            raise self._kind.error(
                f"{line}: anchors and aliases are not used in {self._kind.what}s; write the value out"
            )
        self._seen.add(id(node))
        self._places.setdefault(at, line)
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self._visit(item, (*at, position))
        if isinstance(node, yaml.MappingNode):
            for key_node, item in node.value:
                self._visit(item, self._key(key_node, at))

    def _key(self, node: yaml.Node, at: KeyPath) -> KeyPath:
        line, path = self._line(node), (*at, node.value)
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            raise self._kind.error(f"{line}: a key must be plain text; put it in quotes")
        if path in self._places:
            raise self._kind.error(f"{line}: {dotted(path)}: is given twice; keep one of them")
        self._places[path] = line
        return path

    def _line(self, node: yaml.Node) -> str:
        return f"{self._file}: line {node.start_mark.line + 1}"


def _read(path: Path, kind: FileKind[M], via: tuple[Path, ...]) -> Document:
    if path.resolve() in via:
        raise kind.error(f"{path}: extends itself; remove one of the `extends:` lines")
    if len(via) > _MAX_EXTENDS:
        raise kind.error(
            f"{path}: more than {_MAX_EXTENDS} files extend each other in a row; write some of them into one"
        )
    return _extended(path, parse(path, kind), kind, via)


def _extended(path: Path, document: Document, kind: FileKind[M], via: tuple[Path, ...]) -> Document:
    """Return the content of a file with what it extends; `via` are the files that led to it."""
    parent = document.data.pop("extends", None)
    if parent is None:
        return document
    place = document.places.get(("extends",), str(path))
    if not isinstance(parent, str):
        raise kind.error(f"{place}: extends: must be the path of another {kind.what}")
    base = path.parent / parent
    if not base.is_file():
        raise kind.error(f"{place}: extends: there is no file {base}{kind.how_to_get(base)}")
    return _merge(_read(base, kind, (*via, path.resolve())), document)


def _merge(base: Document, child: Document) -> Document:
    """Return the base with the child's values; a section of another `kind` replaces the base's."""
    return Document(_deep(base.data, child.data), base.places | child.places)


def _deep(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in child.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind") in (None, old.get("kind")):
            merged[key] = _deep(old, value)
        else:
            merged[key] = value
    return merged


def _short(override: str) -> str:
    return override if len(override) <= _SHOWN else f"{override[:_SHOWN]}…"


def _keys(override: str) -> list[str]:
    return override.partition("=")[0].strip().split(".")


def _names_a_tag(override: str, kind: FileKind[M], document: Document) -> bool:
    return "=" in override and is_tag(kind.model, _keys(override), document.data)


def _apply(override: str, kind: FileKind[M], document: Document) -> None:
    place, keys = f"--set {_short(override)}", _keys(override)
    if len(keys) > _MAX_KEYS:
        raise kind.error(f"{place}: no field is {len(keys)} sections deep")
    if keys == ["extends"]:
        raise kind.error(f"{place}: extends cannot be set; write it in the file")
    if "=" not in override or not all(keys):
        raise kind.error(f"{place}: write it as section.field=value, e.g. {kind.override}")
    value = _override_value(override, kind, document)
    section = document.data
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise kind.error(f"{place}: {key} is not a section")
    if is_tag(kind.model, keys, document.data) and value != section.get(keys[-1]):
        section.clear()
    section[keys[-1]] = value
    document.places[tuple(keys)] = place


def _override_value(override: str, kind: FileKind[M], document: Document) -> Any:
    """Return the value of an override, read as YAML; text for a text field needs no quotes."""
    text, place = override.partition("=")[2], f"--set {_short(override)}"
    is_text = _is_text_field(_keys(override), kind, document)
    try:
        value = _plain(text, place, kind)
    except YAML_ERRORS as error:
        if is_text:
            return text
        problem = _yaml_problem(error, kind) if isinstance(error, yaml.MarkedYAMLError) else str(error)
        raise kind.error(f"{place}: the value is not plain YAML: {problem[:200]}") from None
    return text if is_text and not isinstance(value, (str, type(None))) else value


def _is_text_field(keys: list[str], kind: FileKind[M], document: Document) -> bool:
    model = holder(kind.model, keys, document.data)
    field = model.model_fields.get(keys[-1]) if model else None
    return field is not None and field.annotation in (str, str | None)
