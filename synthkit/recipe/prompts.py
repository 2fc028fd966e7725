"""The `prompts` of a recipe: templates, for all classes or for each, in the recipe or in a file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from synthkit.config.section import Section
from synthkit.config.yaml_file import FileKind, plain_file, text_of
from synthkit.errors import RecipeError, did_you_mean, one_line
from synthkit.system.names import fault_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Templates = list[str] | dict[str, list[str]]

# In characters.
LONGEST = 500
LONGEST_CAPTION = 2000
# As they stand in the recipe.yaml of a release: of a longer one than 1,000,000 bytes no recipe is read.
MOST_BYTES = 750_000

_FILLED_IN = re.compile(r"\{(name|caption)\}")
_SHOWN = 5
_FILE = FileKind(
    Section, what="list of prompts", error=RecipeError, line="cat: [a photo of a cat]", form="YAML or JSON"
)


def brace_fault(template: str) -> str:
    """Return why a template cannot be filled in; an empty text if it can."""
    if re.search(r"[{}]", _FILLED_IN.sub("", template)):
        return "only {name} and {caption} are filled in; other braces are not allowed"
    return ""


def uses_caption(template: str) -> bool:
    """Return whether the caption of a real image is filled into a template."""
    return "{caption}" in template


def filled_in(template: str, class_name: str, caption: str) -> str:
    """Return the prompt of a template; underscores of a class name, as in folder names, become spaces."""
    values = {"name": class_name.replace("_", " "), "caption": caption}
    # In one pass: a class may be called {caption}.
    return _FILLED_IN.sub(lambda found: values[found[1]], template)


def caption_in(prompt: str, template: str, class_name: str) -> str | None:
    """Return the caption with which a template that has one gives a prompt; None if no caption does."""
    before = filled_in(template.partition("{caption}")[0], class_name, "")
    bare = filled_in(template, class_name, "")
    # How long the caption is follows from the lengths, however often it stands there.
    length, rest = divmod(len(prompt) - len(bare), template.count("{caption}"))
    if rest or not 0 < length <= LONGEST_CAPTION:
        return None
    caption = prompt[len(before) : len(before) + length]
    return caption if filled_in(template, class_name, caption) == prompt else None


def checked(prompts: Any) -> Templates:
    """Return prompts as plain data if they are templates. Raises ValueError, which says what is wrong."""
    if isinstance(prompts, list):
        faults = _faults(prompts)
    elif isinstance(prompts, dict):
        faults = (
            f"class {name!r:.64}: {fault}"
            for name, templates in prompts.items()
            for fault in _faults(templates)
        )
    else:
        raise ValueError(
            "must be a list of templates, a mapping of each class to such a list, or the path of a file with "
            f"one of them; is {_shown(prompts)}"
        )
    fault = "is empty: name a template" if not prompts else next(faults, "")
    if not fault and _size(prompts) > MOST_BYTES:
        fault = (
            f"take more than {MOST_BYTES:,} bytes in the recipe of a release; a mapping of fewer templates a "
            "class, with {name} and {caption} in them, says as much"
        )
    if fault:
        raise ValueError(fault)
    found: Templates = prompts
    return found


def read_prompts(name: str) -> Templates:
    """Return the templates in a file, YAML or JSON: a mapping of each class to its list, or one list.

    Raises RecipeError if the file cannot be read, or holds something else.
    """
    path = Path(os.path.expanduser(name))  # noqa: PTH111
    try:
        data = _json(path) if path.suffix.lower() == ".json" else plain_file(path, _FILE)
    except RecipeError as error:
        raise RecipeError(f"prompts: {error}") from None
    try:
        if isinstance(data, str):
            raise ValueError(f"must be a mapping of each class to a list of templates, is {_shown(data)}")
        return checked(data)
    except ValueError as error:
        raise RecipeError(f"prompts: {path}: {error}") from None


def class_fault(prompts: Templates, classes: Sequence[str]) -> str:
    """Return which class there is not, or which have no prompts; an empty text if all is well."""
    if isinstance(prompts, list):
        return ""
    known = set(classes)
    unknown = [name for name in prompts if name not in known]
    missing = [name for name in classes if name not in prompts]
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        return f"there is no class {unknown[0]!r:.64}{more}{did_you_mean(unknown[0], missing or classes)}"
    if missing:
        named = ", ".join(f"{name:.64}" for name in missing[:_SHOWN])
        return f"no prompts for class {named}{' …' if len(missing) > _SHOWN else ''}: every class needs some"
    return ""


def _faults(templates: Any) -> Iterator[str]:
    if not isinstance(templates, list):
        yield f"must be a list of templates, is {_shown(templates)}"
        return
    if not templates:
        yield "has no template: name one"
    seen: set[str] = set()
    for template in templates:
        if not isinstance(template, str):
            yield f"a template must be text (in quotes), is {_shown(template)}"
            continue
        fault = fault_in(template)
        if len(template) > LONGEST:
            yield f"a template has {len(template):,} characters, {LONGEST} at most: {template[:40]!r}…"
        elif fault or (fault := brace_fault(template)):
            yield f"{template[:60]!r}: {fault}"
        elif template in seen:
            yield f"{template[:60]!r} is given twice; keep one of them"
        seen.add(template)


def _json(path: Path) -> Any:
    text = text_of(path, _FILE)
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repeats)
    except RecursionError:
        raise RecipeError(f"{path}: is not JSON of prompts: it is nested too deeply") from None
    except ValueError as error:
        raise RecipeError(f"{path}: is not JSON of prompts: {one_line(error)}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r:.64} is given twice; keep one of them")
        found[key] = value
    return found


def _size(prompts: Templates) -> int:
    return len(yaml.safe_dump(prompts, sort_keys=False, allow_unicode=True).encode())


def _shown(value: Any) -> str:
    text = "empty" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
