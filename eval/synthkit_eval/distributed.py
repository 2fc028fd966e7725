"""Several processes that train one network, started by torchrun (PyTorch's DistributedDataParallel)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """One process among `size` that train together; the first of them writes and tells."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(tensor)
        return tensor

    def agree(self, numbers: list[int]) -> list[int]:
        """What the first process says."""
        if self.size == 1:
            return numbers
        import torch.distributed

        said = [numbers]
        torch.distributed.broadcast_object_list(said, src=0)
        return said[0]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()


@contextmanager
def join(device: str) -> Iterator[tuple[World, str]]:
    """The processes that torchrun started, or this one alone; and this one's device."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(), device
        return
    import torch

    local = int(os.environ.get("LOCAL_RANK", "0"))
    own = f"cuda:{local}" if device == "cuda" else device
    if own.startswith("cuda"):
        torch.cuda.set_device(own)
    backend = "nccl" if own.startswith("cuda") else "gloo"
    # The others wait while the first verifies a release, however large.
    torch.distributed.init_process_group(backend, timeout=timedelta(days=1))
    try:
        yield World(torch.distributed.get_rank(), size), own
    finally:
        torch.distributed.destroy_process_group()
