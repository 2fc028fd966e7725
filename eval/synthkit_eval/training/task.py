"""What is trained and tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit_eval.training.stages import stages_of

if TYPE_CHECKING:
    from synthkit.sources.pool import RealImages
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.accuracy import Grouping
    from synthkit_eval.training.curriculum import LevelsOfEpochs
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.loader import TrainingImages
    from synthkit_eval.training.stages import Stage


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained and tested: data, protocol and machine, the same for every seed.

    `real` is the number of real training images of each class, `synthetic` that of all synthetic ones,
    `steps` that of minibatches in an epoch, and `workers` that of processes which read images. `validation`
    are the images that choose the epoch, if the protocol has any, `levels` those that each epoch trains on,
    if it has a curriculum and there are synthetic images.
    """

    protocol: Protocol
    training: TrainingImages
    evaluation: RealImages
    grouping: Grouping
    real: tuple[int, ...]
    synthetic: int
    steps: int
    device: str
    world: World
    workers: int
    validation: RealImages | None = None
    levels: LevelsOfEpochs | None = None

    def images(self, epochs: int) -> int:
        """Return how many images the first `epochs` of a run have."""
        stages = stages_of(self.protocol)
        behind = ((stage, max(0, min(epochs - stage.first, stage.protocol.epochs))) for stage in stages)
        # GLMC has a partner for each image.
        shown = sum(
            count * self._images_of_epoch(stage) * (1 if stage.protocol.glmc is None else 2)
            for stage, count in behind
        )
        return shown + self._more_of_real(epochs)

    def _more_of_real(self, epochs: int) -> int:
        """Return how many more images the first epochs have where some have real ones alone."""
        if self.levels is None:
            return 0
        more = self.steps * self.protocol.batches.size - self._images_of_epoch(stages_of(self.protocol)[0])
        return self.levels.real_alone(epochs) * more * (1 if self.protocol.glmc is None else 2)

    def _images_of_epoch(self, stage: Stage) -> int:
        batches = self.protocol.batches
        if self.synthetic and batches.mixing == "pass" and self.world.size == 1 and stage.classifier is None:
            return self.synthetic + batches.shares.real_beside(self.synthetic)
        return self.steps * batches.size

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.real)
