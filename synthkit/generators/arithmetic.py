"""How a pipeline computes: a recipe's `arithmetic` put into effect on a loaded Stable unCLIP pipeline."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from synthkit.recipe.schema import Arithmetic

# Recipe name: torch.nn.attention.SDPBackend.
BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
}


def apply(pipeline: Any, arithmetic: Arithmetic) -> None:
    """Change a freshly loaded pipeline, once. Raises GeneratorError for what its device cannot do."""
    import torch

    make_repeatable(arithmetic)
    unet, vae = pipeline.unet, pipeline.vae
    if arithmetic.attention != "sdpa":
        _check_attention(pipeline, arithmetic.attention)
    if arithmetic.fused_projections:
        unet.fuse_qkv_projections()
    if arithmetic.channels_last:
        unet.to(memory_format=torch.channels_last)
        vae.to(memory_format=torch.channels_last)
    if arithmetic.vae_slicing:
        vae.enable_slicing()
    forward = unet.forward
    if arithmetic.compile:
        forward = _compiled(forward)
        vae.decoder.forward = _compiled(vae.decoder.forward)
    unet.forward = _denoiser(forward, arithmetic)


def make_repeatable(arithmetic: Arithmetic) -> None:
    """Arithmetic that is the same on every run; on a GPU it costs a few per cent."""
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = arithmetic.tf32
    torch.backends.cudnn.allow_tf32 = arithmetic.tf32


def _denoiser(forward: Callable[..., Any], arithmetic: Arithmetic) -> Callable[..., Any]:
    """The UNet's forward in the kernel that is asked for; the VAE's one head is too wide for most."""

    def denoise(sample: Any, timestep: Any, **conditions: Any) -> Any:
        with forced(arithmetic.attention):
            # Timesteps are on the CPU, where the schedulers compare them.
            return forward(sample, timestep.to(sample.device), **conditions)

    return denoise


def forced(attention: str) -> AbstractContextManager[None]:
    """Attention by this kernel and no other; by PyTorch's choice for `sdpa`."""
    if attention == "sdpa":
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    context: AbstractContextManager[None] = sdpa_kernel(getattr(SDPBackend, BACKENDS[attention]))
    return context


def _check_attention(pipeline: Any, attention: str) -> None:
    """A kernel is tried at every width that the UNet has: hours before it would fail otherwise."""
    import torch
    from diffusers.models.attention_processor import Attention
    from torch.nn.functional import scaled_dot_product_attention

    unet = pipeline.unet
    widths = {part.inner_dim // part.heads for part in unet.modules() if isinstance(part, Attention)}
    for width in sorted(widths):
        query = torch.zeros(1, 1, 64, width, dtype=unet.dtype, device=unet.device)
        try:
            with forced(attention):
                scaled_dot_product_attention(query, query, query)
        except RuntimeError:
            dtype = str(unet.dtype).removeprefix("torch.")
            raise GeneratorError(
                f"arithmetic.attention: {attention} has no kernel for {dtype} on this device "
                f"({unet.device.type}); use sdpa"
            ) from None


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at its first call, for one shape, to the same code every time."""
    import torch

    compiled: Callable[..., Any] = torch.compile(function, dynamic=False, options=inductor_options())

    def call(*arguments: Any, **named: Any) -> Any:
        with _compiler_errors():
            return compiled(*arguments, **named)

    return call


def inductor_options() -> dict[str, str | int | bool | Callable[..., Any]]:
    """Kernels chosen by rule, not by the stopwatch, where this PyTorch can be told so."""
    from torch._inductor import config

    return {"deterministic": True} if hasattr(config, "deterministic") else {}


@contextmanager
def _compiler_errors() -> Iterator[None]:
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    try:
        yield
    except (TorchDynamoException, InductorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GeneratorError(f"arithmetic.compile: does not work here: {reason}; set it to false") from error
