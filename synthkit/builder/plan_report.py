"""What `synthkit plan` shows: classes, groups, totals and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.builder.download import Download, look_up
from synthkit.builder.estimate import Estimate, estimate
from synthkit.builder.inputs import prompts_of
from synthkit.builder.sampling_cost import RATE, SamplingCost, sampling_cost
from synthkit.errors import SourceError
from synthkit.generators.operations import guided_rows
from synthkit.release.plan import (
    GROUPS,
    ClassBalance,
    balance,
    block_counts,
    block_faults,
    blocks_of,
    make_plan,
)
from synthkit.release.prompts import prompt_facts, told_counts
from synthkit.sources import open_source
from synthkit.sources.retrieval import open_pool
from synthkit.system.names import printable
from synthkit.system.progress import data_size, duration

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Group as RichGroup

    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe
    from synthkit.sources.base import Listing


# Columns of the table as text.
_WIDTH = 120
# A table of more than the first number of classes shows only the second number of them.
_ALL_SHOWN, _SOME_SHOWN = 120, 20
_FOR_LESS = "for less, each by --set (docs/scaling.md: what it gives up)"
# TFLOP below which GFLOP read better, and dollars below which cents matter.
_SMALL, _CENTS_MATTER = 0.1, 10
_CENT = 0.01


@dataclass(frozen=True, slots=True)
class PlannedPrompts:
    """Of how many templates images draw their prompts, a class, and the prompt of the first image."""

    fewest: int
    most: int
    example: str


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """A plan in numbers; printed, it is the table that `synthkit plan` shows."""

    recipe: Recipe
    classes: list[ClassBalance]
    estimate: Estimate
    # None if nothing is sampled.
    sampling: SamplingCost | None
    notes: tuple[str, ...] = ()
    prompts: PlannedPrompts | None = None
    download: Download | None = None
    # How many images there are to retrieve from, for a recipe that retrieves.
    pool: int | None = None

    @property
    def what(self) -> str:
        """What the images are: `synthetic` or `retrieved`."""
        return "synthetic" if self.pool is None else "retrieved"

    @property
    def synthetic(self) -> int:
        """Images to make."""
        return sum(item.synthetic for item in self.classes)

    @property
    def new(self) -> int:
        """Images that no earlier version of the release has; all of them if it was never grown."""
        return blocks_of(self.recipe, block_counts(self.recipe, self.classes)).images[-1]

    @property
    def draws(self) -> int:
        """Draws to make of the new images, of which one of each is kept; quality gates may ask for more."""
        return self.new * self.recipe.draws

    @property
    def real(self) -> int:
        """Real images there are."""
        return sum(item.real for item in self.classes)

    @property
    def shards(self) -> int:
        """Shards they fill."""
        return blocks_of(self.recipe, block_counts(self.recipe, self.classes)).shards

    def __repr__(self) -> str:
        return (
            f"<plan of {self.recipe.name} {self.recipe.version}: {self.synthetic:,} {self.what} images of "
            f"{len(self.classes):,} classes in {self.shards:,} shard(s)>"
        )

    def __str__(self) -> str:
        return as_text(self)

    def group(self, name: str) -> dict[str, int]:
        """Count the classes and images of one group: many, medium or few."""
        members = [item for item in self.classes if item.group == name]
        return {
            "classes": len(members),
            "real": sum(item.real for item in members),
            "synthetic": sum(item.synthetic for item in members),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the summary for other programs."""
        keys = ("label", "name", "group", "real", "synthetic")
        return {
            "classes": [{key: getattr(item, key) for key in keys} for item in self.classes],
            "groups": {name: self.group(name) for name in GROUPS},
            "totals": {
                "real": self.real,
                "synthetic": self.synthetic,
                "new": self.new,
                "shards": self.shards,
                **({"draws": self.draws} if self.draws > self.new else {}),
            },
            "estimate": {"bytes": self.estimate.bytes, "seconds": self.estimate.seconds},
            **({} if self.sampling is None else {"sampling": self.sampling.to_json()}),
            "notes": list(self.notes),
            **({} if self.prompts is None else {"prompts": asdict(self.prompts)}),
            **({} if self.pool is None else {"pool": {"images": self.pool}}),
            **({} if self.download is None else {"download": self.download.to_json()}),
        }


def summarise(
    recipe: Recipe, work_root: Path, price: float | None = None, *, ask_hub: bool = False
) -> Summary:
    """Plan a recipe from its source's listing alone: no image is read, no model loaded.

    `price` is that of an hour of one device, in dollars; by default that of `sampling_cost`. With `ask_hub`
    the Hub is asked how large the model is, if it is not here.
    """
    summary = _summarise(recipe, work_root, price)
    if not ask_hub:
        return summary
    here = summary.estimate.has_model
    return replace(summary, download=Download() if here else look_up(recipe.model, work_root))


def _summarise(recipe: Recipe, work_root: Path, price: float | None) -> Summary:
    recipe = recipe.with_prompts()
    source = open_source(recipe.source)
    try:
        classes = balance(recipe, source.listing)
        counts = block_counts(recipe, classes)
        fault = next(block_faults(recipe, counts), None)
        if fault is not None:
            raise SourceError(fault)
    except SourceError as error:
        # What was left out is often why a class is empty.
        raise SourceError("; ".join([str(error), *source.notes])) from None
    images = blocks_of(recipe, counts).images[-1]
    prompts = _prompts(recipe, source.listing)
    expected = estimate(recipe, images, work_root)
    if recipe.retrieval is not None:
        pool = open_pool(recipe.retrieval, images)
        return Summary(recipe, classes, expected, None, (*source.notes, *pool.notes), pool=len(pool.listing))
    made = sum(item.synthetic > 0 for item in classes)
    sampling = sampling_cost(recipe, images, expected, price, classes=made)
    return Summary(recipe, classes, expected, sampling, source.notes, prompts)


def _prompts(recipe: Recipe, listing: Listing) -> PlannedPrompts | None:
    """Return what is drawn; None for a recipe with one prompt. Raises what `prompts_of` raises."""
    prompts, facts = prompts_of(recipe, listing), prompt_facts(recipe, listing.classes)
    if facts is None:
        return None
    first = make_plan(recipe, listing).row(0)
    source = listing.ids[first.sources[0]] if first.sources else None
    return PlannedPrompts(facts.fewest, facts.most, prompts.of(first.label, first.seed, source))


def as_table(summary: Summary) -> RichGroup:
    """Lay the summary out for a terminal."""
    from rich.console import Group
    from rich.text import Text

    recipe = summary.recipe
    guidance = "" if summary.sampling is None else f", guidance {recipe.sampler.guidance_scale}"
    how = f"{recipe.conditioning.method}{guidance}"
    title = f"{recipe.name} {recipe.version}: {how}"
    parts = [Text(title, style="bold"), _classes(summary), _groups(summary), *map(Text, cost_lines(summary))]
    found = cheaper_ways(summary)
    if found is not None:
        table = _table(*found.columns)
        for row in found.rows:
            table.add_row(*row)
        parts.append(table)
    return Group(*parts)


def cost_lines(summary: Summary) -> list[str]:
    """Return in words what the images take: bytes, time, draws, prompts, evaluations, dollars."""
    lines, sampling, recipe = [_cost(summary)], summary.sampling, summary.recipe
    if summary.draws > summary.new:
        lines.append(_preferred(summary))
    if summary.prompts is not None:
        lines.append(_drawn(summary.prompts))
    if sampling is None:
        return [*lines, _retrieved(summary)]
    lines.append(_sampled(sampling, recipe.draws))
    if sampling.learning is not None:
        lines.append(_learned(sampling, sampling.learning))
    if recipe.sampler.feedback is not None:
        lines.append(_guided(sampling, recipe.sampler))
    return lines


def below_table(summary: Summary) -> list[str]:
    """Return what stands below the table, whose columns would wrap it, a line each."""
    lines = [f"Note: {note}" for note in summary.notes]
    if summary.download is not None:
        lines.append(str(summary.download))
    elif not summary.estimate.has_model:
        lines.append("The model is not here: --download asks the Hub how large it is.")
    return lines


def as_text(summary: Summary) -> str:
    """Return what `synthkit plan` prints."""
    import io

    from rich.console import Console

    text = io.StringIO()
    # In a notebook rich would show an output of its own, and a user may ask for colours everywhere.
    plain = Console(file=text, width=_WIDTH, highlight=False, color_system=None, force_jupyter=False)
    plain.print(as_table(summary))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join([*lines, *map(printable, below_table(summary))])


def _retrieved(summary: Summary) -> str:
    return (
        f"Retrieved from {summary.pool:,} real images of another source, each used at most once; nothing is "
        "generated. A build leaves out those that are training or held-out images"
    )


def _sampled(sampling: SamplingCost, draws: int) -> str:
    work, cost = sampling.work, sampling.cost
    rows = "" if work.rows == work.evaluations else f" of {work.rows:,} rows, half of them for guidance"
    if work.evaluations < work.rows < 2 * work.evaluations:
        rows = f", some with guidance: {work.rows:,} rows"
    most, average = ("at most ", "on average ") if sampling.differs else ("", "")
    said = f"Sampling an image: {most}{work.evaluations:,} evaluation{'s' * (work.evaluations != 1)}{rows}"
    if cost is None:
        return said
    said = f"{said}; {average}{_operations(cost.operations)}{f' with all {draws} draws' if draws > 1 else ''}"
    if cost.seconds is None:
        return said
    how = (
        f"an H200 at {RATE:g} TFLOP/s takes" if cost.computed else "by the last build's rate one device takes"
    )
    return f"{said}. For all images {how} {duration(cost.seconds)}{_money(cost.dollars, ', ')}"


def _learned(sampling: SamplingCost, learning: float) -> str:
    assert sampling.cost is not None  # noqa: S101 (both are known by the network)
    images = learning / sampling.cost.operations
    return (
        f"Learning the tokens of all classes, once and in float32: {_operations(learning)} more, as many "
        f"operations as sampling {images:,.0f} images"
    )


def _operations(tera: float) -> str:
    return f"{tera:.3g} TFLOP" if tera >= _SMALL else f"{1000 * tera:.3g} GFLOP"


def _money(dollars: float | None, before: str = "") -> str:
    if dollars is None:
        return ""
    if dollars < _CENT:
        return f"{before}less than a cent"
    return f"{before}${dollars:,.2f}" if dollars < _CENTS_MATTER else f"{before}${dollars:,.0f}"


class Cheaper(NamedTuple):
    """Cheaper ways to the same images, as a table: fields of the recipe, what each takes, its share."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def cheaper_ways(summary: Summary) -> Cheaper | None:
    """Return cheaper ways to make the images; None if there is none, or nothing is sampled."""
    sampling = summary.sampling
    if sampling is None or not sampling.cheaper:
        return None
    assert sampling.cost is not None  # noqa: S101 (what is cheaper is known by its cost)
    timed, paid = sampling.cost.seconds is not None, sampling.cost.dollars is not None
    more = (*(["time"] if timed else []), *(["dollars"] if paid else []))
    rows = []
    for one in sampling.cheaper:
        share = one.cost.operations / sampling.cost.operations
        time = [] if one.cost.seconds is None else [duration(one.cost.seconds)]
        money = [] if one.cost.dollars is None else [_money(one.cost.dollars)]
        changes = " ".join(map(quote, one.changes))
        rows.append((changes, _operations(one.cost.operations), f"{share:.2f}", *time, *money))
    return Cheaper((_FOR_LESS, "an image", "of the cost", *more), rows)


def _preferred(summary: Summary) -> str:
    each = summary.recipe.draws
    return f"Draws: {summary.draws:,}, {each} of each image, which filters.prefer chooses from"


def _guided(sampling: SamplingCost, sampler: Sampler) -> str:
    evaluations = sampling.work.evaluations
    guided = len(guided_rows([1] * evaluations, sampler))
    training = sampler.feedback.classifier.training if sampler.feedback is not None else None
    before = "" if training is None else f", nor its training before, {training.steps:,} steps"
    return (
        f"Guided by a classifier: {guided} of the {evaluations} evaluations, each with a gradient, which is "
        f"counted; the classifier's own operations are not{before}"
    )


def _drawn(prompts: PlannedPrompts) -> str:
    example = printable(prompts.example)
    return f"Prompts: {told_counts(prompts.fewest, prompts.most)}; the first image gets {example!r:.200}"


def _classes(summary: Summary) -> Any:
    from rich.text import Text

    table = _table("label", "class", "group", "real", summary.what, "total")
    shown = summary.classes
    if len(shown) > _ALL_SHOWN:
        shown = shown[:_SOME_SHOWN]
        rest = len(summary.classes) - len(shown)
        table.caption = f"… and {rest:,} more classes; --json lists all"
        table.caption_justify = "left"
    for item in shown:
        numbers = (item.real, item.synthetic, item.real + item.synthetic)
        table.add_row(str(item.label), Text(printable(item.name)), item.group, *(f"{n:,}" for n in numbers))
    return table


def _groups(summary: Summary) -> Any:
    table = _table("group", "classes", "real", summary.what, "total")
    for name in GROUPS:
        group = summary.group(name)
        numbers = (group["classes"], group["real"], group["synthetic"], group["real"] + group["synthetic"])
        table.add_row(name, *(f"{n:,}" for n in numbers))
    numbers = (len(summary.classes), summary.real, summary.synthetic, summary.real + summary.synthetic)
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in numbers))
    return table


def _cost(summary: Summary) -> str:
    cost = summary.estimate
    size = "size unknown" if cost.bytes is None else f"about {data_size(cost.bytes)}"
    time = (
        "time unknown until a first build (try --limit 64)"
        if cost.seconds is None
        else f"about {duration(cost.seconds)} at the last build's rate"
    )
    new = f", {summary.new:,} of them new" if summary.recipe.grown else ""
    return f"{summary.synthetic:,} images in {summary.shards:,} shard(s){new}, {size}, {time}"


def _table(*columns: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in ("class", "group", _FOR_LESS) else "right")
    return table
