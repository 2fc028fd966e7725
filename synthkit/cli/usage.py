"""What is wrong with the value of an option, in words: typer tells pydantic's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
}


@contextmanager
def values_in_words() -> Iterator[None]:
    """Say of a value that does not fit what it must be, and what it is."""
    try:
        yield
    except typer.BadParameter as error:
        error.message = _in_words(error) or error.message
        raise


def _in_words(error: typer.BadParameter) -> str | None:
    """Return what is wrong, or None where pydantic did not find it or typer's own words do."""
    from pydantic import ValidationError

    from synthkit.config.problems import BOUNDS

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return None
    detail: Any = cause.errors()[0]
    kind, value = detail["type"], str(detail["input"])
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        wanted = f"{words} {detail['ctx'][key]}"
    elif kind in _TYPES:
        wanted = _TYPES[kind]
    else:
        return None
    return f"must be {wanted}, is {value!r:.60}"
