"""Help that fits narrow terminals: below 80 columns a list, with each description under its option."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from synthkit.cli.output import survive_any_encoding
from synthkit.cli.usage import values_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The groups of commands in `synthkit --help`, in the order of the work.
MAKE, TRUST, PUBLISH, SCORE, TOOLS = "Make", "Trust", "Publish", "Score", "For tools"
# Columns from which on a table is readable.
_WIDE = 80


class Command(TyperCommand):
    """A command with such help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; of a value that does not fit, say in words what it must be."""
        with values_in_words():
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help: a table, or below `_WIDE` columns a list."""
        if not _print_narrow(self, ctx):
            super().format_help(ctx, formatter)


class Group(TyperGroup):
    """The application, with such help."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run a command; no character that it prints, in help and errors too, can make printing fail."""
        survive_any_encoding()
        return super().main(*args, **settings)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help: a table, or below `_WIDE` columns a list."""
        if not _print_narrow(self, ctx):
            super().format_help(ctx, formatter)


class App(typer.Typer):
    """An application whose commands have such help."""

    def command(self, *args: Any, **settings: Any) -> Callable[[Any], Any]:
        """Return a decorator that adds a command."""
        return super().command(*args, cls=Command, **settings)


def _print_narrow(command: Any, ctx: Any) -> bool:
    """Print the help as a list if the terminal is narrow; return whether it is."""
    columns = shutil.get_terminal_size().columns
    if columns >= _WIDE:
        return False
    # Printed here: a call without arguments would not show what `format_help` returns.
    typer.echo("\n".join(_narrow(command, ctx, columns)))
    return True


def _narrow(command: Any, ctx: Any, width: int) -> Iterator[str]:
    """Yield the lines of a command's help, none longer than `width` unless a single word is."""
    yield from _wrapped(" ".join(command.get_usage(ctx).split()), width, hang="  ")
    for paragraph in (command.help or "").split("\n\n"):
        yield ""
        yield from _wrapped(paragraph, width)
    shown = [param for param in command.get_params(ctx) if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name != "argument"]
    for title, rows in (
        ("Arguments", [_row(param, ctx) for param in arguments]),
        ("Options", [_row(param, ctx) for param in options]),
        *_groups(command, ctx).items(),
    ):
        if rows:
            yield from ("", f"{title}:")
        for name, told in rows:
            yield from _wrapped(name, width, "  ", hang="    ")
            yield from _wrapped(told, width, "      ")
    if command.epilog:
        yield ""
        for line in _examples(command.epilog):
            yield from _wrapped(line, width, hang="    ")


def _groups(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the application's commands and what each does, by the title of their group."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in command.list_commands(ctx) if isinstance(command, TyperGroup) else ():
        one: Any = command.get_command(ctx, name)
        groups.setdefault(one.rich_help_panel, []).append((name, one.get_short_help_str(10_000)))
    return groups


def _row(param: Any, ctx: Any) -> tuple[str, str]:
    """Return a parameter as it is typed, and its description."""
    name, told = param.get_help_record(ctx)
    return re.sub(r" <[^>]*>$", "", name), told


def _examples(epilog: str) -> list[str]:
    """Split `Examples: a · b` into a line for each example."""
    title, colon, rest = epilog.partition(": ")
    examples = rest.split(" · ")
    return [epilog] if len(examples) == 1 else [title + colon, *(f"  {example}" for example in examples)]


def _wrapped(text: str, width: int, indent: str = "", *, hang: str = "") -> list[str]:
    """Wrap text at spaces, without Markdown's back-ticks."""
    lead = re.match(" *", text)
    first = indent + (lead[0] if lead else "")
    return textwrap.wrap(
        " ".join(text.replace("`", "").split()),
        width,
        initial_indent=first,
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
