"""What a recipe changes at single steps of a batch, wrapped around the forward of a pipeline's denoiser.

The pipeline's own call stays as it is. At each step it gives the denoiser both halves of guidance at once, N
unconditional rows before N conditional ones, and goes on with uncond + scale * (cond - uncond) of what comes
back.

Each change is told of the batch, and hands to the one within it what it makes of a step's arguments. From
outside: feedback (feedback.py) moves what is predicted along the gradient of a classifier, CADS (cads.py)
mixes noise into the conditional rows, the guidance interval (guidance_interval.py) takes the unconditional
ones away, the step cache (step_cache.py) leaves deep levels out, and within them is what arithmetic.py makes
of the denoiser.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from synthkit.generators.arithmetic import computed
from synthkit.generators.cads import with_annealing
from synthkit.generators.feedback import with_feedback
from synthkit.generators.guidance_interval import in_interval
from synthkit.generators.step_cache import StepCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.generators.evaluation import Arguments, Batch, Evaluate
    from synthkit.generators.feedback import Judge
    from synthkit.recipe.arithmetic import Arithmetic


class Denoising:
    """The forward of a denoiser, changed from one batch to the next as recipes say."""

    def __init__(self, denoiser: Any, arithmetic: Arithmetic) -> None:
        """Take the place of the forward of a denoiser, for good: once, after arithmetic.py."""
        self._denoiser, self._arithmetic = denoiser, arithmetic
        self._forward = denoiser.forward
        # By their number of outer levels.
        self._caches: dict[int, StepCache] = {}
        # Those of the class: arithmetic.py's forward takes any.
        self._names = [*inspect.signature(type(denoiser).forward).parameters][1:]
        self._evaluate: Evaluate = self._unchanged
        denoiser.forward = self._step

    def begin(self, batch: Batch, judge: Judge | None = None) -> None:
        """Set what happens at the steps of the next batch; nothing is left of the one before it.

        `judge` is what `sampler.feedback` guides by; None if nothing does.
        """
        sampler = batch.sampler
        evaluate: Evaluate = self._unchanged
        if sampler.cache is not None and sampler.cache.every > 1:
            evaluate = self._cache(sampler.cache.levels).begin(sampler.cache.every)
        if sampler.guidance_interval is not None:
            evaluate = in_interval(evaluate, batch, sampler.guidance_interval)
        if sampler.cads is not None and sampler.cads.scale > 0:
            evaluate = with_annealing(evaluate, batch, sampler.cads)
        if sampler.feedback is not None and judge is not None:
            evaluate = with_feedback(evaluate, batch, sampler.feedback, judge)
        self._evaluate = evaluate

    def _cache(self, levels: int) -> StepCache:
        """Return the step cache of so many outer levels: one, so that its parts are compiled once."""

        def so_computed(forward: Callable[..., Any]) -> Callable[..., Any]:
            return computed(forward, self._denoiser.device, self._arithmetic)

        if levels not in self._caches:
            self._caches[levels] = StepCache(self._denoiser, levels, so_computed)
        return self._caches[levels]

    def _unchanged(self, step: Arguments) -> Any:
        return self._forward(**step)

    def _step(self, *given: Any, **named: Any) -> Any:
        return self._evaluate(dict(zip(self._names, given, strict=False)) | named)
