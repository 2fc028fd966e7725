"""What makes a device ready to build shards: load the model, check the prompts, embed the real images."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import embed, kept_for_mixing, kept_for_retrieval, kept_in, needed
from synthkit.builder.filters import make_gates
from synthkit.builder.guiding import Settled, guide
from synthkit.builder.image import ImageMaker
from synthkit.builder.retrieval import nearest_of_pool
from synthkit.builder.retrieved_image import RetrievedMaker
from synthkit.builder.shard import ShardBuilder
from synthkit.builder.shard_plans import ShardPlans
from synthkit.builder.signer import open_signer
from synthkit.generators import load
from synthkit.release.learned_tokens import vectors_of
from synthkit.system.environment import NO_DEVICE
from synthkit.system.files import make_folder
from synthkit.system.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.builder.classifier import Classifier
    from synthkit.builder.filters import Gates
    from synthkit.builder.inputs import Inputs
    from synthkit.builder.shard import Observer
    from synthkit.generators.base import Generator
    from synthkit.recipe.filters import ClassifierConfig
    from synthkit.release.shards import Origin
    from synthkit.sources.pool import RealImages

_ASK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Setup:
    """What all devices are given that build shards of one release.

    `origin` is what shards state of their making, `shards` the folder that receives them, `root` the work
    root, which keeps the embeddings of real images.
    """

    inputs: Inputs
    origin: Origin
    shards: Path
    root: Path


def ready(setup: Setup, device: str, observer: Observer) -> ShardBuilder:
    """Load all that building shards on a device takes.

    The first process of a machine to come computes the embeddings; others wait, and read them from the file.
    Raises GeneratorError if the model cannot be had, or a prompt is too long for it; SignatureError if images
    cannot be signed.
    """
    inputs = setup.inputs
    recipe = inputs.recipe
    generator = load(inputs.checkpoint, recipe, device)
    generator.on_step = observer.alive
    if inputs.tokens:
        generator.use_tokens(vectors_of(inputs.tokens))
    guide(generator, Settled(recipe, inputs.classifier), len(inputs.real.listing.classes), device)
    # All of them now: a prompt that is too long must not stop a build that has run for hours.
    draws = 1 if recipe.filters is None else recipe.filters.most_draws
    generator.check_prompts(inputs.prompts.drawn(inputs.plan, inputs.real.listing, draws))
    classifiers = _classifiers(inputs, device)
    embedded = None
    if needed(recipe, generator):
        embedded = _embedded(setup, generator, observer)
    conditions = embedded if kept_for_mixing(recipe, generator) else None
    signer = open_signer(recipe.output)
    told = (
        recipe,
        inputs.generation_digest,
        inputs.prompts,
        inputs.real,
        inputs.checkpoint,
        generator,
        conditions,
        recipe.format_version,
        signer,
    )
    if inputs.pool is not None and embedded is not None:
        pool = inputs.pool.images
        every = np.arange(len(pool.listing), dtype=np.int32)
        of_pool = _embeddings_of(pool, every, setup, generator, observer)
        retrieved = nearest_of_pool(inputs, embedded, of_pool)
        maker: ImageMaker = RetrievedMaker(*told, pool=pool, pick=retrieved.pick)
    else:
        maker = ImageMaker(*told)
    gates = _gates(inputs, generator, embedded, classifiers)
    return ShardBuilder(inputs.plan, ShardPlans(inputs), maker, gates, setup.shards, setup.origin)


def _embedded(setup: Setup, generator: Generator, observer: Observer) -> NDArray[np.float32]:
    inputs = setup.inputs
    recipe, plan = inputs.recipe, inputs.plan
    # A gate may compare with any real image.
    gated = recipe.filters is not None and recipe.filters.compare
    every = np.arange(len(inputs.real.listing), dtype=np.int32)
    all_count = gated or kept_for_retrieval(recipe)
    positions = every if all_count else np.unique(plan.pairs[:, : plan.sources])
    return _embeddings_of(inputs.real, positions, setup, generator, observer)


def _embeddings_of(
    images: RealImages, positions: NDArray[np.int32], setup: Setup, generator: Generator, observer: Observer
) -> NDArray[np.float32]:
    """Return the embeddings of images at some positions, (N, D), from their file or computed now."""
    path = kept_in(setup.root, setup.inputs, images, generator, setup.origin, positions)
    make_folder(path.parent)
    with _alone(path, observer):
        return embed(
            images,
            positions,
            generator,
            path,
            setup.inputs.recipe.sampler.batch_size,
            lambda count: observer.embedded(count, len(positions)),
        )


@contextmanager
def _alone(path: Path, observer: Observer) -> Iterator[None]:
    """Let one process of a machine in at a time; on a disk that cannot lock, all do the same work."""
    with path.with_suffix(".lock").open("a") as stream:
        while not try_lock(stream.fileno()):
            observer.alive()
            time.sleep(_ASK_AGAIN_S)
        yield


def _classifiers(inputs: Inputs, device: str) -> dict[str, Classifier]:
    """Load the classifiers that filters ask, by the filter's name; one that two ask is loaded once."""
    wanted = {} if inputs.recipe.filters is None else inputs.recipe.filters.classifiers
    if not wanted:
        return {}
    from synthkit.builder.classifier import Classifier

    classes, batch_size = len(inputs.real.listing.classes), inputs.recipe.sampler.batch_size
    # A generator that computes without a device leaves the classifier's to us.
    device = "cpu" if device == NO_DEVICE else device
    loaded: dict[ClassifierConfig, Classifier] = {}
    for name, config in wanted.items():
        if config not in loaded:
            section = f"filters.{name}.classifier"
            loaded[config] = Classifier(section, config, classes, batch_size, device)
    return {name: loaded[config] for name, config in wanted.items()}


def _gates(
    inputs: Inputs,
    generator: Generator,
    embeddings: NDArray[np.float32] | None,
    classifiers: Mapping[str, Classifier],
) -> Gates | None:
    filters, listing = inputs.recipe.filters, inputs.real.listing
    if filters is None:
        return None
    classes = [earlier.classes for earlier in inputs.recipe.earlier]
    return make_gates(filters, listing, generator, embeddings, classifiers, inputs.plan.blocks, classes)
