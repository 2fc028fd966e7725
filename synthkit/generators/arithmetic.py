"""How a pipeline computes: a recipe's `arithmetic`, put into effect on the networks of a loaded pipeline."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError, one_line
from synthkit.recipe.arithmetic import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from synthkit.recipe.arithmetic import Arithmetic

# Recipe name: torch.nn.attention.SDPBackend.
BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
}
# Of one piece of code that is compiled: a UNet has one for each width and size of its levels, twice with
# `sampler.guidance_interval`.
_MOST_SHAPES = 64


def apply(denoiser: Any, decoder: Any, arithmetic: Arithmetic) -> None:
    """Change the two networks of a freshly loaded pipeline: once, for a second time would wrap them twice.

    `denoiser` predicts the noise at each step, `decoder` turns the last latents into pixels. Raises
    GeneratorError for an option that a network or its device does not have.
    """
    import torch

    make_repeatable(arithmetic)
    if arithmetic.attention != "sdpa":
        _check_attention(denoiser, arithmetic.attention)
    if arithmetic.fused_projections:
        _switch_on(denoiser, "fuse_qkv_projections", "fused_projections")
    if arithmetic.channels_last:
        denoiser.to(memory_format=torch.channels_last)
        decoder.to(memory_format=torch.channels_last)
    if arithmetic.vae_slicing:
        _switch_on(decoder, "enable_slicing", "vae_slicing")
    if arithmetic.compile:
        _compile_repeatably()
    if arithmetic.compile == BLOCKS:
        _compile_blocks(denoiser)
    elif arithmetic.compile:
        decoder.decoder.forward = _compiled(decoder.decoder.forward)
    denoiser.forward = computed(denoiser.forward, denoiser.device, arithmetic)


def computed(forward: Callable[..., Any], device: Any, arithmetic: Arithmetic) -> Callable[..., Any]:
    """Return a forward of a denoiser that `apply` has changed, or of some of its parts, so computed.

    `device` is the denoiser's.
    """
    if arithmetic.compile == BLOCKS:
        return _denoise(_telling(forward), device, arithmetic)
    return _denoise(_compiled(forward) if arithmetic.compile else forward, device, arithmetic)


def _switch_on(network: Any, method: str, option: str) -> None:
    """Call the method of a network that an option of `arithmetic` stands for."""
    kind = type(network).__name__
    lacking = GeneratorError(f"arithmetic.{option}: this model's {kind} does not have it; set it to false")
    if not hasattr(network, method):
        raise lacking
    try:
        getattr(network, method)()
    except (NotImplementedError, ValueError):
        # diffusers refuses with one or the other.
        raise lacking from None


def make_repeatable(arithmetic: Arithmetic) -> None:
    """Make PyTorch compute the same on every run; on a GPU this costs a few per cent of speed."""
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = arithmetic.tf32
    torch.backends.cudnn.allow_tf32 = arithmetic.tf32


def _denoise(forward: Callable[..., Any], device: Any, arithmetic: Arithmetic) -> Callable[..., Any]:
    """Return the denoiser's forward with the attention that is asked for.

    The decoder keeps PyTorch's choice: its one attention head is too wide for most kernels.
    """
    import torch

    def on_device(value: Any) -> Any:
        # Timesteps are on the CPU, where the schedulers compare them.
        return value.to(device) if isinstance(value, torch.Tensor) else value

    def denoise(*given: Any, **named: Any) -> Any:
        with forced(arithmetic.attention):
            return forward(
                *map(on_device, given), **{name: on_device(value) for name, value in named.items()}
            )

    return denoise


def forced(attention: str) -> AbstractContextManager[None]:
    """Return a context in which attention uses this kernel and no other; `sdpa` is PyTorch's choice."""
    if attention == "sdpa":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    context: AbstractContextManager[None] = sdpa_kernel(getattr(SDPBackend, BACKENDS[attention]))
    return context


def _check_attention(denoiser: Any, attention: str) -> None:
    """Try a kernel at every width that the denoiser has, instead of failing after hours."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    # diffusers' attention modules, of whatever class, have these two.
    parts = [part for part in denoiser.modules() if hasattr(part, "heads") and hasattr(part, "inner_dim")]
    for width in sorted({part.inner_dim // part.heads for part in parts}):
        query = torch.zeros(1, 1, 64, width, dtype=denoiser.dtype, device=denoiser.device)
        try:
            with forced(attention):
                scaled_dot_product_attention(query, query, query)
        except RuntimeError:
            dtype = str(denoiser.dtype).removeprefix("torch.")
            raise GeneratorError(
                f"arithmetic.attention: {attention} has no kernel for {dtype} on this device "
                f"({denoiser.device.type}); use sdpa"
            ) from None


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is compiled at its first call, for one shape, to the same code every time."""
    import torch

    return _telling(torch.compile(function, dynamic=False, options=inductor_options()))


def _compile_blocks(denoiser: Any) -> None:
    """Compile the blocks that a network repeats: those of one shape are compiled once.

    Source: PyTorch's recipe on regional compilation; diffusers' compile_repeated_blocks.
    """
    try:
        denoiser.compile_repeated_blocks(dynamic=False, options=inductor_options())
    except (AttributeError, ValueError):
        kind = type(denoiser).__name__
        raise GeneratorError(
            f"arithmetic.compile: this model's {kind} has no blocks that are known to repeat; "
            "set it to true or false"
        ) from None


def _compile_repeatably() -> None:
    """Have room for the code of every shape, and fail where it ends.

    PyTorch would go on without compiling: then last bits would depend on which shapes came first.
    """
    from torch._dynamo import config

    config.recompile_limit = _MOST_SHAPES
    config.fail_on_recompile_limit_hit = True


def _telling(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that tells what is wrong with its compilation in one line."""

    def call(*arguments: Any, **named: Any) -> Any:
        with _compiler_errors():
            return compiled(*arguments, **named)

    return call


def inductor_options() -> dict[str, str | int | bool | Callable[..., Any]]:
    """Return options by which kernels are chosen by rule instead of by timing, if this PyTorch has them."""
    from torch._inductor import config

    return {"deterministic": True} if hasattr(config, "deterministic") else {}


@contextmanager
def _compiler_errors() -> Iterator[None]:
    """Turn the errors of torch.compile into GeneratorError."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import InductorError

    try:
        yield
    except FailOnRecompileLimitHit as error:
        raise GeneratorError(
            f"arithmetic.compile: more than {_MOST_SHAPES} shapes would be compiled; set it to false"
        ) from error
    except (TorchDynamoException, InductorError) as error:
        reason = one_line(error)
        raise GeneratorError(f"arithmetic.compile: does not work here: {reason}; set it to false") from error
