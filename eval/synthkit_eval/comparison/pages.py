"""The pages of a comparison: for each section a title, its tables, and notes below."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit_eval.comparison.accuracy_table import accuracies, fid_heads, fid_spaces
from synthkit_eval.comparison.conclusions import conclusions, difference_tables, legend
from synthkit_eval.comparison.correlations import correlations
from synthkit_eval.comparison.rows import tells_cost
from synthkit_eval.comparison.table import Page
from synthkit_eval.sections.batches import MIXTURE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.published import Published
    from synthkit_eval.comparison.rows import Row

_ENOUGH_RUNS = 5
# Rows of a section may differ in these, and say so in their names.
_OF_MIXTURE = tuple(f"batches.{name}=" for name in MIXTURE)


def pages(sections: Sequence[Section]) -> list[Page]:
    """Return a page for each section; the legend of the last one says how to read them all."""
    follows = correlations(sections)
    made = [_page(section, len(sections), follows.get(section.number)) for section in sections]
    return [*made[:-1], replace(made[-1], legend=tuple(_legend(sections)))]


def _legend(sections: Sequence[Section]) -> Iterator[str]:
    yield (
        "Accuracies are top-1 in percent, ± half of the 95 % interval of the mean over runs (over releases "
        "or choices of shots where there are several)."
    )
    if any(_counted(row) < _ENOUGH_RUNS for section in sections for row in section.rows):
        yield (
            f"Intervals of fewer than {_ENOUGH_RUNS} runs are rough: they may be far too narrow, or too wide."
        )
    yield from legend(sections)


def _counted(row: Row) -> int:
    return len(row.files) if len(row.files) > 1 else row.seeds


def _page(section: Section, count: int, follows: str | None) -> Page:
    score = section.first
    number = f"{section.number}. " if count > 1 else ""
    changes = [change for change in score.protocol.changed if not change.startswith(_OF_MIXTURE)]
    changed = f" with {', '.join(changes)}" if changes else ""
    title = (
        f"{number}{score.protocol.name} version {score.protocol.version}{changed}: "
        f"{score.data.training_images:,} real training images, "
        f"{score.data.evaluation_images:,} evaluation images"
    )
    spaces = fid_spaces(section)
    tables = (accuracies(section, spaces), *difference_tables(section))
    notes = (*([follows] if follows else []), *_notes(section, spaces))
    return Page(title, tables, tuple(conclusions(section)), notes)


def _notes(section: Section, spaces: Sequence[str]) -> Iterator[str]:
    if section.apart:
        yield section.apart
    yield from section.notes
    yield (
        f"Another draw of {section.first.data.evaluation_images:,} evaluation images would move overall by "
        f"about ±{_largest_images_ci95(section):.1f}; these are the same for all."
    )
    if tells_cost(section.rows):
        tokens = any(row.score.release and row.score.release.learning for row in section.rows)
        counted = "all draws and learned tokens" if tokens else "all draws"
        yield f"TFLOP: what sampling all images of a release took, {counted} counted (docs/scoring.md)."
    if spaces:
        told = [f"{head}: {space}" for head, space in zip(fid_heads(spaces), spaces, strict=True)]
        yield f"Feature space of {', '.join(told)}."
    several = [row for row in section.rows if len(row.files) > 1]
    if several:
        count, seeds = len(several[0].files), several[0].seeds
        yield f"Runs of {several[0].runs}: {count} releases or choices of shots, each trained {seeds} times."
    for table in dict.fromkeys(item.table.citation for item in section.published):
        yield _about(next(item for item in section.published if item.table.citation == table))


def _about(item: Published) -> str:
    average = {
        "images": "overall is over images",
        "classes": "overall is a mean of per-class accuracies, as class_mean of a score",
    }
    differs = f"; what differs: {item.table.differs}" if item.table.differs else ""
    told = f"{item.table.network}; {average[item.table.average]}{differs}"
    return f"Published in {item.table.citation}: {told}."


def _largest_images_ci95(section: Section) -> float:
    return 100 * max(row.accuracy.overall.images_ci95 for row in section.rows)
