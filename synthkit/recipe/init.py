"""New recipes for `synthkit init`: the template or a shipped recipe, filled in, with its comments."""

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
from synthkit.recipe.json_schema import json_schema
from synthkit.recipe.load import files_of, load
from synthkit.recipe.source import SourceBase
from synthkit.system.files import write_file
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit.recipe.text import RecipeText

SCHEMA = Path("recipe.schema.json")
_KIND, _NAME = "folder", "my-release"
# The digits come with a model that draws them. The shipped recipe of this name has the settings that fit it.
_DIGITS = "digits_lt_ecd"
_OF_DIGITS = (
    *("license", "source.groups", "prompt", "target_per_class", "model.id", "model.adapter"),
    *("model.encoder", "model.dtype", "sampler.steps"),
    *("sampler.batch_size", "output.format", "output.size", "output.shard_size"),
)
_BUILT_IN = "model.id=builtin:"
# A mapping that is written as a whole: `null` leaves a class out, where elsewhere it means "not set".
_CLASSES = "source.classes"


class Question(NamedTuple):
    """A field of the recipe to ask for, what it means, and the answer if none is given."""

    field: str
    meaning: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A recipe that was written; `checked` says whether the schema for editors stands beside it."""

    recipe: Recipe
    checked: bool


def questions(kind: str) -> list[Question]:
    """Return what to ask for a source of a kind: the fields that only the user can know.

    Raises RecipeError for an unknown kind.
    """
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
            "The model: a folder, a Hub repository, builtin:tiny-unclip-digits or builtin:tiny-unclip-glyphs",
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
        # A data set of one's own in COCO's format is named by `annotations` and `images`.
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
    """Write a copy of a shipped recipe with some fields changed; what it extends is written into it.

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
    """Raise RecipeError if no recipe can have this name, or if its file is there already."""
    _refuse_taken(path)
    load(shipped.template(), [f"name={name}"])


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise RecipeError(f"{path}: is there already; choose another name, or remove it")


def _implied(kind: str, answers: Sequence[str]) -> list[str]:
    """Return what other answers imply, as answers.

    The digits want the settings of their model, the template's adapter and encoder are for its own model, a
    built-in model runs in float32 and at its own size, and `synthetic_per_class` takes the place of
    `target_per_class`.
    """
    implied = []
    if kind == "digits":
        fitting = load(shipped.find(_DIGITS)).model_dump(mode="json")
        implied += [f"{field}={json.dumps(_value(fitting, field))}" for field in _OF_DIGITS]
    model = next((answer for answer in answers if answer.startswith("model.id=")), None)
    if model not in (None, f"model.id={load(shipped.template()).model.id}"):
        # The template's are for its own model.
        implied += ["model.adapter=null", "model.encoder=null"]
    if any(answer.startswith(_BUILT_IN) for answer in answers):
        implied += ["model.dtype=float32", "output.size=null"]
    if any(answer.startswith("synthetic_per_class=") for answer in answers):
        implied.append("target_per_class=null")
    return implied


def _fields(answers: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(answer.partition("=")[0].strip() for answer in answers))


def _value(data: Any, path: str) -> Any:
    """Return the value at a dotted path; None if there is none."""
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _fill_in(text: RecipeText, fields: Sequence[str], before: Recipe, recipe: Recipe) -> None:
    """Write the values that some fields have in `recipe` into the text of `before`."""
    data = in_order(recipe)
    if recipe.source.kind != before.source.kind:
        recipe_text.keep(text.entries, "source", ["kind"])
    paths = dict.fromkeys(_CLASSES if field.startswith(f"{_CLASSES}.") else field for field in fields)
    # A field without a value is removed first, so that the next new one takes its place under its comment.
    for path in sorted(paths, key=lambda path: _value(data, path) is not None):
        recipe_text.put(text.entries, path.split("."), data)


def in_order(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's values in the order of a file: a source's own fields before the shared ones."""
    data = recipe.model_dump(mode="json", exclude_none=True)
    source = data["source"]
    if recipe.source.classes is not None:
        source["classes"] = recipe.source.classes
    own = [key for key in type(recipe.source).model_fields if key not in SourceBase.model_fields]
    data["source"] = {key: source[key] for key in sorted(source, key=lambda key: key not in own)}
    return data


def _write(path: Path, text: RecipeText, recipe: Recipe) -> Begun:
    """Write the recipe, and beside it the schema that its first line names."""
    checked = _write_schema(path.parent / SCHEMA)
    if not checked:
        text.head = [line for line in text.head if "$schema=" not in line]
    _refuse_taken(path)
    write_file(path, str(text).encode())
    return Begun(recipe, checked)


def _write_schema(path: Path) -> bool:
    """Write the schema unless another file has its name; return whether it is there now."""
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
