"""The checks of the fields of `sampler` that change single steps: each of a family that samples by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synthkit.conformance.case import same
from synthkit.generators.guide import new_guide
from synthkit.recipe.feedback import Feedback, FeedbackClassifier
from synthkit.recipe.sampler import STEP_FIELDS, Cache, Cads, Sampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthkit.conformance.case import Case, Rows
    from synthkit.generators.base import Generator
    from synthkit.generators.guide import Guide

# Of a classifier of random weights, which is sure of nothing: its classes, and a scale that counts.
_CLASSES, _STRONG = 4, 10_000.0


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
