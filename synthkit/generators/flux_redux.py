"""FLUX.1-schnell with Redux: a flow transformer conditioned on a prompt and on the tokens of an image.

Redux is a small network between two others: SigLIP's vision model makes a token of each patch of an image,
Redux makes a token of text of each of these, and the transformer attends to them after those of the prompt.
Redux's repository has SigLIP, too. Embeddings here are SigLIP's tokens, so that mixing and dropping happen in
what the image is, not in how FLUX reads it.

Source: Black Forest Labs, FLUX.1 (2024) and FLUX.1 Tools (2024); diffusers' FluxPipeline, and of its
FluxPriorReduxPipeline what it does with one image: with several it adds them up to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.base import component_config
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.generators.networks import load_network, stated
from synthkit.generators.noise import normal
from synthkit.recipe.arithmetic import STOCK

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

    from synthkit.generators.rows import Rows
    from synthkit.generators.starting import LateScheduler
    from synthkit.recipe.arithmetic import Arithmetic
    from synthkit.recipe.sampler import Sampler

# T5's tokens of a prompt, as many as schnell was distilled with; shorter prompts are padded to them.
PROMPT_TOKENS = 256
# Edge of the latents in FLUX's own size, by its pipeline: of 1024 pixels.
LATENTS = 128
# How its pipeline shifts the time, where the scheduler's configuration does not say.
_SHIFT = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}


class FluxReduxGenerator(DiffusersGenerator):
    """Image embeddings are (T, D) tokens; zeros are the null, and stand for no tokens at all.

    What Redux makes of zeros is not nothing, and the transformer would attend to it. So images without one
    get the prompt's tokens alone, which is FLUX without Redux. That is another length of the sequence: where
    a batch has both kinds, each kind is made in a batch of its own, of the same size.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ("encoder",)
    DENOISER: ClassVar[str] = "transformer"
    EMBEDS: ClassVar[str] = "last_hidden_state"
    SCHEDULERS: ClassVar[tuple[str, ...]] = ("flow-euler",)
    STARTS_FROM_IMAGES: ClassVar[bool] = True
    # Guidance is distilled into schnell's weights.
    FIXED: ClassVar[Mapping[str, object]] = {"noise_level": 0, "guidance_scale": 1.0}

    def __init__(self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK) -> None:
        super().__init__(pipeline, sampler=sampler, arithmetic=arithmetic)
        self._encoder = pipeline.image_encoder.to(self._device)
        # The pipeline does not know it, and was moved without it.
        self._redux = pipeline.image_embedder.to(self._device)

    @classmethod
    def check_files(cls, folder: Path) -> None:
        """Raise GeneratorError if the model is not schnell, or the encoder's repository not one of Redux."""
        if stated(folder, cls.DENOISER, "guidance_embeds"):
            raise GeneratorError(
                "model.id: is FLUX.1-dev or made of it, by the guidance_embeds of its transformer; "
                "synthkit runs FLUX.1-schnell"
            )
        for name in ("image_embedder/config.json", "feature_extractor/preprocessor_config.json"):
            if not (folder / name).exists():
                raise GeneratorError(
                    f"model.encoder: has no {name} beside its folder; name the repository of FLUX.1 Redux"
                )
        made = stated(folder, "image_encoder", "hidden_size")
        taken = stated(folder, "image_embedder", "redux_dim")
        if made != taken:
            raise GeneratorError(
                f"model.encoder: makes tokens of {made} numbers, its image_embedder takes {taken}"
            )
        made = stated(folder, "image_embedder", "txt_in_features")
        taken = stated(folder, cls.DENOISER, "joint_attention_dim")
        if made != taken:
            raise GeneratorError(f"model.encoder: makes tokens of {made} numbers, the model takes {taken}")

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        """Return the edge in pixels that the pipeline makes by default."""
        return LATENTS << (len(component_config(folder, cls.DECODER)["block_out_channels"]) - 1)

    @classmethod
    def _size_step(cls, folder: Path) -> int:
        """Return twice the decoder's step: the transformer takes 2x2 latents at once."""
        return 2 * super()._size_step(folder)

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return the number of patches and the hidden size, from the image encoder's configuration."""
        config = component_config(folder, "image_encoder")
        return _shape(config["image_size"], config["patch_size"], config["hidden_size"])

    @classmethod
    def _open(cls, folder: Path, dtype: torch.dtype, not_loaded: Mapping[str, None]) -> Any:
        """Return the pipeline, with the image encoder, the image processor and the network of Redux."""
        from diffusers.pipelines.flux import ReduxImageEncoder
        from transformers import SiglipImageProcessor, SiglipVisionModel

        pipeline = super()._open(folder, dtype, not_loaded)
        pipeline.image_encoder = load_network(SiglipVisionModel, folder / "image_encoder", dtype)
        pipeline.feature_extractor = SiglipImageProcessor.from_pretrained(
            folder / "feature_extractor", local_files_only=True
        )
        pipeline.image_embedder = load_network(ReduxImageEncoder, folder / "image_embedder", dtype)
        return pipeline

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(T, D): (729, 1152) for Redux."""
        config = self._encoder.config
        return _shape(config.image_size, config.patch_size, config.hidden_size)

    def _kind(self, rows: Rows, row: int) -> Hashable:
        """Keep images without an image's tokens apart, too: their sequences are shorter."""
        return super()._kind(rows, row), bool(rows.embeddings[row].any())

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return (N, T, D): the vision model's last hidden states."""
        pixels = self._pipeline.feature_extractor(
            images=images, do_resize=True, do_convert_rgb=True, return_tensors="pt"
        ).pixel_values
        tokens: torch.Tensor = self._encoder(pixels.to(self._device, self._dtype)).last_hidden_state
        return tokens

    def _tokenizer(self) -> tuple[Any, int]:
        """Return T5's tokenizer: CLIP reads 77 tokens alone, but only to sum the prompt up."""
        return self._pipeline.tokenizer_2, PROMPT_TOKENS

    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return T5's last hidden states, (256, width), and CLIP's summary, (width,)."""
        tokens, summary, _ = self._pipeline.encode_prompt(
            prompt, device=self._device, max_sequence_length=PROMPT_TOKENS
        )
        return tokens[0], summary[0]

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        tokens, summaries = map(self._torch.stack, zip(*map(self._prompts.__getitem__, prompts), strict=True))
        if embeddings.any():
            with self._torch.no_grad():
                tokens = self._torch.cat([tokens, self._redux(embeddings).image_embeds], dim=1)
        images: torch.Tensor = self._pipeline(
            prompt_embeds=tokens,
            pooled_prompt_embeds=summaries,
            latents=self._noise(generators),
            height=self.edge,
            width=self.edge,
            num_inference_steps=self.sampler.steps,
            output_type="pt",
            callback_on_step_end=self._stepped,
        ).images
        return images

    @property
    def edge(self) -> int:
        """The edge in pixels of the images."""
        own: int = LATENTS * self._pipeline.vae_scale_factor
        return self.sampler.size or own

    def _noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Return the noise as the transformer takes it: (N, patches of 2x2 latents, their numbers)."""
        edge = self.edge // self._pipeline.vae_scale_factor
        count, channels = len(generators), self._pipeline.transformer.config.in_channels // 4
        noise = normal((count, channels, edge, edge), generators)
        if self._started is not None:
            # The pipeline packs latents before it sets the timesteps.
            self._set_timesteps(self._started.scheduler, (edge // 2) ** 2)
        latents = self._begun(noise)
        packed: torch.Tensor = self._pipeline._pack_latents(latents, count, channels, edge, edge)
        return packed.to(self._device, self._dtype)

    def _set_timesteps(self, scheduler: LateScheduler, tokens: int) -> None:
        """Set a scheduler as the pipeline's call does for a sequence of so many tokens."""
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        config, steps = scheduler.config, self.sampler.steps
        shift = (config.get(name, value) for name, value in _SHIFT.items())
        sigmas = None if config.get("use_flow_sigmas") else np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(steps, sigmas=sigmas, mu=calculate_shift(tokens, *shift))

    def _draw_in_float32(self, pipeline: Any) -> None:
        """Leave the pipeline as it is: `_call` gives it the noise."""


def _shape(image: int, patch: int, width: int) -> tuple[int, int]:
    return (image // patch) ** 2, width
