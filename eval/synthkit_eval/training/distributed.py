"""Several processes that train one network, started by torchrun (PyTorch's DistributedDataParallel)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class World:
    """The place of this process, `rank`, among `size` that train together, `local` of them on this machine.

    Only the first process (rank 0) writes files and prints.
    """

    rank: int = 0
    size: int = 1
    local: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.all_reduce(tensor)
        return tensor

    def agree(self, numbers: list[int]) -> list[int]:
        """Return the numbers of the first process, in all processes."""
        if self.size == 1:
            return numbers
        import torch.distributed

        said = [numbers]
        torch.distributed.broadcast_object_list(said, src=0)
        return said[0]

    def copy(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors of all processes with those of the first."""
        if self.size > 1:
            import torch.distributed

            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Wait until all processes have come to this point."""
        if self.size > 1:
            import torch.distributed

            torch.distributed.barrier()


@contextmanager
def join(device: str) -> Iterator[tuple[World, str]]:
    """Join the processes that torchrun started, and give this one's place among them and its device.

    Without torchrun this process is alone. Raises ScoreError for a device that they cannot share.
    """
    import torch.distributed

    if not torch.distributed.is_torchelastic_launched():
        yield World(), device
        return
    if device.startswith("cuda:"):
        raise ScoreError(
            f"--device {device}: torchrun gives each process a GPU of its own; use --device cuda"
        )
    own = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device
    if device == "cuda":
        torch.cuda.set_device(own)
    backend = "nccl" if device == "cuda" else "gloo"
    # The others wait while the first verifies a release, which may take hours.
    torch.distributed.init_process_group(backend, timeout=timedelta(days=1))
    try:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size(), local), own
    finally:
        torch.distributed.destroy_process_group()
