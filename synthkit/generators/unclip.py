"""Stable unCLIP: a latent diffusion model conditioned on a prompt and on a CLIP image embedding.

Source: Ramesh et al., Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125
(unCLIP); diffusers' StableUnCLIPImg2ImgPipeline, whose model is Stable Diffusion 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from synthkit.generators.base import component_config
from synthkit.generators.noise import normal
from synthkit.generators.schedulers import DETERMINISTIC
from synthkit.generators.textual_inversion import LearnsTokens, of_null

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from PIL import Image


class UnclipGenerator(LearnsTokens):
    """Image embeddings are projections of a CLIP vision model; `sampler.noise_level` adds noise to them."""

    EMBEDS: ClassVar[str] = "image_embeds"
    SCHEDULERS: ClassVar[tuple[str, ...]] = (*DETERMINISTIC, "lcm")
    STARTS_FROM_IMAGES: ClassVar[bool] = True
    SAMPLES_BY: ClassVar[tuple[str, ...]] = ("guidance_interval", "cads", "cache", "feedback")

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return the projection's size, from the image encoder's configuration."""
        return (int(component_config(folder, "image_encoder")["projection_dim"]),)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(D,): (1024,) for Stable Diffusion 2.1 unCLIP."""
        return (int(self._pipeline.image_encoder.config.projection_dim),)

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self._pipeline.feature_extractor(images=images, return_tensors="pt").pixel_values
        embeddings: torch.Tensor = self._pipeline.image_encoder(
            pixels.to(self._device, self._dtype)
        ).image_embeds
        return embeddings

    def _encode(self, prompt: str) -> torch.Tensor:
        """Return (tokens, width): the text encoder's last hidden states."""
        encoded: torch.Tensor = self._pipeline.encode_prompt(prompt, self._device, 1, False)[0][0]
        return encoded

    def _predicted(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Generator,
    ) -> torch.Tensor:
        # Each row's noise is drawn in turn from the one generator.
        labels = self._pipeline.noise_image_embeddings(
            of_null(self.null_embedding, noisy),
            self.sampler.noise_level,
            generator=[noise] * len(noisy),
        )
        predicted: torch.Tensor = self.denoiser(
            noisy, timesteps, encoder_hidden_states=text, class_labels=labels
        ).sample
        return predicted

    def _conditioning(self) -> Mapping[str, slice]:
        """Leave out what follows the image's embedding in the class labels: the level of its noise."""
        (width,) = self.embedding_shape
        return {"encoder_hidden_states": slice(None), "class_labels": slice(width)}

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        text = self._torch.stack([self._prompts[prompt] for prompt in prompts])
        images: torch.Tensor = self._pipeline(
            image_embeds=embeddings,
            prompt_embeds=text,
            negative_prompt_embeds=self._prompts[""].expand_as(text),
            generator=generators,
            num_inference_steps=self.sampler.steps,
            guidance_scale=self.sampler.guidance_scale,
            noise_level=self.sampler.noise_level,
            height=self.sampler.size,
            width=self.sampler.size,
            output_type="pt",
            callback=lambda step, timestep, latents: self.on_step(),
        ).images
        return images

    def _draw_in_float32(self, pipeline: Any) -> None:
        """Include the noise that `sampler.noise_level` adds to the embeddings; it is drawn first."""
        super()._draw_in_float32(pipeline)
        add_noise = type(pipeline).noise_image_embeddings.__get__(pipeline)

        def noised(image_embeds: Any, noise_level: int, noise: Any = None, generator: Any = None) -> Any:
            drawn = normal(image_embeds.shape, generator) if noise is None else noise
            return add_noise(image_embeds, noise_level, drawn.to(image_embeds))

        pipeline.noise_image_embeddings = noised
