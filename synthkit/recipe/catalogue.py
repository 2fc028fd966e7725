"""The catalogue of `synthkit recipes`: what each shipped recipe makes and needs, by its opening comment."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from synthkit.recipe import shipped
from synthkit.recipe.load import files_of, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Group

_FACT = re.compile(r"# ([A-Z][a-z]+) {3,}(.+)")
_IMAGES = re.compile(r"[\d,]+ images \([^)]*\)")
_WHERE = ": see source.available_from"
_BUILT_IN = "builtin:"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped recipe: what it makes by which method, what that costs, and what must be there first."""

    recipe: str
    summary: str
    method: str
    gates: bool
    guidance_scale: float
    levels: int
    feedback: str | None
    makes: str
    takes: str
    needs: str
    available_from: str
    model: str
    extends: str | None

    def to_json(self) -> dict[str, Any]:
        """Return every field as plain types."""
        return asdict(self)

    @property
    def wants(self) -> tuple[str, ...]:
        """What must be there first, in words, one line each."""
        if self.model.startswith(_BUILT_IN):
            return (f"needs {self.needs}",)
        place = f"from {self.available_from}"
        return f"needs {self.needs}", place, f"model {self.model}; a GPU is strongly advised"

    @property
    def in_short(self) -> str:
        """What it makes and by which method, in a line."""
        images = _IMAGES.match(self.makes)
        takes = re.split(r" at |,|;", self.takes)[0]
        how = [self.method, f"guidance {self.guidance_scale:g}", *self._beside]
        return f"{images[0] if images else self.makes}, {takes}; {', '.join(how)}"

    @property
    def _beside(self) -> Iterator[str]:
        if self.levels:
            yield f"{self.levels} levels"
        if self.feedback is not None:
            yield f"feedback by {self.feedback}"
        if self.gates:
            yield "quality gates"


def describe_all() -> list[Shipped]:
    """Return the shipped recipes as they are listed.

    Those with a built-in model come first. Those with the same needs stand together, and a recipe stands
    before the ones that extend it.
    """
    found = [describe(name) for name in shipped.names()]
    first: dict[tuple[str, ...], str] = {}
    for item in found:
        first.setdefault(item.wants, item.recipe)
    return sorted(
        found,
        key=lambda item: (
            not item.model.startswith(_BUILT_IN),
            first[item.wants],
            item.extends is not None,
            item.recipe,
        ),
    )


def describe(name: str) -> Shipped:
    """Return what a shipped recipe says of itself. Raises RecipeError if there is none of this name."""
    path = shipped.find(name)
    files, recipe = files_of(path), load(path)
    facts: dict[str, str] = {}
    # A recipe inherits the lines of the comment, too, from the recipe that it extends.
    for file in reversed(files):
        facts |= dict(_FACT.findall(file.read_text(encoding="utf-8").split("\n\n")[0]))
    return Shipped(
        recipe=name,
        summary=recipe.summary,
        method=recipe.conditioning.method,
        gates=recipe.filters is not None and recipe.filters.gates,
        guidance_scale=recipe.sampler.guidance_scale,
        levels=recipe.conditioning.levels,
        feedback=None if recipe.sampler.feedback is None else recipe.sampler.feedback.criterion,
        makes=facts["Makes"],
        takes=facts["Takes"],
        needs=facts["Needs"].removesuffix(_WHERE),
        available_from=recipe.source.available_from,
        model=recipe.model.id,
        extends=files[1].stem if len(files) > 1 else None,
    )


def as_table(found: Sequence[Shipped]) -> Group:
    """Return a table for terminals of 60 columns and more: recipes with the same needs, then those needs."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[Padding | Text] = []
    width = max(len(item.recipe) for item in found)
    for wants, items in groupby(found, key=lambda item: item.wants):
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(no_wrap=True, min_width=width)
        rows.add_column()
        for item in items:
            rows.add_row(Text(item.recipe, style="bold"), Text(item.in_short))
        notes = [Padding(Text(line, style="dim"), (0, 0, 0, 4)) for line in wants]
        parts += [*([Text("")] if parts else []), Padding(rows, 0), *notes]
    return Group(*parts)
