"""The checks that a family of generators must pass: `CHECKS`, each a function of a `Case`.

They find what makes a release depend on chance or on the order of work: an image that its neighbours change,
noise that depends on the type of numbers, an embedding that stands for no image and does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.conformance.case import same
from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, embedding_shape, image_edge
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.generators.guide import new_guide
from synthkit.recipe.feedback import Feedback, FeedbackClassifier
from synthkit.recipe.sampler import STEP_FIELDS, Cache, Cads, Sampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synthkit.conformance.case import Case, Rows
    from synthkit.generators.base import Generator
    from synthkit.generators.guide import Guide

# Of a number, the error of a few roundings to bfloat16, which keeps 8 bits.
_ROUNDING = 2**-6
# Levels of grey, of 255, that rounding may change.
_GREY = 2
# Of a classifier of random weights, which is sure of nothing: its classes, and a scale that counts.
_CLASSES, _STRONG = 4, 10_000.0


def told_without_loading(case: Case) -> None:
    """Require that the class tells from files alone what shape embeddings have, and how large images are."""
    shape, edge = embedding_shape(case.checkpoint), image_edge(case.checkpoint, case.recipe.sampler)
    case.require(
        shape == case.generator.embedding_shape == case.rows.embeddings.shape[1:],
        f"embedding_shape_in tells {shape} of an embedding, the model makes {case.rows.embeddings.shape[1:]}",
    )
    case.require(
        case.whole.shape == (case.size, edge, edge, 3) and case.whole.dtype == np.uint8,
        f"image_edge tells {edge} of an image, generate makes {case.whole.dtype} of {case.whole.shape}",
    )


def repeats(case: Case) -> None:
    """Require the same bytes of the same batch, also after another one and from another loading."""
    whole = case.whole
    case.make(case.others)
    case.require(same(case.make(case.rows), whole), "a batch that is made twice is not the same twice")
    again = case.make(case.rows, case.load())
    case.require(same(again, case.whole), "the model loaded once more makes other images")


def neighbours(case: Case) -> None:
    """Change all else in a batch, embeddings, prompts, seeds and weights: an image must stay the same."""
    rows, others, whole = case.rows, case.others, case.whole
    if case.generator.WEIGHS_IMAGES:
        rows, others = case.weighed(rows, [1.0] * case.size), case.weighed(others, [0.5] * case.size)
        whole = case.make(rows)
    for row in (0, case.size - 1):
        made = case.make(rows.but(row, others))
        case.require(same(made[row], whole[row]), f"the image of row {row} changes with the rows around it")
        for other in set(range(case.size)) - {row}:
            case.require(not same(made[other], whole[other]), f"nothing changes the image of row {other}")


def its_own_row(case: Case) -> None:
    """Require that embedding and seed change an image, and a prompt if and only if READS_TEXT says so."""
    for name in ("embeddings", "seeds", "prompts"):
        made = case.make(replace(case.rows, **{name: getattr(case.others, name)}))
        changed = [not same(*pair) for pair in zip(made, case.whole, strict=True)]
        if name == "prompts" and not case.generator.READS_TEXT:
            case.require(not any(changed), "READS_TEXT is False, and prompts change images")
        else:
            case.require(all(changed), f"other {name} change {sum(changed)} of {case.size} images")


def position(case: Case) -> None:
    """Require the same image wherever in a batch it is made."""
    order = [*range(1, case.size), 0]
    made = case.make(case.rows.at(order))
    case.require(same(made, case.whole[order]), "an image changes with its place in the batch")


def padding(case: Case) -> None:
    """Require the same image in a batch that is not full."""
    for rows in ([1], [2, 0]):
        made = case.make(case.rows.at(rows))
        case.require(same(made, case.whole[rows]), f"images change in a batch of {len(rows)}")


def embedding_alone(case: Case) -> None:
    """Require the same embedding of an image with others around it, as many as there may be."""
    embedded = case.rows.embeddings
    for images, rows in (
        (case.images[1:2], [1]),
        (case.images[::-1], [*reversed(range(case.size))]),
        ([*case.images, case.images[0]], [*range(case.size), 0]),
    ):
        made = case.generator.embed_images(images)
        case.require(same(made, embedded[rows]), "an image's embedding changes with the images around it")
    case.require(
        embedded.dtype == np.float32 and bool(np.isfinite(embedded).all()),
        f"embed_images makes {embedded.dtype}, or values that are not numbers; it must be float32",
    )


def null(case: Case) -> None:
    """Require that the null embedding stands for no image.

    With it, prompts still change images where the family reads text, and where it does not guidance, which
    leads away from the null, leads nowhere.
    """
    nothing = case.generator.null_embedding
    case.require(
        nothing.shape == case.generator.embedding_shape and nothing.dtype == np.float32,
        f"null_embedding is {nothing.dtype} of {nothing.shape}, an embedding is float32 of "
        f"{case.generator.embedding_shape}",
    )
    case.require(same(nothing, case.generator.null_embedding), "null_embedding is not the same twice")
    rows = replace(case.rows, embeddings=np.stack([nothing] * case.size))
    made = case.make(rows)
    if case.generator.READS_TEXT:
        other = case.make(replace(rows, prompts=case.others.prompts))
        changed = all(not same(*pair) for pair in zip(made, other, strict=True))
        case.require(changed, "without an image, prompts do not change what is made")
    elif case.recipe.sampler.guidance_scale > 1:
        # Noise on the null is not the null.
        guided = case.recipe.sampler.model_copy(update=dict.fromkeys(STEP_FIELDS))
        plain = guided.model_copy(update={"guidance_scale": 1.0})
        both = [case.make(rows, case.generator.resampled(how)).astype(int) for how in (guided, plain)]
        far = np.abs(both[0] - both[1]).max()
        case.require(far <= _GREY, "guidance moves images of the null, so it leads away from something else")


def weights(case: Case) -> None:
    """Require that a weight is that of its row alone, and that at 0 the embedding does not matter."""
    if not case.generator.WEIGHS_IMAGES:
        return
    plain, ones = case.whole, [1.0] * case.size
    whole = case.make(case.weighed(case.rows, ones))
    made = case.make(case.weighed(case.rows, [0.0, *ones[1:]]))
    case.require(same(made[1:], whole[1:]), "the weight of row 0 changes other rows")
    case.require(not same(made[0], whole[0]), "WEIGHS_IMAGES is True, and a weight changes nothing")
    nothing = replace(case.rows, embeddings=np.stack([case.generator.null_embedding] * case.size))
    text_only = case.make(case.weighed(nothing, [0.0] * case.size))
    case.require(same(made[0], text_only[0]), "an image of weight 0 depends on its embedding")
    case.require(same(case.make(case.rows), plain), "weights stay for the next batch, which has none")


def starts(case: Case) -> None:
    """Require that an image begins from its own real image and strength, and that none of it stays."""
    if not case.generator.STARTS_FROM_IMAGES:
        return
    edge = image_edge(case.checkpoint, case.recipe.sampler)
    case.require(case.generator.edge == edge, f"its edge is {case.generator.edge}, image_edge tells {edge}")
    plain, steps = case.whole, max(case.recipe.sampler.steps, 3)
    generator = case.generator.resampled(case.recipe.sampler.model_copy(update={"steps": steps}))

    def made(rows: Rows) -> NDArray[np.uint8]:
        return case.make(rows, generator)

    # Of one batch, some run two steps and some one. All steps of a flow model begin with noise alone.
    strengths, swapped = ([(1 + (row + by) % 2) / steps for row in range(case.size)] for by in (0, 1))
    rows = case.begun(case.rows, strengths)
    whole = made(rows)
    for what, other in (
        ("the image that it begins from", made(case.begun(case.rows, strengths, first=1))),
        ("the strength", made(case.begun(case.rows, swapped))),
        ("the seed", made(replace(rows, seeds=case.others.seeds))),
    ):
        changed = [not same(*pair) for pair in zip(other, whole, strict=True)]
        case.require(all(changed), f"{what} changes {sum(changed)} of {case.size} images")
    others = case.begun(case.others, swapped, first=1)
    for row in (0, case.size - 1):
        case.require(
            same(made(rows.but(row, others))[row], whole[row]),
            f"the image of row {row} changes with what its neighbours begin from",
        )
    few = made(rows.at([2, 0]))
    case.require(same(few, whole[[2, 0]]), "begun from real images, images change in a batch of 2")
    case.require(same(case.make(case.rows), plain), "a start stays for the next batch, which has none")


def resampling(case: Case) -> None:
    """Require that sampling another way leaves the generator as it is, and that steps are told."""
    whole, steps = case.whole, list[int]()
    sampler = case.recipe.sampler
    other = case.generator.resampled(sampler.model_copy(update={"steps": sampler.steps + 1}))
    other.on_step = lambda: steps.append(1)
    changed = not same(case.make(case.rows, other), whole)
    case.require(changed or not case.generator.NEEDS_DEVICE, "another number of steps changes nothing")
    case.require(bool(steps), "on_step is not called")
    case.require(same(case.make(case.rows), whole), "a resampled generator changes the one it is made of")


def another_size(case: Case) -> None:
    """Require images of `sampler.size`, and that those of a generator without it keep their own."""
    sampler = _of_another_size(case)
    made = case.make(case.rows, case.generator.resampled(sampler))
    case.require(
        made.shape[1:3] == (sampler.size, sampler.size),
        f"with sampler.size {sampler.size} it makes images of {made.shape[1]}",
    )
    case.require(same(case.make(case.rows), case.whole), "another size changes the next images")


def _of_another_size(case: Case) -> Sampler:
    """Return the case's sampler with a size that its model takes: half or twice its own."""
    edge = case.whole.shape[1]
    for size in (edge // 2, 2 * edge):
        try:
            sampler = Sampler.model_validate(case.recipe.sampler.model_dump() | {"size": size})
            check_recipe(case.checkpoint, case.recipe.model_copy(update={"sampler": sampler}))
        except (GeneratorError, ValueError):
            continue
        return sampler
    raise case.error(f"check_size takes neither half nor twice of the {edge} pixels that it makes")


def guidance_interval(case: Case) -> None:
    """Require of a whole interval the images of none, and of an empty one those without guidance.

    Between them, an image must not depend on its neighbours.
    """
    if not _samples_by(case, "guidance_interval"):
        return
    sampler = _guided(case)

    def made(**update: Any) -> NDArray[np.uint8]:
        return case.make(case.rows, case.generator.resampled(sampler.model_copy(update=update)))

    guided, plain = made(), made(guidance_scale=1.0)
    whole, empty = made(guidance_interval=(0.0, 1.0)), made(guidance_interval=(0.5, 0.5))
    case.require(same(whole, guided), "sampler.guidance_interval [0, 1] changes images")
    case.require(same(empty, plain), "without guidance at any step, images are not those of guidance_scale 1")
    half = sampler.model_copy(update={"guidance_interval": (0.0, 0.6)})
    _rows_alone(case, case.generator.resampled(half), "with sampler.guidance_interval")


def cads(case: Case) -> None:
    """Require of `sampler.cads` that it changes images, each by its own noise, and none if its scale is 0."""
    if not _samples_by(case, "cads"):
        return
    sampler = _guided(case)

    def annealed(scale: float) -> Generator:
        found = Cads(tau1=0.0, tau2=0.9, scale=scale)
        return case.generator.resampled(sampler.model_copy(update={"cads": found}))

    without = case.make(case.rows, case.generator.resampled(sampler))
    case.require(same(case.make(case.rows, annealed(0.0)), without), "sampler.cads of scale 0 changes images")
    made = case.make(case.rows, annealed(1.0))
    changed = [not same(*pair) for pair in zip(made, without, strict=True)]
    case.require(all(changed), f"sampler.cads changes {sum(changed)} of {case.size} images")
    _rows_alone(case, annealed(1.0), "with sampler.cads")


def cache(case: Case) -> None:
    """Require that a step cache which leaves nothing out changes nothing, and that batches share none."""
    if not _samples_by(case, "cache"):
        return
    sampler = case.recipe.sampler.model_copy(update={"steps": max(case.recipe.sampler.steps, 2)})
    plain, all_whole, first_whole = (
        case.generator.resampled(sampler.model_copy(update={"cache": every and Cache(every=every)}))
        for every in (None, 1, 1000)
    )
    without = case.make(case.rows, plain)
    case.require(same(case.make(case.rows, all_whole), without), "sampler.cache of every 1 changes images")
    cached = case.make(case.rows, first_whole)
    case.require(not same(cached, without), "sampler.cache of every 1000 changes no image")
    _rows_alone(case, first_whole, "with sampler.cache")
    case.make(case.others, first_whole)
    again = case.make(case.rows, first_whole)
    case.require(same(again, cached), "with sampler.cache, a batch depends on the one before it")
    case.require(same(case.make(case.rows, plain), without), "sampler.cache stays for the next sampler")


def feedback(case: Case) -> None:
    """Require of `sampler.feedback` that it changes images, each by its own label, and none at scale 0.

    It must do so without classifier-free guidance, too.
    """
    if not _samples_by(case, "feedback"):
        return
    sampler = _guided(case)
    case.generator.use_guide(_any_classifier(case.device))

    def guided(scale: float, guidance: float = sampler.guidance_scale) -> Generator:
        update = {
            "feedback": Feedback(criterion="loss", scale=scale, every=2),
            "steps": max(sampler.steps, 2),
            "guidance_scale": guidance,
        }
        return case.generator.resampled(sampler.model_copy(update=update))

    rows = replace(case.rows, labels=tuple(row % _CLASSES for row in range(case.size)))
    others = replace(case.others, labels=tuple((row + 1) % _CLASSES for row in range(case.size)))
    off, on = guided(0.0), guided(_STRONG)
    without, made = case.make(rows, off), case.make(rows, on)
    plain = off.resampled(sampler.model_copy(update={"steps": max(sampler.steps, 2)}))
    case.require(same(case.make(case.rows, plain), without), "sampler.feedback of scale 0 changes images")
    changed = [not same(*pair) for pair in zip(made, without, strict=True)]
    case.require(all(changed), f"sampler.feedback changes {sum(changed)} of {case.size} images")
    relabelled = case.make(rows.but(0, replace(rows, labels=others.labels)), on)
    case.require(same(relabelled[0], made[0]), "sampler.feedback: other labels change the image of row 0")
    changed = [not same(*pair) for pair in zip(relabelled[1:], made[1:], strict=True)]
    case.require(all(changed), f"other labels change {sum(changed)} of {case.size - 1} images")
    _rows_alone(case, on, "with sampler.feedback", rows, others)
    alone = [case.make(rows, guided(scale, 1.0)) for scale in (0.0, _STRONG)]
    case.require(not same(*alone), "without classifier-free guidance, sampler.feedback changes no image")
    case.require(same(case.make(case.rows, plain), without), "sampler.feedback stays for the next sampler")


def _any_classifier(device: str) -> Guide:
    """Return a classifier with weights drawn at random."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_guide(FeedbackClassifier(network="test_resnet", size=32), _CLASSES, device).frozen()


def _samples_by(case: Case, field: str) -> bool:
    """Return whether a family says that it samples by a field, and there is something to be sampled."""
    return case.generator.NEEDS_DEVICE and field in case.generator.SAMPLES_BY


def _guided(case: Case) -> Sampler:
    """Return the case's sampler with guidance, at all steps alike."""
    sampler = case.recipe.sampler
    scale = sampler.guidance_scale if sampler.guidance_scale > 1 else 2.0
    return sampler.model_copy(update={"guidance_scale": scale, **dict.fromkeys(STEP_FIELDS)})


def _rows_alone(
    case: Case, generator: Generator, how: str, rows: Rows | None = None, others: Rows | None = None
) -> None:
    """Require that images do not depend on their neighbours, nor on how full a batch is.

    `rows` and `others` are the case's, unless they are given.
    """
    rows, others = rows or case.rows, others or case.others
    whole = case.make(rows, generator)
    made = case.make(rows.but(1, others), generator)
    case.require(same(made[1], whole[1]), f"{how}, the image of row 1 changes with the rows around it")
    made = case.make(rows.at([2, 0]), generator)
    case.require(same(made, whole[[2, 0]]), f"{how}, images change in a batch of 2")


def noise_in_float32(case: Case) -> None:
    """Require that a model in bfloat16 begins with the same noise as in float32, but for rounding.

    Of generators that are no diffusers pipelines, what they begin with is not known, and not checked.
    """
    wide, narrow = _first_latents(case, case.generator), _first_latents(case, case.load("bfloat16"))
    if wide is None or narrow is None:
        return
    far = np.abs(wide - narrow) > _ROUNDING * np.maximum(np.abs(wide), _ROUNDING)
    case.require(
        wide.shape == narrow.shape and not far.any(),
        f"{far.mean():.0%} of the noise in bfloat16 is other noise than in float32: draw it in float32",
    )


class _Seen(Exception):
    """The denoiser was called; what follows is of no interest."""


def _first_latents(case: Case, generator: Generator) -> NDArray[np.float32] | None:
    """Return what the denoiser is given first."""
    if not isinstance(generator, DiffusersGenerator):
        return None
    seen: list[NDArray[np.float32]] = []

    def look(network: object, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        # By position, or by the names of a UNet's and of a transformer's first argument.
        latents = given[0] if given else named["sample" if "sample" in named else "hidden_states"]
        seen.append(latents.float().cpu().numpy())
        raise _Seen

    hook = generator.denoiser.register_forward_pre_hook(look, with_kwargs=True)
    try:
        case.make(case.rows, generator)
    except _Seen:
        return seen[0]
    finally:
        hook.remove()
    raise case.error("its denoiser is never called")


CHECKS: tuple[Callable[[Case], None], ...] = (
    told_without_loading,
    repeats,
    neighbours,
    its_own_row,
    position,
    padding,
    embedding_alone,
    null,
    weights,
    starts,
    resampling,
    another_size,
    guidance_interval,
    cads,
    cache,
    feedback,
    noise_in_float32,
)
