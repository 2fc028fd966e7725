"""A score in words: what was trained on what, its accuracies with their intervals, its set metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS
from synthkit.system.names import printable

# Where all runs have the same accuracy.
EQUAL = "equal"
_TWO, _ROUNDING = 2, 1e-9

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit_eval.score import Score


def told(score: Score) -> str:
    """Return a score as `synthkit eval` prints it."""
    head = "             accuracy   ± seeds   ± images"
    return "\n".join([_how(score), head, *_accuracies(score), *_equal(score), *_sets(score)])


def _how(score: Score) -> str:
    protocol = score.protocol
    second_stage = protocol.settings.get("decouple") or {}
    epochs = protocol.settings["epochs"] + second_stage.get("epochs", 0)
    return printable(
        f"{score.name}, trained on {kinds_of(score)} images by {protocol.name} "
        f"({protocol.settings['network']}, {_count(epochs, 'epoch')}, "
        f"{_count(len(score.seeds), 'seed')}), tested on {score.data.evaluation_images:,} images"
    )


def kinds_of(score: Score) -> str:
    """Return what kinds of images were trained on: those of a release that retrieves are real ones, too."""
    method = None if score.release is None else METHODS.get(score.release.method)
    retrieves = method is not None and method.retrieves
    return score.trained_on.replace("synthetic", "retrieved") if retrieves else score.trained_on


def _accuracies(score: Score) -> Iterator[str]:
    for part, value in score.accuracy:
        # Where every class has as many evaluation images, both are the same.
        if value is not None and (part != "class_mean" or value.mean != score.accuracy.overall.mean):
            seeds = "–" if value.ci95 is None else EQUAL if _is_nothing(value.ci95) else f"{value.ci95:.1%}"
            yield f"  {part:<10} {value.mean:8.1%}  {seeds:>8}  {value.images_ci95:9.1%}"


def _equal(score: Score) -> Iterator[str]:
    """Say what an interval of nothing means: so few runs can agree by chance."""
    if any(value is not None and _is_nothing(value.ci95) for _, value in score.accuracy):
        runs = "both runs are" if len(score.seeds) == _TWO else f"all {len(score.seeds)} runs are"
        yield f"  {EQUAL}: {runs} right equally often there, by chance; it does not say that others would be"


def _is_nothing(ci95: float | None) -> bool:
    """Return whether all runs are equal: the mean of equal fractions is rounded."""
    return ci95 is not None and ci95 < _ROUNDING


def _sets(score: Score) -> Iterator[str]:
    if score.set_metrics is None:
        return
    sets = score.set_metrics.overall
    numbers = [("FID", sets.fid), ("KID", sets.kid), ("coverage", sets.coverage), ("Vendi", sets.vendi)]
    found = ", ".join(f"{name} {value:.4g}" for name, value in numbers if value is not None)
    yield printable(f"  {found} ({score.set_metrics.features})")
    for note in score.set_metrics.notes:
        yield printable(f"  note: {note}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
