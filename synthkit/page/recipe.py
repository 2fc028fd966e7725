"""The page of a recipe, before a build: what would be made, what it takes, and what it is conditioned on."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

import yaml

from synthkit.builder.inputs import prompts_of
from synthkit.builder.plan_report import cheaper_ways, cost_lines, summarise
from synthkit.conditioning import METHODS
from synthkit.errors import MissingSource
from synthkit.generators import embedding_shape
from synthkit.levels import told_amount
from synthkit.page.planned import draw_planned
from synthkit.page.rendering import render
from synthkit.page.words import LINE, counted, name
from synthkit.recipe.families import HubSourceConfig
from synthkit.release.plan import GROUPS, make_plan
from synthkit.release.prompts import told_counts
from synthkit.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.builder.plan_report import Summary
    from synthkit.page.planned import Drawn
    from synthkit.recipe.families import SourceConfig
    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import ClassBalance

# The most rows of the table of classes, templates, and letters of a recipe.
_MOST_ROWS, _MOST_TEMPLATES, _MOST_RECIPE = 5_000, 20, 200_000
# Images of a preview: enough to see many classes, few enough to wait for.
_PREVIEW = 64


class ClassPlanned(NamedTuple):
    """A row of the table of classes: its counts, and bars in percent of the largest class."""

    label: int
    name: str
    group: str
    real: int
    synthetic: int
    total: int
    real_bar: float
    synthetic_bar: float


class GroupPlanned(NamedTuple):
    """A row of the table of groups."""

    name: str
    classes: int
    real: int
    synthetic: int
    total: int


class Given(NamedTuple):
    """A recipe as the user gave it: the text of its file, its path, and what `--set` changes."""

    text: str
    path: Path
    changes: Sequence[str]
    extends: bool


def recipe_page(recipe: Recipe, given: Given, work_root: Path, seed: int = 0) -> bytes:
    """Return the page of a recipe; the same recipe, real images and model give the same bytes.

    `work_root` has the logs of builds, which tell how long they took. `seed` decides which planned images are
    shown. No model is loaded, and the Hub is not asked. Raises what `synthkit plan` raises; but real images
    that are not here are told on the page, which then has no counts.
    """
    recipe = recipe.with_prompts()
    summary, drawn, missing = None, None, _on_the_hub(recipe)
    if not missing:
        try:
            summary = summarise(recipe, work_root)
            drawn = _drawn(recipe, summary, seed)
        except MissingSource as error:
            missing = name(str(error), LINE)
    method = METHODS[recipe.conditioning.method]
    return render(
        "recipe.html.jinja",
        recipe=recipe,
        about=name(recipe.summary, LINE),
        method=method,
        formula=method.formula_for(_shape(summary)),
        what="retrieved" if method.retrieves else "synthetic",
        summary=summary,
        missing=missing,
        rows=[] if summary is None else _rows(summary.classes),
        groups=[] if summary is None else _groups(summary),
        costs=[] if summary is None else [name(line, LINE) for line in _costs(summary)],
        cheaper=None if summary is None else cheaper_ways(summary),
        notes=[] if summary is None else [name(note, LINE) for note in summary.notes],
        drawn=drawn,
        next_seed=seed + 1,
        prompts=[] if method.retrieves else list(_prompts(recipe, summary)),
        templates=[] if method.retrieves else [name(text, LINE) for text in _templates(recipe)],
        more_templates=max(0, len(_all_templates(recipe)) - _MOST_TEMPLATES),
        facts=[(title, name(text, LINE)) for title, text in _facts(recipe)],
        text=_cut(given.text),
        complete=_cut(yaml.safe_dump(recipe.portable(), sort_keys=False, allow_unicode=True)),
        differs=_differs(given),
        commands=_commands(given),
    )


def _on_the_hub(recipe: Recipe) -> str:
    """Return that the real images are a data set of the Hub; an empty text if they are not."""
    places: list[tuple[str, SourceConfig]] = [("The real images", recipe.source)]
    if recipe.retrieval is not None:
        places.append(("The images to retrieve from", recipe.retrieval.source))
    for what, source in places:
        if isinstance(source, HubSourceConfig) and not source.is_here and not source.is_path:
            return (
                f"{what} are the data set {name(source.id)} of the Hub, which a page does not ask. "
                "synthkit plan does, and shows the counts."
            )
    return ""


def _drawn(recipe: Recipe, summary: Summary, seed: int) -> Drawn | None:
    """Return some planned images and their conditionings; None if only a build knows what it retrieves."""
    if METHODS[recipe.conditioning.method].retrieves:
        return None
    source = open_source(recipe.source)
    plan, prompts = make_plan(recipe, source.listing), prompts_of(recipe, source.listing)
    return draw_planned(recipe, plan, source, prompts, _shape(summary), seed)


def _shape(summary: Summary | None) -> tuple[int, ...] | None:
    """Return the shape of the model's embeddings by its files; None if it is not here."""
    checkpoint = None if summary is None else summary.estimate.checkpoint
    return None if checkpoint is None else embedding_shape(checkpoint)


def _rows(classes: Sequence[ClassBalance]) -> list[ClassPlanned]:
    most = max((item.real + item.synthetic for item in classes), default=1) or 1
    return [
        ClassPlanned(
            item.label,
            name(item.name, 60),
            item.group,
            item.real,
            item.synthetic,
            item.real + item.synthetic,
            round(100 * item.real / most, 2),
            round(100 * item.synthetic / most, 2),
        )
        for item in classes[:_MOST_ROWS]
    ]


def _groups(summary: Summary) -> list[GroupPlanned]:
    rows = []
    for group in GROUPS:
        counts = summary.group(group)
        real, synthetic = counts["real"], counts["synthetic"]
        rows.append(GroupPlanned(group, counts["classes"], real, synthetic, real + synthetic))
    real, synthetic = summary.real, summary.synthetic
    return [*rows, GroupPlanned("all", len(summary.classes), real, synthetic, real + synthetic)]


def _costs(summary: Summary) -> Iterator[str]:
    yield from cost_lines(summary)
    if not summary.estimate.has_model:
        yield "The model is not on this machine: synthkit plan --download asks the Hub how large it is."


def _prompts(recipe: Recipe, summary: Summary | None) -> Iterator[str]:
    """Yield sentences about the prompts."""
    if summary is not None and summary.prompts is not None:
        yield f"Prompts: {told_counts(summary.prompts.fewest, summary.prompts.most)}."
    if recipe.tokens is not None:
        yield (
            "In place of {name}, a prompt has a token that a build first learns from the class's real "
            "images; here <token of …> stands for it."
        )
    elif any("{name}" in text for text in _all_templates(recipe)):
        yield "{name} is the name of the class."
    if recipe.captions is not None:
        yield "{caption} is the caption of the first real image."


def _all_templates(recipe: Recipe) -> list[str]:
    """Return all templates of prompts once, in the order in which the recipe has them."""
    prompts = recipe.prompts
    if isinstance(prompts, list):
        return list(dict.fromkeys(prompts))
    if isinstance(prompts, dict):
        return list(dict.fromkeys(text for some in prompts.values() for text in some))
    return [recipe.prompt]


def _templates(recipe: Recipe) -> list[str]:
    return _all_templates(recipe)[:_MOST_TEMPLATES]


def _facts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield what decides the images, as titles and texts."""
    conditioning, sampler, output = recipe.conditioning, recipe.sampler, recipe.output
    method = METHODS[conditioning.method]
    if method.pixels is not None or method.embeddings is not None:
        yield "Shares λ", f"drawn from Beta({conditioning.alpha:g}, {conditioning.alpha:g})"
    if method.drops:
        yield "Dropped", f"{conditioning.dropout:.0%} of {conditioning.drops}"
    if conditioning.strength is not None:
        yield "Strength", told_amount(conditioning.strength)
    if conditioning.scale is not None:
        yield "Weight of the image", told_amount(conditioning.scale)
    yield "Model", recipe.model.id + (f" at {recipe.model.revision}" if recipe.model.revision else "")
    if not method.retrieves:
        yield (
            "Sampler",
            f"{sampler.scheduler}, {counted(sampler.steps, 'step')}, guidance {sampler.guidance_scale:g}",
        )
    size = f"{output.size}x{output.size} " if output.size else ""
    yield "Files", f"{size}{output.format}, {output.shard_size:,} images a shard"
    yield "Seed", str(recipe.seed)
    yield "Licence", recipe.license


def _commands(given: Given) -> str:
    """Return the commands that check, try and build the recipe. No folder of this machine is named."""
    path = given.path.name if given.path.is_absolute() else str(given.path)
    words = " ".join([quote(path), *(f"--set {quote(change)}" for change in given.changes)])
    return "\n".join(
        (
            f"synthkit doctor {words}",
            f"synthkit build {words} --limit {_PREVIEW}",
            f"synthkit build {words}",
        )
    )


def _differs(given: Given) -> str:
    """Return in words why the recipe is another one than its file; an empty text if it is not."""
    reasons = [
        *(["it extends another file"] if given.extends else []),
        *([f"of --set {name(', '.join(given.changes), LINE)}"] if given.changes else []),
    ]
    return " and because ".join(reasons)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_RECIPE else f"{text[:_MOST_RECIPE]}\n# … cut here\n"
