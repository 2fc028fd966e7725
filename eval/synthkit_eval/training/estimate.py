"""How long a scoring will take, from one step on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch  # noqa: TID253 (nothing imports this module but training)

from synthkit.errors import ScoreError
from synthkit.system.progress import duration
from synthkit_eval.training.minibatch import Minibatch
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.stages import stages_of
from synthkit_eval.training.trainer import Trainer

if TYPE_CHECKING:
    from synthkit_eval.training.task import Task

# Enough images to stand for a minibatch, few enough to be timed within seconds.
_IMAGES = 8
LONG_S = 24 * 3600


def seconds_of(task: Task, runs: int) -> float:
    """Return the seconds that so many training runs take here, from the time of one small minibatch."""
    protocol = task.protocol
    images = min(_IMAGES, protocol.batches.size)
    network = make_network(protocol.model_copy(update={"pretrained": False}), task.classes).to(task.device)
    trainer = Trainer(task, stages_of(protocol)[0], network, 0)
    # GLMC has a partner for each image.
    shown = images if protocol.glmc is None else 2 * images
    inputs = torch.rand(shown, 3, protocol.images.size, protocol.images.size, device=task.device)
    batch = Minibatch(inputs, torch.zeros(shown, dtype=torch.int64, device=task.device), None, 0)
    trainer.begin_epoch(0)
    trainer.step(batch, 0.0)
    started = time.monotonic()
    trainer.step(batch, 0.0)
    per_image = (time.monotonic() - started) / images
    return per_image * protocol.batches.size * task.steps * protocol.all_epochs * runs


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
