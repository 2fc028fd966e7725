"""Gradients that are the same twice."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@contextmanager
def same_bits(device: torch.device | str) -> Iterator[None]:
    """Let PyTorch compute gradients in one order, so that the same inputs give the same bits."""
    import torch

    if str(device).startswith("cuda"):
        # Read when the device is first used for a product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
