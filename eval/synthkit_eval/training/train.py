"""Train and test one classifier by a protocol, epoch by epoch; a run that was killed goes on.

A checkpoint is written after every epoch.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torch.nn import functional as F  # noqa: TID253

from synthkit.errors import ScoreError
from synthkit_eval.training import checkpoint
from synthkit_eval.training.accuracy import per_class
from synthkit_eval.training.loader import EvaluationImages, evaluation_batches
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.predictions import packed
from synthkit_eval.training.stages import begin_stage, stages_of
from synthkit_eval.training.trained import Trained, counted, forget_predictions
from synthkit_eval.training.trainer import Inputs, Trainer
from synthkit_eval.training.weights import save_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from synthkit.sources.pool import RealImages
    from synthkit_eval.training.loader import Loaded
    from synthkit_eval.training.task import Task

# Evaluation images that fit are decoded once for all epochs.
_KEPT_BYTES = 1 << 30
_EVALUATION_BATCH = 256


def train(
    task: Task, seed: int, state: Path, advance: Callable[[float], None], weights: Path | None = None
) -> Trained:
    """Train and test one classifier, from its last checkpoint if the file `state` holds one.

    The file `weights`, if one is named, gets the network of the epoch that counts. `advance` is called with
    the number of images that were trained on. On CPUs of one kind the same seed gives the same run, whether
    it was stopped or not. Raises ScoreError if training diverges, or if several processes have different
    checkpoints.
    """
    behind = checkpoint.epochs_in(state)
    if task.world.agree([behind]) != [behind]:
        raise ScoreError(f"{state}: is not the same for all processes: they need one shared folder")
    run = _Run(task, seed)
    history = run.restore(state) if behind else []
    for epoch in range(behind, task.protocol.all_epochs):
        history.append(run.epoch(epoch, advance))
        forget_predictions(history)
        if task.world.first:
            # Before the checkpoint: after a kill between them the epoch is trained again, to the same.
            if weights is not None and counted(history, task.protocol.report) == epoch:
                run.keep(weights)
            run.save(state, history)
        task.world.wait()
    return Trained(seed, history)


class _Run:
    """A network, the stage that its training is in, and the images that it is tested on."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed, self._stages = task, seed, stages_of(task.protocol)
        torch.manual_seed(seed)
        self._network = make_network(task.protocol, task.classes).to(task.device)
        if task.device != "cpu":
            self._network = self._network.to(memory_format=torch.channels_last)
        self._stage = self._stages[0]
        self._trainer = Trainer(task, self._stage, self._network, seed)
        self._inputs = Inputs(task.protocol.images, task.device)
        self._evaluation = _TestImages(task.evaluation, task)
        self._validation = None if task.validation is None else _TestImages(task.validation, task)

    def restore(self, state: Path) -> list[dict[str, Any]]:
        """Go on from a saved state, and return the measurements of the epochs behind it."""
        self._enter(checkpoint.epochs_in(state) - 1)
        return checkpoint.restore(state, self._trainer.module, self._trainer.optimizer)

    def save(self, state: Path, history: list[dict[str, Any]]) -> None:
        """Write the state of the training, and the measurements of its epochs."""
        checkpoint.save(state, self._trainer.module, self._trainer.optimizer, history)

    def keep(self, weights: Path) -> None:
        """Write the network as it is now."""
        save_weights(weights, self._network, self._task, self._seed)

    def _enter(self, epoch: int) -> None:
        """Begin the stage that an epoch is of, unless it is there already."""
        stage = next(stage for stage in reversed(self._stages) if epoch >= stage.first)
        if stage is self._stage:
            return
        # The first epoch of a stage may be trained in a continued run, which draws the same weights.
        torch.manual_seed(int(np.random.SeedSequence([self._seed, stage.first]).generate_state(1)[0]))
        begin_stage(self._network, stage)
        self._stage = stage
        self._trainer = Trainer(self._task, stage, self._network, self._seed)

    def epoch(self, epoch: int, advance: Callable[[float], None]) -> dict[str, Any]:
        """Train for an epoch, test, and return the measurements."""
        started, task = time.monotonic(), self._task
        self._enter(epoch)
        # What the network draws (dropout) follows from seed, epoch and process, also in a continued run.
        own = np.random.SeedSequence([self._seed, epoch, task.world.rank])
        torch.manual_seed(int(own.generate_state(1)[0]))
        training_loss = self._trainer.train(epoch, advance)
        loss, predictions = self._test(self._evaluation)
        if not math.isfinite(training_loss + loss):
            rate = task.protocol.optimizer.learning_rate
            raise ScoreError(
                f"seed {self._seed}: training diverged in epoch {epoch + 1}: its loss is {training_loss}, "
                f"that of evaluation {loss}; lower the learning rate, which is {rate:g}, for example with "
                f"--set optimizer.learning_rate={rate / 10:g}"
            )
        classes = per_class(predictions, task.evaluation.listing.labels, task.classes)
        parts = task.grouping.parts(classes)
        return {
            "epoch": epoch + 1,
            "stage": self._stages.index(self._stage) + 1,
            "learning_rate": self._trainer.learning_rate(epoch),
            "training_loss": training_loss,
            "loss": loss,
            **parts,
            "validation": self._validation_accuracy(),
            "per_class": classes.tolist(),
            "predictions": packed(predictions),
            "seconds": time.monotonic() - started,
        }

    def _validation_accuracy(self) -> float | None:
        """Return the accuracy over all validation images; None without any."""
        if self._validation is None:
            return None
        _, predictions = self._test(self._validation)
        return float((predictions == self._validation.labels).mean())

    def _test(self, images: _TestImages) -> tuple[float, NDArray[np.uint16]]:
        """Return the mean cross-entropy on real images and the predicted class of each, (N,)."""
        task = self._task
        self._network.eval()
        found: list[Tensor] = []
        loss = torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for loaded in images:
                logits = self._network(self._inputs(loaded)).float()
                loss += F.cross_entropy(logits.cpu().double(), loaded.labels, reduction="sum")
                found.append(logits.argmax(1))
        # Each process has tested its own images; the sum puts all of them together.
        predictions = torch.zeros(len(images.labels), dtype=torch.int64, device=task.device)
        if found:
            predictions[task.world.rank :: task.world.size] = torch.cat(found)
        total = loss if task.world.size == 1 else task.world.sum(loss.to(task.device))
        everything = task.world.sum(predictions).cpu().numpy().astype(np.uint16)
        return float(total) / len(images.labels), everything


class _TestImages:
    """Real images that a network is tested on after each epoch; those that fit are decoded once."""

    def __init__(self, real: RealImages, task: Task) -> None:
        self.labels = real.listing.labels
        self._images = EvaluationImages(real, task.protocol.images)
        self._task = task
        self._kept: list[Loaded] | None = None

    def __iter__(self) -> Iterator[Loaded]:
        task = self._task
        if self._kept is None:
            batches = evaluation_batches(self._images, _EVALUATION_BATCH, task.world, task.workers)
            size = len(self._images) * 3 * task.protocol.images.size**2
            if size > _KEPT_BYTES:
                yield from batches
                return
            self._kept = list(batches)
        yield from self._kept
