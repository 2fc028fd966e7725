"""A score in words: what was trained on what, its accuracies with their intervals, its set metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit_eval.score import Score


def told(score: Score) -> str:
    """Return a score as `synthkit eval` prints it."""
    return "\n".join(
        [_how(score), "             accuracy   ± seeds   ± images", *_accuracies(score), *_sets(score)]
    )


def _how(score: Score) -> str:
    protocol = score.protocol
    second_stage = protocol.settings.get("decouple") or {}
    epochs = protocol.settings["epochs"] + second_stage.get("epochs", 0)
    return printable(
        f"{score.name}, trained on {score.trained_on} images by {protocol.name} "
        f"({protocol.settings['network']}, {_count(epochs, 'epoch')}, "
        f"{_count(len(score.seeds), 'seed')}), tested on {score.data.evaluation_images:,} images"
    )


def _accuracies(score: Score) -> Iterator[str]:
    for part, value in score.accuracy:
        # Where every class has as many evaluation images, both are the same.
        if value is not None and (part != "class_mean" or value.mean != score.accuracy.overall.mean):
            seeds = "–" if value.ci95 is None else f"{value.ci95:.1%}"
            yield f"  {part:<10} {value.mean:8.1%}  {seeds:>8}  {value.images_ci95:9.1%}"


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
