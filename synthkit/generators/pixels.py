"""The pixels of a batch, from the device that makes them to this machine's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def to_host(images: torch.Tensor) -> tuple[NDArray[np.uint8], bool]:
    """Return (N, H, W, 3) uint8 of (N, 3, H, W) in [0, 1], and whether all were numbers.

    The device converts them, and is waited for once.
    """
    import torch

    pixels = images.permute(0, 2, 3, 1).float().mul(255).round_().to(torch.uint8)
    finite = images.isfinite().all()
    if images.device.type != "cuda":
        return pixels.cpu().contiguous().numpy(), bool(finite)
    host = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(pixels, non_blocking=True)
    # Reading the flag waits for the device, and so for the copy before it.
    return host.numpy(), bool(finite)
