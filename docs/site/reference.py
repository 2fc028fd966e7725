"""The reference, from the code: commands, Python, the fields of recipes, protocols, studies and scores."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.cli
import typer.main

import synthkit
from synthkit.cli import app
from synthkit.recipe.schema import Recipe
from synthkit_eval.protocol import Protocol
from synthkit_eval.score import json_schema
from synthkit_eval.study.file import Study

_Schema = dict[str, Any]


def write_reference(folder: Path) -> None:
    """Write the pages of the reference."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "commands.md": _commands(),
        "python.md": _python(),
        "recipe.md": _fields("Fields of a recipe", Recipe.model_json_schema()),
        "protocol.md": _fields("Fields of a protocol", Protocol.model_json_schema()),
        "study.md": _fields("Fields of a study", Study.model_json_schema()),
        "score.md": _fields("Keys of a score", json_schema()),
    }
    for name, text in pages.items():
        (folder / name).write_text(text)


def _commands() -> str:
    """Return the page of all commands, as their `--help` has them."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="synthkit")
    return typer.cli.get_docs_for_click(obj=command, ctx=context, name="synthkit", title="Commands")


def _python() -> str:
    """Return the page of all that `import synthkit` gives, with what a result can do below it."""
    lines = ["# Python", "", inspect.getdoc(synthkit) or "", ""]
    for name in synthkit.__all__:
        value = getattr(synthkit, name)
        if callable(value):
            lines += _documented(f"synthkit.{name}", value, 2)
        if isinstance(value, type):
            own = {key: item for key, item in vars(value).items() if not key.startswith("_")}
            for key, item in own.items():
                if isinstance(item, property) or inspect.isfunction(item):
                    lines += _documented(f"{name}.{key}", item, 3)
    return "\n".join(lines)


def _documented(name: str, value: Any, level: int) -> list[str]:
    """Return the heading of a function, class or property, how it is called, and its docstring."""
    call = ["```python", f"{name}{inspect.signature(value)}", "```", ""] if inspect.isfunction(value) else []
    return [f"{'#' * level} {name}", "", *call, inspect.getdoc(value) or "", ""]


def _fields(title: str, schema: _Schema) -> str:
    """Return a page with a table for each section of a schema: its fields, types, defaults and meanings."""
    others = schema.get("$defs", {})
    places = dict(_sections(schema, "", others))
    lines = [f"# {title}", ""]
    for name, place in places.items():
        section = others.get(name, schema)
        if place:
            lines += [f"## {place}", ""]
        lines += [_plain(section.get("description", "")), ""]
        lines += [
            "| field | type | default | meaning |",
            "|---|---|---|---|",
            *_rows(section, others, places),
            "",
        ]
    return "\n".join(lines)


def _sections(schema: _Schema, root: str, others: _Schema) -> Iterator[tuple[str, str]]:
    """Yield the name of each section of a schema with the first place it is found at, as `sampler.cache`."""
    waiting, found = [(root, "")], {root}
    while waiting:
        name, place = waiting.pop(0)
        yield name, place
        for field, value in others.get(name, schema)["properties"].items():
            for other in _references(value):
                if other not in found and "properties" in others[other]:
                    found.add(other)
                    waiting.append((other, _place(place, field, others[other])))


def _references(value: object) -> Iterator[str]:
    """Yield the names of the sections that a part of a schema refers to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _place(place: str, field: str, section: _Schema) -> str:
    """Return where a section stands; of several that a field may be, also what tells it."""
    kind = section["properties"].get("kind", {}).get("const")
    own = f"{place.partition(',')[0]}.{field}" if place else field
    return f"{own}, kind {kind}" if kind else own


def _rows(section: _Schema, others: _Schema, places: dict[str, str]) -> Iterator[str]:
    required = section.get("required", [])
    for name, field in section["properties"].items():
        default = "required" if name in required else _default(field.get("default"))
        told = _cell(field.get("description", ""))
        yield f"| `{name}` | {_type(field, others, places)} | {default} | {told} |"


def _default(value: object) -> str:
    return "" if value is None or value in ({}, []) else f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _type(field: _Schema, others: _Schema, places: dict[str, str]) -> str:
    """Return a type in words; a section is a link to its table."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        if name in places:
            return f"[{places[name].rpartition(', ')[2]}](#{_slug(places[name])})"
        return _type(others[name], others, places)
    for key in ("anyOf", "oneOf"):
        if key in field:
            kinds = [_type(one, others, places) for one in field[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    if field.get("type") == "array":
        items = field.get("items") or next(iter(field.get("prefixItems", [])), {})
        return f"list of {_type(items, others, places)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return (
            f"mapping to {_type(values, others, places)}"
            if isinstance(values, dict) and values
            else "mapping"
        )
    kind = field.get("type", "any")
    return {"string": "text", "boolean": "true or false"}.get(kind, kind) + _range(field)


def _slug(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _range(field: _Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    told = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return f", {', '.join(told)}" if told else ""


def _plain(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|").replace("<", "&lt;")
