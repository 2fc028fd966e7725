"""The floating-point operations of an image, for the networks that are known; no weight is loaded.

`operations.json` states for each network what one row of an evaluation takes, and decoding, at any size: a
polynomial of the pixels, since convolutions and linear layers grow with them and attention with their square.
`python bench/flops.py --write` counts it on networks that hold no numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.conditioning import METHODS
from synthkit.generators import image_edge
from synthkit.generators.guidance_interval import runs_in
from synthkit.levels import spread_strengths
from synthkit.recipe.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.model import Model
    from synthkit.recipe.schema import Recipe

_FILE = Path(__file__).with_name("operations.json")
# Its scheduler evaluates the second step twice.
_TWICE = "pndm"
_MILLION = 1_000_000
# A step of learning goes through the denoiser and back; its weights stay as they are.
_THERE_AND_BACK = 2
# Where a model has the configuration of its denoiser, and what of it distinguishes the networks.
_DENOISERS = ("unet/config.json", "transformer/config.json")
SHAPE = (
    "_class_name",
    "block_out_channels",
    "down_block_types",
    "layers_per_block",
    "transformer_layers_per_block",
    "cross_attention_dim",
    "num_layers",
    "num_single_layers",
)


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Operations in TFLOP as `constant + linear * p + square * p²`, of p million pixels."""

    constant: float
    linear: float
    square: float

    def at(self, edge: int) -> float:
        """Return the TFLOP of an image with so many pixels an edge."""
        pixels = edge * edge / _MILLION
        return self.constant + self.linear * pixels + self.square * pixels * pixels


@dataclass(frozen=True, slots=True)
class Network:
    """A denoiser and its decoder: what a row of an evaluation takes, and the outer levels of it alone.

    `models` are the repositories that have it, `shape` is what distinguishes the denoiser's configuration,
    `pipeline` the diffusers class, `edge` its own in pixels.
    `halves` says whether guidance evaluates it on a second row.
    """

    name: str
    models: tuple[str, ...]
    shape: dict[str, Any]
    pipeline: str
    edge: int
    halves: bool
    evaluation: Polynomial
    outer: tuple[Polynomial, ...]
    decoding: Polynomial


@dataclass(frozen=True, slots=True)
class Work:
    """What sampling one image takes: evaluations, their rows, the rows of whole ones, and TFLOP in all.

    `operations` is None if the network is not known.
    """

    evaluations: int
    rows: int
    whole_rows: int
    operations: float | None


def network_of(model: Model, checkpoint: Checkpoint | None = None) -> Network | None:
    """Return the network of a recipe's model; None if it is not known.

    It is known by its name or, where its files are at hand, by the configuration of its denoiser: so are
    models that were trained further. The edge is then that which the files say.
    """
    named = next((network for network in networks() if model.id in network.models), None)
    return named if named or checkpoint is None else _by_files(checkpoint)


def _by_files(checkpoint: Checkpoint) -> Network | None:
    place = next((place for path, place in checkpoint.files.items() if path in _DENOISERS), None)
    if place is None:
        return None
    try:
        config = json.loads(place.read_bytes())
        shape = {name: config.get(name) for name in SHAPE}
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    found = next((network for network in networks() if network.shape == shape), None)
    edge = image_edge(checkpoint, Sampler())
    return found and replace(found, edge=edge or found.edge)


@cache
def networks() -> tuple[Network, ...]:
    """Return the networks that are known."""
    return tuple(_network(entry) for entry in json.loads(_FILE.read_bytes()))


def _network(entry: dict[str, Any]) -> Network:
    return Network(
        name=entry["name"],
        models=tuple(entry["models"]),
        shape=entry["shape"],
        pipeline=entry["pipeline"],
        edge=entry["edge"],
        halves=entry["halves"],
        evaluation=Polynomial(*entry["evaluation"]),
        outer=tuple(Polynomial(*outer) for outer in entry["outer"]),
        decoding=Polynomial(*entry["decoding"]),
    )


def work_of(sampler: Sampler, network: Network | None, strength: float = 1.0) -> Work:
    """Return what sampling one image takes; one that begins from a real one runs a share of the steps.

    Steps are taken as evenly spread over the noise schedule: where guidance runs in an interval, or where a
    scheduler spreads them otherwise, the rows may be one or two evaluations' more or fewer. Where a
    classifier guides, its own operations are left out: those of any network are not known.
    """
    rows = _rows(sampler, strength, halves=network is None or network.halves)
    whole = _whole(rows, 1 if sampler.cache is None else sampler.cache.every)
    whole_rows = sum(count for count, is_whole in zip(rows, whole, strict=True) if is_whole)
    operations = None
    if network is not None:
        edge = sampler.size or network.edge
        operations = whole_rows * network.evaluation.at(edge) + network.decoding.at(edge)
        if whole_rows < sum(rows):
            operations += (sum(rows) - whole_rows) * _outer(network, sampler).at(edge)
        guided = guided_rows(rows, sampler)
        # With respect to what a network is given, a gradient takes as much as what it makes.
        operations += sum(guided) * network.evaluation.at(edge) + 2 * len(guided) * network.decoding.at(edge)
    return Work(len(rows), sum(rows), whole_rows, operations)


def guided_rows(rows: Sequence[int], sampler: Sampler) -> Sequence[int]:
    """Return those evaluations, of rows each, that a classifier guides (`sampler.feedback`)."""
    feedback = sampler.feedback
    return rows[feedback.every - 1 :: feedback.every] if feedback is not None and feedback.scale else []


def _outer(network: Network, sampler: Sampler) -> Polynomial:
    """Return what an evaluation of the outer levels takes; a build refuses a network that has not as many."""
    levels = 1 if sampler.cache is None else sampler.cache.levels
    return network.outer[levels - 1] if levels <= len(network.outer) else network.evaluation


def operations_of(recipe: Recipe, network: Network | None) -> float | None:
    """Return the TFLOP of an image of a recipe, all its draws counted; None if the network is not known.

    Where each image draws its strength, they are the mean. A retrieved image takes none.
    """
    if METHODS[recipe.conditioning.method].retrieves:
        return 0.0
    strengths = spread_strengths(recipe.conditioning.strength)
    each = [work_of(recipe.sampler, network, strength).operations for strength in strengths]
    known = [one for one in each if one is not None]
    return recipe.draws * sum(known) / len(known) if known else None


def learning_of(recipe: Recipe, network: Network | None, classes: int) -> float | None:
    """Return the TFLOP of learning the tokens of so many classes; None if the network is not known.

    Encoding the real images and the prompts is left out.
    """
    if recipe.tokens is None:
        return 0.0
    if network is None:
        return None
    rows = classes * recipe.tokens.steps * recipe.tokens.batch_size
    return rows * _THERE_AND_BACK * network.evaluation.at(recipe.sampler.size or network.edge)


def _rows(sampler: Sampler, strength: float, *, halves: bool) -> list[int]:
    """Return the rows of each evaluation of one image, the noisiest first."""
    steps = sampler.steps
    guided = halves and sampler.guidance_scale > 1
    interval = sampler.guidance_interval or (0.0, 1.0)
    rows = [1 + (guided and runs_in(interval, (steps - step - 0.5) / steps)) for step in range(steps)]
    rows = rows[steps - int(steps * strength) :]
    return [*rows[:2], *rows[1:]] if sampler.scheduler == _TWICE else rows


def _whole(rows: Sequence[int], every: int) -> list[bool]:
    """Return which evaluations are whole: every n-th, and each with other rows than the one before it."""
    changes = pairwise([None, *rows])
    return [number % every == 0 or before != after for number, (before, after) in enumerate(changes)]
