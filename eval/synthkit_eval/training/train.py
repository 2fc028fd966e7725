"""Train and test one classifier by a protocol, epoch by epoch; a run that was killed goes on.

A checkpoint is written after every epoch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torch.nn import functional as F  # noqa: TID253
from torch.nn.parallel import DistributedDataParallel  # noqa: TID253

from synthkit.errors import ScoreError
from synthkit_eval.score import ACCURACIES, Epoch, SeedScore
from synthkit_eval.training import checkpoint
from synthkit_eval.training.accuracy import per_class
from synthkit_eval.training.augmentation import Colours
from synthkit_eval.training.loader import EvaluationImages, evaluation_batches, make_order, training_batches
from synthkit_eval.training.losses import make_loss
from synthkit_eval.training.networks import begin_training, make_network
from synthkit_eval.training.predictions import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from synthkit.sources.pool import RealImages
    from synthkit_eval.protocol import Optimizer, Protocol
    from synthkit_eval.training.accuracy import Grouping
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.loader import Loaded, Order, TrainingImages
    from synthkit_eval.training.losses import Loss

# Evaluation images that fit are decoded once for all epochs.
_KEPT_BYTES = 1 << 30
_EVALUATION_BATCH = 256


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained and tested: data, protocol and machine, the same for every seed.

    `real` is the number of real training images of each class, `synthetic` that of all synthetic ones,
    `steps` that of minibatches in an epoch, and `workers` that of processes which read images. `validation`
    are the images that choose the epoch, if the protocol has any.
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

    @property
    def images(self) -> int:
        """How many images an epoch has."""
        batches = self.protocol.batches
        if self.synthetic and batches.mixing == "pass" and self.world.size == 1:
            return self.synthetic + batches.shares.real_beside(self.synthetic)
        return self.steps * batches.size

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.real)


def learning_rate(optimizer: Optimizer, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch (from 0), which falls as a cosine and is 0 after the last.

    A schedule that is `constant` keeps the first one.
    """
    if optimizer.schedule == "constant":
        return optimizer.learning_rate
    return optimizer.learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def counted(history: Sequence[Mapping[str, Any]], report: str) -> int:
    """Return the epoch (from 0) that counts: the last, or the first of highest accuracy.

    For `best` that is the accuracy on the evaluation images, for `validation` that on the validation images.
    """
    if report == "last":
        return len(history) - 1
    measure = "overall" if report == "best" else "validation"
    return int(np.argmax([row[measure] for row in history]))


def forget_predictions(history: Sequence[dict[str, Any]]) -> None:
    """Drop the predictions of the epochs that cannot count any more: those of all images are large."""
    reports = ["last", "best", *(["validation"] if history[0]["validation"] is not None else [])]
    kept = {counted(history, report) for report in reports}
    for epoch, row in enumerate(history):
        if epoch not in kept:
            row.pop("predictions", None)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: `history` holds the measurements after each epoch, `git` the commit of the code.

    Rows of epochs that may count have the predictions of all evaluation images, as `packed` writes them.
    """

    seed: int
    history: list[dict[str, Any]]
    git: str = ""

    @property
    def seconds(self) -> float:
        """Time of training and testing, also before the run was stopped and continued."""
        return float(sum(row["seconds"] for row in self.history))

    def counted(self, report: str) -> int:
        """Return the epoch (from 0) that counts: the last, or the first of highest accuracy."""
        return counted(self.history, report)

    def per_class(self, report: str) -> NDArray[np.float64]:
        """Return the accuracy of each class (C,) in the epoch that counts."""
        return np.asarray(self.history[self.counted(report)]["per_class"])

    def loss(self, report: str) -> float:
        """Return the cross-entropy on the evaluation images in the epoch that counts."""
        return float(self.history[self.counted(report)]["loss"])

    def predictions(self, report: str) -> NDArray[np.uint16]:
        """Return the class that the network finds in each evaluation image (N,) in the epoch that counts."""
        return unpacked(self.history[self.counted(report)]["predictions"])

    def epochs(self) -> list[Epoch]:
        """Return the measurements of every epoch."""
        return [Epoch(**{key: row[key] for key in Epoch.model_fields}) for row in self.history]

    def score(self, report: str) -> SeedScore:
        """Return the run as a score file states it."""
        epoch = self.counted(report)
        parts = {part: self.history[epoch][part] for part in ACCURACIES}
        return SeedScore(seed=self.seed, epoch=epoch + 1, **parts, seconds=round(self.seconds, 2))


def train(task: Task, seed: int, state: Path, advance: Callable[[float], None]) -> Trained:
    """Train and test one classifier, from its last checkpoint if the file `state` holds one.

    `advance` is called with the number of images that were trained on. On CPUs of one kind the same seed
    gives the same run, whether it was stopped or not. Raises ScoreError if training diverges, or if several
    processes have different checkpoints.
    """
    run = _Run(task, seed)
    history = checkpoint.restore(state, run.network, run.optimizer)
    if task.world.agree([len(history)]) != [len(history)]:
        raise ScoreError(f"{state}: is not the same for all processes: they need one shared folder")
    for epoch in range(len(history), task.protocol.epochs):
        history.append(run.epoch(epoch, advance))
        forget_predictions(history)
        if task.world.first:
            checkpoint.save(state, run.network, run.optimizer, history)
        task.world.wait()
    return Trained(seed, history)


class _Run:
    """A network in training, with its optimiser and its data."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._seed = task, seed
        protocol = task.protocol
        torch.manual_seed(seed)
        self.network = make_network(protocol, task.classes).to(task.device)
        if task.device != "cpu":
            self.network = self.network.to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(protocol.optimizer, self.network)
        self._parallel = _parallel(self.network, task.world, task.device)
        self._loss = make_loss(protocol.loss, task.real, task.device)
        self._colours = Colours(protocol.images, task.device)
        self._order = order_of(task, seed)
        self._evaluation = _TestImages(task.evaluation, task)
        self._validation = None if task.validation is None else _TestImages(task.validation, task)

    def epoch(self, epoch: int, advance: Callable[[float], None]) -> dict[str, Any]:
        """Train for an epoch, test, and return the measurements."""
        started, task = time.monotonic(), self._task
        # What the network draws (dropout) follows from seed, epoch and process, also in a continued run.
        own = np.random.SeedSequence([self._seed, epoch, task.world.rank])
        torch.manual_seed(int(own.generate_state(1)[0]))
        rate = learning_rate(task.protocol.optimizer, epoch, task.protocol.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        training_loss = self._train(epoch, advance)
        # Running statistics differ between processes, for each has seen its own images: the first decides.
        task.world.copy(self.network.buffers())
        loss, predictions = self._test(self._evaluation)
        if not math.isfinite(training_loss + loss):
            raise ScoreError(
                f"seed {self._seed}: training diverged in epoch {epoch + 1}: its loss is {training_loss}; "
                "lower it with --set optimizer.learning_rate="
            )
        classes = per_class(predictions, task.evaluation.listing.labels, task.classes)
        parts = task.grouping.parts(classes)
        return {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "training_loss": training_loss,
            "loss": loss,
            **parts,
            "validation": self._validation_accuracy(),
            "per_class": classes.tolist(),
            "predictions": packed(predictions),
            "seconds": time.monotonic() - started,
        }

    def _train(self, epoch: int, advance: Callable[[float], None]) -> float:
        """Train on the minibatches of an epoch and return their mean loss."""
        task = self._task
        begin_training(self.network, task.protocol)
        total = torch.zeros(1, device=task.device)
        batches = training_batches(
            task.training, self._order, epoch=epoch, seed=self._seed, world=task.world, workers=task.workers
        )
        for loaded in batches:
            inputs, labels = self._inputs(loaded), loaded.labels.to(task.device)
            total += step(self._parallel, self.optimizer, self._loss, inputs, labels, task)
            advance(len(labels) * task.world.size)
        return float(task.world.sum(total)) / (len(self._order) * task.world.size)

    def _inputs(self, loaded: Loaded) -> Tensor:
        uniform = loaded.uniform if loaded.uniform.size else None
        values = self._colours(loaded.pixels, uniform)
        return values if self._task.device == "cpu" else values.to(memory_format=torch.channels_last)

    def _validation_accuracy(self) -> float | None:
        """Return the accuracy over all validation images; None without any."""
        if self._validation is None:
            return None
        _, predictions = self._test(self._validation)
        return float((predictions == self._validation.labels).mean())

    def _test(self, images: _TestImages) -> tuple[float, NDArray[np.uint16]]:
        """Return the mean cross-entropy on real images and the predicted class of each, (N,)."""
        task = self._task
        self.network.eval()
        found: list[Tensor] = []
        loss = torch.zeros(1, dtype=torch.float64)
        with torch.no_grad():
            for loaded in images:
                logits = self.network(self._inputs(loaded)).float()
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


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    inputs: Tensor,
    labels: Tensor,
    task: Task,
) -> Tensor:
    """Change the weights by one minibatch, and return its loss.

    Raises ScoreError if it does not fit into the device's memory.
    """
    device = torch.device(task.device).type
    mixed = task.protocol.mixed_precision and device == "cuda"
    try:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mixed):
            logits = network(inputs)
        value = loss(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    except torch.OutOfMemoryError:
        raise ScoreError(
            f"{task.device}: is too small for minibatches of {task.protocol.batches.size} with this network; "
            "share them among several GPUs (torchrun), or --set batches.size="
        ) from None
    return value.detach()


def order_of(task: Task, seed: int) -> Order:
    """Return which images the minibatches of a run hold."""
    first = len(task.training) - task.synthetic
    return make_order(task.protocol.batches, first, task.synthetic, task.steps, seed, task.world)


def make_optimizer(config: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of all weights that require a gradient."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    match config.name:
        case "sgd":
            return torch.optim.SGD(weights, lr=rate, momentum=config.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(weights, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)


def _parallel(network: nn.Module, world: World, device: str) -> nn.Module:
    if world.size == 1:
        return network
    ids = [device] if device.startswith("cuda") else None
    return DistributedDataParallel(network, device_ids=ids)
