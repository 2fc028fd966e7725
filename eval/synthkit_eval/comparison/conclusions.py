"""What the differences of a comparison show, what they do not, and how small a difference could be seen.

As tables, and in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit_eval.comparison.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.differences import Difference, Section

_KINDS = {True: "contrast fixed beforehand", False: "difference in points"}


def difference_tables(section: Section) -> Iterator[Table]:
    """Yield a table of the contrasts that were fixed beforehand, and one of the other differences."""
    for declared, head in _KINDS.items():
        found = [d for d in section.differences if d.declared is declared]
        if found:
            yield _table(found, head)


def _table(found: Sequence[Difference], head: str) -> Table:
    parts = [d.part for d in found]
    several = set(parts) != {"overall"}
    columns = (
        Column(head, "left"),
        Column("compared with", "left"),
        *((Column("of", "left"),) if several else ()),
        Column("difference"),
        Column("95 % interval"),
        Column("p, corrected"),
        Column("shown"),
        Column("visible from"),
    )
    rows = (
        (
            d.mine.name,
            d.baseline.name,
            *((d.part.replace("_", " "),) if several else ()),
            f"{d.points:+.2f}",
            "{:+.2f} to {:+.2f}".format(*d.interval),
            _p(d.p),
            "yes" if d.shown else "no",
            f"±{d.visible:.1f}",
        )
        for d in found
    )
    return Table(columns, tuple(rows))


def conclusions(section: Section) -> Iterator[str]:
    """Yield sentences: what is shown, and what is not."""
    for declared in (True, False):
        found = [d for d in section.differences if d.declared is declared]
        if not found:
            continue
        kind = "contrasts fixed beforehand" if declared else "differences"
        family = f"among {found[0].family} {kind}" if found[0].family > 1 else "a single comparison"
        shown = [d for d in found if d.shown]
        if shown:
            yield f"Shown ({family}): {'; '.join(map(_sentence, shown))}."
        hidden = [d for d in found if not d.shown]
        if hidden:
            yield f"Not shown ({family}): {'; '.join(map(_open, hidden))}."


def legend(sections: Sequence[Section]) -> Iterator[str]:
    """Yield how to read the differences."""
    found = [d for section in sections for d in section.differences]
    if not found:
        return
    yield (
        "Differences are paired by evaluation image. Their 95 % intervals cover another draw of the images "
        "and of the runs: of training seeds, and of releases or choices of shots where there are several."
    )
    yield (
        "`p, corrected` is corrected for the number of comparisons (Holm); below 0.05 a difference is shown. "
        "`visible from` is the difference that 80 % of repetitions would show. Where runs are few, p is more "
        "careful than the interval, so an interval without 0 may be `not shown` even of a single comparison."
    )
    if not all(d.estimate.over_runs for d in found):
        yield "A difference of single runs knows nothing of how runs vary: its interval is over images alone."
    if any(len(d.mine.files) == 1 and d.mine.score.release is not None for d in found):
        yield "Rows of one release speak of that release: another seed may make a better or a worse one."


def _sentence(d: Difference) -> str:
    better = "better" if d.points > 0 else "worse"
    low, high = sorted(abs(end) for end in d.interval)
    return (
        f"{d.mine.name} is {abs(d.points):.1f} points {better} than {d.baseline.name}{_of(d)} "
        f"({low:.1f} to {high:.1f}; p {_relation(d.p)})"
    )


def _open(d: Difference) -> str:
    return f"{d.mine.name} against {d.baseline.name}{_of(d)} ({d.points:+.1f}; visible from {d.visible:.1f})"


def _of(d: Difference) -> str:
    return "" if d.part == "overall" else f" in {d.part.replace('_', ' ')}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _relation(value: float) -> str:
    return _p(value) if value < 0.001 else f"= {_p(value)}"
