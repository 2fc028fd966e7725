"""Which level of synthetic images each epoch trains on, and which images have it.

Source: Liang et al. 2025, Diffusion Curriculum (arXiv 2410.13674), algorithm 1 and appendix A.4.1: an epoch
has the synthetic images of one level and all real ones; the level goes from the least image guidance to the
most, with as many epochs at each; then come real images alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ScoreError
from synthkit.levels import several
from synthkit.release.record_table import RecordTables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.sections.curriculum import Curriculum
    from synthkit_eval.training.synthetic_images import SyntheticImages


@dataclass(frozen=True, slots=True)
class LevelsOfEpochs:
    """The level of each synthetic image, `images` (N,), and the one that each epoch of a run trains on.

    None in `epochs` stands for real images alone.
    """

    images: NDArray[np.float64]
    epochs: tuple[float | None, ...]

    def training(self, level: float | None) -> NDArray[np.int64]:
        """Return which synthetic images train in epochs of a level, as places in the order of `images`."""
        return np.flatnonzero(self.images == level) if level is not None else np.empty(0, dtype=np.int64)

    def real_alone(self, epochs: int) -> int:
        """Return how many of the first epochs of a run have real images alone."""
        return self.epochs[:epochs].count(None)


def schedule(curriculum: Curriculum, levels: Sequence[float], epochs: int) -> tuple[float | None, ...]:
    """Return the level of each epoch, None for real images alone (algorithm 1's G(e), and what follows it).

    Every level has as many epochs as another; where they do not divide, the first ones have one more.
    """
    last = curriculum.last_epochs(epochs)
    # The more a real image is noised, the less it guides.
    falls = (curriculum.over == "strength") is (curriculum.order == "diverse-to-specific")
    each, rest = divmod(epochs - last, len(levels))
    found: list[float | None] = []
    for place, level in enumerate(sorted(levels, reverse=falls)):
        found += [level] * (each + (place < rest))
    return (*found, *[None] * last)


def check_levels(protocol: Protocol, recipe: Recipe) -> None:
    """Raise ScoreError if the images of a recipe do not have the levels that a curriculum needs."""
    curriculum = protocol.curriculum
    if curriculum is None:
        return
    over = curriculum.over
    amount = getattr(recipe.conditioning, over)
    levels = several(amount)
    if len(levels) < 2:
        has = "none" if amount is None else "any of a range" if isinstance(amount, tuple) else "one alone"
        raise ScoreError(
            f"curriculum: needs several levels of {over}, and {recipe.name} has {has}; build it with "
            f"conditioning.{over}: {{levels: [...]}}, or leave the curriculum out: --set curriculum=null"
        )
    mixed = protocol.epochs - curriculum.last_epochs(protocol.epochs)
    if mixed < len(levels):
        raise ScoreError(
            f"curriculum: {recipe.name} has {len(levels)} levels of {over}, each of an epoch or more, "
            f"and only {mixed} of {protocol.epochs} epochs have synthetic images: the last ones have real "
            "images alone; raise epochs, or lower curriculum.real_epochs"
        )


def levels_of(
    protocol: Protocol, recipe: Recipe, folder: Path, manifest: Manifest, images: SyntheticImages
) -> LevelsOfEpochs | None:
    """Return the levels of the images that train, as their records say; None without a curriculum.

    Raises ScoreError if no image has one of the levels, ReleaseError if the records cannot be read.
    """
    curriculum = protocol.curriculum
    if curriculum is None:
        return None
    over = curriculum.over
    parts = [part.column(over).to_numpy() for part in RecordTables(folder, manifest).parts([over])]
    own = np.concatenate(parts)[images.numbers]
    levels = several(getattr(recipe.conditioning, over))
    missing = [level for level in levels if not (own == level).any()]
    if missing:
        raise ScoreError(
            f"curriculum: none of the {len(own):,} images of {manifest.name} that train has {over} "
            f"{missing[0]:g}; use more of them (batches.synthetic_per_class), or build more"
        )
    return LevelsOfEpochs(own, schedule(curriculum, levels, protocol.epochs))
