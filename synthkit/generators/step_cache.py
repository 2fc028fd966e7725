"""`sampler.cache`: the deep levels of a UNet, evaluated at every n-th evaluation alone.

At the others the outer levels go on from what the deep ones made last, which changes little from one step to
the next. Which evaluations are whole is counted from the first step of a batch. It depends on no image: how
much changes could only be judged over a batch, and would make an image depend on its neighbours.

Source: Ma et al., DeepCache: Accelerating Diffusion Models for Free, arXiv 2312.00858, with its cache at the
border of two levels; diffusers' UNet2DConditionModel.
"""

from __future__ import annotations

from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from synthkit.generators.evaluation import Arguments, Evaluate
    from synthkit.recipe.sampler import Cache

_UNET = "UNet2DConditionModel"
# Those that hand on what each of their layers makes, and then what they make half as large.
_LEVELS = frozenset(
    {"DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"}
)


def check_cache(config: Mapping[str, Any], cache: Cache) -> None:
    """Raise GeneratorError if a denoiser of a configuration has no deep levels that could be left out."""
    kind = config["_class_name"]
    if kind != _UNET:
        raise GeneratorError(f"sampler.cache: needs a {_UNET}, this model has a {kind:.64}; remove it")
    levels = config["down_block_types"]
    for level in levels:
        if level not in _LEVELS:
            raise GeneratorError(
                f"sampler.cache: this model's UNet has a {level:.64}, which is not known to it; remove it"
            )
    if len(levels) < 2:
        raise GeneratorError("sampler.cache: this model's UNet has no deep levels to leave out; remove it")
    if cache.levels >= len(levels):
        raise GeneratorError(
            f"sampler.cache.levels: is {cache.levels}, and this model's UNet has {len(levels)} levels, of "
            f"which one at least must be left out; use at most {len(levels) - 1}"
        )


class StepCache:
    """A UNet that can be evaluated in its outer levels alone; it stays as it is, and shares its weights."""

    def __init__(
        self, unet: Any, levels: int, computed: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        """Prepare a UNet that has more levels than `levels`.

        `computed` returns what arithmetic.py makes of the forward of the UNet, or of a part of it.
        """
        self._memory = memory = _Memory()
        whole, outer = _whole(unet, levels, memory), _outer(unet, levels, memory)
        # Not the UNet's own: others have taken its place.
        forward = type(unet).forward
        self._whole, self._outer = (computed(forward.__get__(part)) for part in (whole, outer))

    def begin(self, every: int) -> Evaluate:
        """Return what evaluates the steps of the next batch, every n-th of them whole.

        So is one of another number of rows than the one before it. Nothing is left of the batch before.
        """
        memory, evaluations = self._memory, count()
        memory.deep = None

        def evaluate(step: Arguments) -> Any:
            due = next(evaluations) % every == 0
            if due or memory.deep is None or len(memory.deep) != len(step["sample"]):
                memory.deep = None
                return self._whole(**step)
            return self._outer(**step)

        return evaluate


class _Memory:
    """What the deep levels made last: (rows, channels, height, width)."""

    deep: Any = None


def _whole(unet: Any, levels: int, memory: _Memory) -> Any:
    """Return a UNet that remembers what its deep levels make."""
    *deep, last = unet.up_blocks[:-levels]
    return _with(unet, up_blocks=[*deep, _Remembered(last, memory), *unet.up_blocks[-levels:]])


def _outer(unet: Any, levels: int, memory: _Memory) -> Any:
    """Return the outer levels of a UNet, with what is remembered where the deep ones stand.

    The innermost of them makes nothing half as large, which a deep level would take.
    """
    *outer, last = unet.down_blocks[:levels]
    return _with(
        unet,
        down_blocks=[*outer, _with(last, downsamplers=None)],
        mid_block=lambda sample, embedding: memory.deep,
        up_blocks=[*unet.up_blocks[-levels:]],
    )


def _with(module: Any, **parts: Any) -> Any:
    """Return a module that has all parts of another one but those given here, which may be of any kind."""
    other = copy(module)
    other._modules = {name: part for name, part in module._modules.items() if name not in parts}
    vars(other).update(parts)
    return other


class _Remembered:
    """A block of a UNet whose output is remembered."""

    def __init__(self, block: Any, memory: _Memory) -> None:
        self._block, self._memory = block, memory
        # What the UNet asks a block for.
        self.resnets = block.resnets
        self.has_cross_attention = getattr(block, "has_cross_attention", False)

    def __call__(self, **given: Any) -> Any:
        self._memory.deep = self._block(**given)
        return self._memory.deep
