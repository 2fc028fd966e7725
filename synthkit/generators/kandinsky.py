"""Kandinsky 2.2: a latent diffusion model conditioned on a CLIP image embedding and on nothing else.

Its repository has the decoder: a UNet and MoVQ, which turns latents into pixels. The image encoder, CLIP
ViT-bigG, lies in the repository of the prior, which makes embeddings of texts and is not used here.

Source: Razzhigaev et al., Kandinsky: an Improved Text-to-Image Synthesis with Image Prior and Latent
Diffusion, arXiv 2310.03502; diffusers' KandinskyV22Pipeline, and the zero embedding of its
KandinskyV22PriorPipeline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from synthkit.errors import GeneratorError
from synthkit.generators.base import component_config
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.generators.networks import load_network, stated
from synthkit.generators.noise import normal
from synthkit.recipe.arithmetic import STOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.recipe.arithmetic import Arithmetic
    from synthkit.recipe.sampler import Sampler


class KandinskyGenerator(DiffusersGenerator):
    """Image embeddings are projections of the CLIP vision model as they are.

    The pipeline does not scale what the UNet is given, so euler would make other images than the model's;
    pndm's step does not take what the pipeline gives it.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("encoder",)
    READS_TEXT: ClassVar[bool] = False
    DECODER: ClassVar[str] = "movq"
    EMBEDS: ClassVar[str] = "image_embeds"
    PROCESSOR: ClassVar[str] = "image_processor"
    SCHEDULERS: ClassVar[tuple[str, ...]] = ("ddpm", "ddim", "dpm-solver++", "unipc")
    FIXED: ClassVar[Mapping[str, object]] = {"noise_level": 0}
    SAMPLES_BY: ClassVar[tuple[str, ...]] = ("guidance_interval", "cads", "cache", "feedback")

    def __init__(self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK) -> None:
        super().__init__(pipeline, sampler=sampler, arithmetic=arithmetic)
        # The pipeline does not know it, and was moved without it.
        self._encoder = pipeline.image_encoder.to(self._device)
        self._null = self._embedding_of_zeros()

    @classmethod
    def check_files(cls, folder: Path) -> None:
        """Raise GeneratorError if the image encoder is another UNet's, or lacks its image processor."""
        if not (folder / "image_processor" / "preprocessor_config.json").exists():
            raise GeneratorError(
                "model.encoder: has no image_processor/preprocessor_config.json beside its folder; "
                "name the repository of Kandinsky's prior"
            )
        made = stated(folder, "image_encoder", "projection_dim")
        taken = stated(folder, cls.DENOISER, "encoder_hid_dim")
        if made != taken:
            raise GeneratorError(
                f"model.encoder: makes embeddings of {made} numbers, the model takes {taken}; "
                "name the image encoder of its prior"
            )

    @classmethod
    def _size_step(cls, folder: Path) -> int:
        """Return the square of the decoder's step: the pipeline rounds other sizes up."""
        return super()._size_step(folder) ** 2

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return the projection's size, from the image encoder's configuration."""
        return (int(component_config(folder, "image_encoder")["projection_dim"]),)

    @classmethod
    def _open(cls, folder: Path, dtype: torch.dtype, not_loaded: Mapping[str, None]) -> Any:
        """Return the decoder's pipeline, with the prior's image encoder and image processor."""
        from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

        pipeline = super()._open(folder, dtype, not_loaded)
        pipeline.image_encoder = load_network(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
        pipeline.image_processor = CLIPImageProcessor.from_pretrained(
            folder / "image_processor", local_files_only=True
        )
        return pipeline

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(D,): (1280,) for Kandinsky 2.2."""
        return (int(self._encoder.config.projection_dim),)

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """The embedding of an image whose normalised pixels are zeros, from which guidance leads away."""
        return self._null

    def _embedding_of_zeros(self) -> NDArray[np.float32]:
        edge = self._encoder.config.image_size
        nothing = self._torch.zeros(1, 3, edge, edge, device=self._device, dtype=self._dtype)
        with self._torch.no_grad():
            null: NDArray[np.float32] = self._encoder(nothing).image_embeds[0].float().cpu().numpy()
        return null

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self._pipeline.image_processor(images=images, return_tensors="pt").pixel_values
        embeddings: torch.Tensor = self._encoder(pixels.to(self._device, self._dtype)).image_embeds
        return embeddings

    def _encode(self, prompt: str) -> Any:
        raise NotImplementedError  # READS_TEXT is false, so no prompt is asked for.

    def _conditioning(self) -> Mapping[str, slice]:
        return {"added_cond_kwargs.image_embeds": slice(None)}

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        images: torch.Tensor = self._pipeline(
            image_embeds=embeddings,
            negative_image_embeds=self._torch.from_numpy(self._null).to(embeddings).expand_as(embeddings),
            latents=self._noise(generators),
            height=self.edge,
            width=self.edge,
            generator=generators,
            num_inference_steps=self.sampler.steps,
            guidance_scale=self.sampler.guidance_scale,
            output_type="pt",
            callback_on_step_end=self._stepped,
        ).images
        # As tensors, the pipeline's images lie between -1 and 1.
        return (images / 2 + 0.5).clamp(0, 1)

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode without the codebook, as the pipeline does."""
        movq = self._guided_decoder
        images: torch.Tensor = movq.decode(latents.to(movq.dtype), force_not_quantize=True).sample
        return images.float() / 2 + 0.5

    @property
    def edge(self) -> int:
        """The edge in pixels of the images."""
        own: int = self._pipeline.unet.config.sample_size * self._pipeline.movq_scale_factor
        return self.sampler.size or own

    def _noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        edge = self.edge // self._pipeline.movq_scale_factor
        shape = (len(generators), self._pipeline.unet.config.in_channels, edge, edge)
        return normal(shape, generators).to(self._device, self._dtype)

    def _draw_in_float32(self, pipeline: Any) -> None:
        """Leave the pipeline as it is: `_call` gives it the noise, and the scheduler draws its own."""
