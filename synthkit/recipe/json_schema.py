"""The JSON Schema of recipe files."""

from __future__ import annotations

from typing import Any

from synthkit.recipe.schema import Recipe


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file, for editors (`synthkit schema`).

    It requires no field: with `extends`, a file states only its differences.
    """
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "synthkit recipe"
    schema["description"] = "One file that says everything about a synthetic release."
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "Another recipe, relative to this file; this one states only its differences.",
        },
        **schema["properties"],
    }
    schema.pop("required", None)
    for definition in schema["$defs"].values():
        definition.pop("required", None)
    return schema
