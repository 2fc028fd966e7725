"""`synthkit init`: a recipe of one's own, from the template or from a recipe that ships, comments and all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.errors import RecipeError
from synthkit.recipe import shipped
from synthkit.recipe import text as recipe_text
from synthkit.recipe.families import SOURCES
from synthkit.recipe.load import files_of, load
from synthkit.recipe.schema import json_schema
from synthkit.recipe.source import SourceBase
from synthkit.system.files import write_file
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit.recipe.text import RecipeText

SCHEMA = Path("recipe.schema.json")
_KIND, _NAME = "folder", "my-release"
# The digits come with a model that draws them; what fits it is as in the recipe of this name.
_DIGITS = "digits_lt_ecd"
_OF_DIGITS = (
    *("license", "source.groups", "prompt", "target_per_class", "model.id", "model.dtype", "sampler.steps"),
    *("sampler.batch_size", "output.format", "output.size", "output.shard_size"),
)
_BUILT_IN = "model.id=builtin:"
# Written whole: there, null is a value.
_CLASSES = "source.classes"


class Question(NamedTuple):
    """A field of the recipe to ask for, what it means, and the answer if none is given."""

    field: str
    meaning: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A recipe that was written, and whether an editor finds the schema that its first line names."""

    recipe: Recipe
    checked: bool


def questions(kind: str) -> list[Question]:
    """What to ask for a source of a kind: the fields that nobody but the user can know."""
    source = SOURCES.get(kind)
    if source is None:
        raise RecipeError(f"source.kind: must be one of {', '.join(SOURCES)}; is {kind!r}")
    needed = [
        Question(f"source.{name}", field.description or name, None)
        for name, field in source.model_fields.items()
        if (field.is_required() or name == "root") and name != "kind"
    ]
    usual = load(shipped.find(_DIGITS) if kind == "digits" else shipped.template())
    return [
        *needed,
        Question("prompt", "The text given to the model; {name} is the class name", usual.prompt),
        Question(
            "target_per_class",
            "Images each class has in the end, real and synthetic together",
            str(usual.target_per_class),
        ),
        Question(
            "model.id",
            "The model: a folder, a Hub repository, or builtin:tiny-unclip-digits",
            usual.model.id,
        ),
    ]


def write_recipe(path: Path, answers: Sequence[str]) -> Begun:
    """Write the template with some fields (`section.field=value`) filled in; nothing if one is wrong.

    The schema that editors check it with is written beside it. Raises RecipeError for a field that is
    unknown, wrong or missing.
    """
    kind = next((answer.partition("=")[2] for answer in answers if answer.startswith("source.kind=")), _KIND)
    given = _fields(answers)
    for question in questions(kind):
        # A set of one's own in COCO's format has no root.
        instead = question.field == "source.root" and "source.annotations" in given
        if kind != _KIND and question.default is None and question.field not in given and not instead:
            raise RecipeError(
                f"{question.field}: is missing: {question.meaning} Add --set {question.field}=…"
            )
    answers = [*_implied(kind, answers), *answers]
    template = shipped.template()
    recipe = load(template, answers)
    text = recipe_text.read(template.read_text(encoding="utf-8"))
    text.head = [line.replace(_NAME, recipe.name) for line in text.head]
    _fill_in(text, _fields(answers), load(template), recipe)
    return _write(path, text, recipe)


def copy_recipe(path: Path, name: str, answers: Sequence[str]) -> Begun:
    """Write a recipe that ships, complete: with what it extends, and some fields filled in.

    Raises RecipeError for a recipe that does not exist, and for a field that is unknown or wrong.
    """
    file = shipped.find(name)
    original, recipe = load(file), load(file, answers)
    *parts, text = (recipe_text.read(part.read_text(encoding="utf-8")) for part in files_of(file))
    for part in reversed(parts):
        text = recipe_text.extended(text, part)
    mine = {f"recipes/{name}.yaml": str(path), f"releases/{original.name}": f"releases/{recipe.name}"}
    for old, new in mine.items():
        text.head = [line.replace(old, new) for line in text.head]
    text.head.append(f"# Copy of   {name}, a recipe of synthkit {__version__}")
    _fill_in(text, _fields(answers), original, recipe)
    return _write(path, text, recipe)


def check_name(path: Path, name: str) -> None:
    """Before anything is asked: raises RecipeError if the name does not fit or the file is there."""
    _refuse_taken(path)
    load(shipped.template(), [f"name={name}"])


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise RecipeError(f"{path}: is there already; choose another name, or remove it")


def _implied(kind: str, answers: Sequence[str]) -> list[str]:
    """What follows from other answers: the built-in models run anywhere, there is one way to count."""
    implied = []
    if kind == "digits":
        fitting = load(shipped.find(_DIGITS)).model_dump(mode="json")
        implied += [f"{field}={json.dumps(_value(fitting, field))}" for field in _OF_DIGITS]
    if any(answer.startswith(_BUILT_IN) for answer in answers):
        implied += ["model.dtype=float32", "output.size=null"]
    if any(answer.startswith("synthetic_per_class=") for answer in answers):
        implied.append("target_per_class=null")
    return implied


def _fields(answers: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(answer.partition("=")[0].strip() for answer in answers))


def _value(data: Any, path: str) -> Any:
    """None if there is none."""
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _fill_in(text: RecipeText, fields: Sequence[str], before: Recipe, recipe: Recipe) -> None:
    """Into the text of a recipe, the values that some fields have now."""
    data = _in_order(recipe)
    if recipe.source.kind != before.source.kind:
        recipe_text.keep(text.entries, "source", ["kind"])
    paths = dict.fromkeys(_CLASSES if field.startswith(f"{_CLASSES}.") else field for field in fields)
    # What goes first leaves its place, and its comment, to what comes instead.
    for path in sorted(paths, key=lambda path: _value(data, path) is not None):
        recipe_text.put(text.entries, path.split("."), data)


def _in_order(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values in the order of a file: of the source its own fields before those of all."""
    data = recipe.model_dump(mode="json", exclude_none=True)
    source = data["source"]
    if recipe.source.classes is not None:
        source["classes"] = recipe.source.classes
    own = [key for key in type(recipe.source).model_fields if key not in SourceBase.model_fields]
    data["source"] = {key: source[key] for key in sorted(source, key=lambda key: key not in own)}
    return data


def _write(path: Path, text: RecipeText, recipe: Recipe) -> Begun:
    """The recipe, and beside it the schema that its first line names; nothing that is there is lost."""
    checked = _write_schema(path.parent / SCHEMA)
    if not checked:
        text.head = [line for line in text.head if "$schema=" not in line]
    _refuse_taken(path)
    write_file(path, str(text).encode())
    return Begun(recipe, checked)


def _write_schema(path: Path) -> bool:
    """Whether the file is the schema of this version now: one of another kind stays as it is."""
    schema = json_schema()
    content = f"{json.dumps(schema, indent=2)}\n".encode()
    if os.path.lexists(path):
        found = path.read_bytes() if path.is_file() else b""
        if found == content:
            return True
        try:
            if json.loads(found)["title"] != schema["title"]:
                return False
        except (ValueError, LookupError, TypeError, RecursionError):
            return False
    write_file(path, content)
    return True
