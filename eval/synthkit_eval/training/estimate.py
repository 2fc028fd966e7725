"""How long a scoring will take, from one step on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch  # noqa: TID253 (nothing imports this module but training)

from synthkit.errors import ScoreError
from synthkit.system.progress import duration
from synthkit_eval.training.losses import make_loss
from synthkit_eval.training.networks import begin_training, make_network
from synthkit_eval.training.train import make_optimizer, step

if TYPE_CHECKING:
    from synthkit_eval.training.train import Task

# Enough images to stand for a minibatch, few enough to be timed within seconds.
_IMAGES = 8
LONG_S = 24 * 3600


def seconds_of(task: Task, runs: int) -> float:
    """Return the seconds that so many training runs take here, from the time of one small minibatch."""
    protocol = task.protocol
    images = min(_IMAGES, protocol.batches.size)
    network = make_network(protocol.model_copy(update={"pretrained": False}), task.classes).to(task.device)
    begin_training(network, protocol)
    optimizer, loss = (
        make_optimizer(protocol.optimizer, network),
        make_loss(protocol.loss, task.real, task.device),
    )
    inputs = torch.rand(images, 3, protocol.images.size, protocol.images.size, device=task.device)
    labels = torch.zeros(images, dtype=torch.int64, device=task.device)
    step(network, optimizer, loss, inputs, labels, task)
    started = time.monotonic()
    step(network, optimizer, loss, inputs, labels, task)
    per_image = (time.monotonic() - started) / images
    return per_image * protocol.batches.size * task.steps * protocol.epochs * runs


def check_patience(task: Task, runs: int) -> None:
    """Raise ScoreError if so many training runs would take more than a day on a CPU."""
    if task.device != "cpu":
        return
    seconds = seconds_of(task, runs)
    if seconds > LONG_S:
        raise ScoreError(
            f"{task.protocol.name}: {runs} training runs take about {duration(seconds)} on this CPU; "
            "use a GPU, or say --yes to begin all the same"
        )
