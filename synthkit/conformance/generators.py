"""The checks that a family of generators must pass: `CHECKS`, each a function of a `Case`.

They find what makes a release depend on chance or on the order of work: an image that its neighbours change,
noise that depends on the type of numbers, an embedding that stands for no image and does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.conformance.case import same
from synthkit.conformance.samplers import cache, cads, feedback, guidance_interval
from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, embedding_shape, image_edge
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.recipe.sampler import STEP_FIELDS, Sampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synthkit.conformance.case import Case, Rows
    from synthkit.generators.base import Generator

# Of a number, the error of a few roundings to bfloat16, which keeps 8 bits.
_ROUNDING = 2**-6
# Levels of grey, of 255, that rounding may change.
_GREY = 2


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
