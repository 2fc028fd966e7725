"""Train a network for the epochs of one stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torch.nn.parallel import DistributedDataParallel  # noqa: TID253

from synthkit.errors import ScoreError
from synthkit_eval.training.augmentation import Colours
from synthkit_eval.training.glmc import WithHeads
from synthkit_eval.training.loader import training_batches
from synthkit_eval.training.minibatch import Minibatch
from synthkit_eval.training.networks import begin_training
from synthkit_eval.training.objective import make_objective
from synthkit_eval.training.orders import Among, ByLevel, Paired, Weighted, class_weights, make_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from synthkit_eval.sections.images import Images
    from synthkit_eval.sections.optimizer import Optimizer
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.loader import Loaded
    from synthkit_eval.training.orders import Order
    from synthkit_eval.training.stages import Stage
    from synthkit_eval.training.task import Task


class Inputs:
    """Turns loaded pixels into what a network takes, on its device."""

    def __init__(self, images: Images, device: str) -> None:
        self._colours, self._device = Colours(images, device), device

    def __call__(self, loaded: Loaded) -> Tensor:
        """Return float32 (N, 3, H, W); on a CPU the next call overwrites it."""
        values = self._colours(loaded.pixels, loaded.uniform if loaded.uniform.size else None)
        return values if self._device == "cpu" else values.to(memory_format=torch.channels_last)


class Trainer:
    """A network in one stage of its training, with its optimiser and its minibatches.

    `module` is what is trained: the network, and what is trained beside it.
    """

    def __init__(self, task: Task, stage: Stage, network: nn.Module, seed: int) -> None:
        self._task, self._stage, self._network, self._seed = task, stage, network, seed
        protocol = stage.protocol
        self.module = network
        if protocol.glmc is not None:
            self.module = WithHeads(network, protocol.glmc.width).to(task.device)
        self.optimizer = make_optimizer(protocol.optimizer, self.module)
        self._parallel = _parallel(self.module, task.world, task.device)
        self._objective = make_objective(protocol, task.real, task.device)
        self._inputs = Inputs(protocol.images, task.device)
        self._order = order_of(task, stage, seed)

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate in an epoch of the run."""
        protocol = self._stage.protocol
        return learning_rate(protocol.optimizer, epoch - self._stage.first, protocol.epochs)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch of the run, and training mode, where it is not frozen."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch)
        self.module.train()
        begin_training(self._network, self._stage.protocol)

    def train(self, epoch: int, advance: Callable[[float], None]) -> float:
        """Train on the minibatches of an epoch of the run, and return their mean loss."""
        task, stage = self._task, self._stage
        self.begin_epoch(epoch)
        total = torch.zeros(1, device=task.device)
        progress = (epoch - stage.first) / stage.protocol.epochs
        batches = training_batches(
            task.training, self._order, epoch=epoch, seed=self._seed, world=task.world, workers=task.workers
        )
        for loaded in batches:
            batch = self._minibatch(loaded)
            total += self.step(batch, progress)
            advance(len(batch.labels) * task.world.size)
        # Running statistics differ between processes, for each has seen its own images: the first decides.
        task.world.copy(self.module.buffers())
        return float(task.world.sum(total)) / (len(self._order) * task.world.size)

    def step(self, batch: Minibatch, progress: float) -> Tensor:
        """Change the weights by one minibatch, and return its loss; `progress` is the share of epochs behind.

        Raises ScoreError if it does not fit into the device's memory.
        """
        protocol, device = self._stage.protocol, self._task.device
        kind = torch.device(device).type
        mixed = protocol.mixed_precision and kind == "cuda"

        def forward(inputs: Tensor) -> Any:
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=mixed):
                return self._parallel(inputs)

        try:
            value = self._objective(forward, batch, progress)
            self.optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        except torch.OutOfMemoryError:
            raise ScoreError(
                f"{device}: is too small for minibatches of {protocol.batches.size} with this network; "
                "share them among several GPUs (torchrun), or --set batches.size="
            ) from None
        return value.detach()

    def _minibatch(self, loaded: Loaded) -> Minibatch:
        device, factor = self._task.device, self._stage.protocol.synthetic_weight
        weights = None
        if factor != 1 and loaded.synthetic is not None:
            weights = torch.where(loaded.synthetic, factor, 1.0).to(device)
        return Minibatch(self._inputs(loaded), loaded.labels.to(device), weights, loaded.seed)


def learning_rate(optimizer: Optimizer, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch (from 0), which falls as a cosine and is 0 after the last.

    A schedule that is `constant` keeps the first one.
    """
    if optimizer.schedule == "constant":
        return optimizer.learning_rate
    return optimizer.learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2


def order_of(task: Task, stage: Stage, seed: int) -> Order:
    """Return which images the minibatches of a stage hold."""
    batches, levels = stage.protocol.batches, task.levels
    if stage.classifier is not None:
        every_class = np.ones(task.classes)
        weights = class_weights(task.training.labels, task.synthetic, batches.real, every_class)
        return Weighted(weights, batches.size, task.steps, seed)
    real = len(task.training) - task.synthetic
    if levels is None:
        order = make_order(batches, real, task.synthetic, task.steps, seed, task.world)
        return _paired(order, task, stage, seed, task.training.labels, task.synthetic)
    orders: dict[float | None, Order] = {}
    for level in set(levels.epochs):
        some = levels.training(level)
        # As many minibatches as without levels, of fewer images, which are shown more often.
        order = make_order(batches, real, len(some), task.steps, seed, task.world, shown=task.synthetic)
        indices = np.concatenate([np.arange(real), real + some])
        labels = task.training.labels[indices]
        orders[level] = Among(_paired(order, task, stage, seed, labels, len(some)), indices)
    return ByLevel(orders, levels.epochs)


def _paired(
    order: Order, task: Task, stage: Stage, seed: int, labels: NDArray[np.int64], synthetic: int
) -> Order:
    """Return an order with partners for GLMC; `labels` (N,) are those of the images it is over."""
    batches, glmc = stage.protocol.batches, stage.protocol.glmc
    if glmc is None:
        return order
    # An image of a class with n real ones in proportion to n^-k: the class in proportion to n^(1 - k).
    often = np.asarray(task.real, dtype=np.float64) ** (1 - glmc.partners)
    weights = class_weights(labels, synthetic, batches.real, often)
    return Paired(order, Weighted(weights, batches.size, task.steps, seed))


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
