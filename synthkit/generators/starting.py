"""Images that begin from a real one instead of from noise alone: SDEdit, on a latent diffusion model.

The real image is encoded, noised to a step of the scheduler, and the steps from there on are run. The
pipeline is that of images from noise, so all that holds for it holds here, too.

Source: Meng et al., SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations, arXiv
2108.01073, algorithm 1; how many steps run at a strength is as in diffusers' image-to-image pipelines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Start(NamedTuple):
    """What an image begins from: (E, E, 3) uint8 pixels, as large as the image, and how far they are noised.

    Of the sampler's steps the last int(steps·strength) are run.
    """

    pixels: NDArray[np.uint8]
    strength: float


class LateScheduler:
    """A scheduler as a pipeline sees it whose images begin late: it has the last steps, already noised.

    The scheduler itself knows all steps, since solvers ask how far from the last one they are.
    """

    # Pipelines multiply what they begin with by it. It has its noise already.
    init_noise_sigma = 1.0

    def __init__(self, scheduler: Any, steps: int, left: int) -> None:
        self._scheduler, self._begin = scheduler, steps - left
        set_all = scheduler.set_timesteps

        # Pipelines look at its arguments.
        @wraps(set_all)
        def set_timesteps(*given: Any, **named: Any) -> None:
            set_all(*given, **named)
            self._left = self._late()
            self.set_begin_index(0)

        self.set_timesteps = set_timesteps

    @property
    def timesteps(self) -> Any:
        """The timesteps that are left."""
        return self._left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def set_begin_index(self, index: int) -> None:
        """Begin with a step, counted from the first that is left."""
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(self._begin + index)

    def noised(self, latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return latents with the noise of the first step that is left; both are float32, (N, C, H, W)."""
        first = self.timesteps[:1].repeat(len(latents))
        # Schedulers of flow models call it so.
        if hasattr(self._scheduler, "scale_noise"):
            mixed: torch.Tensor = self._scheduler.scale_noise(latents, first, noise)
            return mixed
        noised: torch.Tensor = self._scheduler.add_noise(latents, noise, first)
        return noised

    def _late(self) -> Any:
        timesteps = self._scheduler.timesteps
        if not hasattr(self._scheduler, "plms_timesteps"):
            return timesteps[self._begin :]
        # PNDM evaluates its second step twice, to make up for the steps that are not before it. It counts
        # evaluations, so the second of those left must stand twice: otherwise each step would begin where
        # the one after it does, and some noise would stay.
        left = [*timesteps[:1], *timesteps[2:]][self._begin :]
        return timesteps.new_tensor([int(timestep) for timestep in (*left[:2], *left[1:])])


@dataclass(frozen=True)
class Started:
    """What a batch begins from: latents of real images, (N, C, H, W) float32, and the steps left to run."""

    scheduler: LateScheduler
    latents: torch.Tensor

    def noised(self, noise: torch.Tensor) -> torch.Tensor:
        """Return the latents that the first step is given."""
        return self.scheduler.noised(self.latents, noise.to(self.latents))


def encoded(vae: Any, pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return the latents of (N, H, W, 3) uint8 pixels, (N, C, H', W') float32: the means of the encoder.

    No latents are drawn around the means, as the noise that follows is larger by far.
    """
    import torch

    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(vae.device).float() / 127.5 - 1
    with torch.no_grad():
        means = vae.encode(images.to(vae.dtype)).latent_dist.mode().float()
    latents: torch.Tensor = (means - (vae.config.get("shift_factor") or 0.0)) * vae.config.scaling_factor
    return latents
