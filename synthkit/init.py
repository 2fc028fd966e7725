"""`synthkit init`: a recipe of one's own from the template, comments and all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.errors import RecipeError
from synthkit.files import write_file
from synthkit.recipe_file import load
from synthkit.source_config import SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATE = Path(__file__).parent / "template.yaml"
_WIDTH = 110
_KIND, _NAME = "folder", "my-release"


class Question(NamedTuple):
    """A field of the recipe to ask for, what it means, and the answer if none is given."""

    field: str
    meaning: str
    default: str | None


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
    return [
        *needed,
        Question("prompt", "The text given to the model; {name} is the class name", "a photo of a {name}"),
        Question("target_per_class", "Images each class has in the end, real and synthetic together", "200"),
        Question(
            "model.id",
            "The model: a folder, a Hub repository, or builtin:tiny-unclip-digits",
            "radames/stable-diffusion-2-1-unclip-img2img",
        ),
    ]


def write_recipe(path: Path, answers: Sequence[str]) -> None:
    """Write the template with some fields (`section.field=value`) filled in; nothing if one is wrong.

    Raises RecipeError for a field that is unknown, wrong or missing.
    """
    answers = [*_implied(answers), *answers]
    fields = [answer.partition("=")[0].strip() for answer in answers]
    kind = next((answer.partition("=")[2] for answer in answers if answer.startswith("source.kind=")), _KIND)
    for question in questions(kind):
        # A set of one's own in COCO's format has no root.
        instead = question.field == "source.root" and "source.annotations" in fields
        if kind != _KIND and question.default is None and question.field not in fields and not instead:
            raise RecipeError(
                f"{question.field}: is missing: {question.meaning} Add --set {question.field}=…"
            )
    recipe = load(TEMPLATE, answers).model_dump(mode="json", exclude_none=True)
    text = _filled(fields, recipe)
    _refuse_taken(path)
    write_file(path, text.encode())


def check_name(path: Path, name: str) -> None:
    """Before anything is asked: raises RecipeError if the name does not fit or the file is there."""
    _refuse_taken(path)
    load(TEMPLATE, [f"name={name}"])


def _refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise RecipeError(f"{path}: is there already; choose another name, or remove it")


def _implied(answers: Sequence[str]) -> list[str]:
    """What follows from other answers: the built-in model runs anywhere, there is one way to count."""
    implied = []
    if any(answer.startswith("model.id=builtin:") for answer in answers):
        implied.append("model.dtype=float32")
    if any(answer.startswith("synthetic_per_class=") for answer in answers):
        implied.append("target_per_class=null")
    return implied


def _filled(fields: Sequence[str], recipe: dict[str, Any]) -> str:
    """The template's text with the recipe's values of some fields, its comments kept."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    document = yaml.load(TEMPLATE.read_text(encoding="utf-8").replace(_NAME, recipe["name"]))
    source = document["source"]
    # What follows the section hangs on its last key.
    after = source.ca.items.pop("root")
    if recipe["source"]["kind"] != source["kind"]:
        del source["root"]
    for field in fields:
        *sections, key = field.split(".")
        value, place = recipe, document
        for section in sections:
            value, place = value[section], place.setdefault(section, {})
        if value.get(key) is None:
            place.pop(key, None)
        else:
            place[key] = value[key]
    last = [key for key, value in source.items() if not isinstance(value, (dict, list))][-1]
    source[last] = source.pop(last)
    source.ca.items[last] = after
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    return buffer.getvalue()
