"""IP-Adapter on Stable Diffusion 1.5 and XL: adapters that condition a text-to-image model on an image.

A plain adapter reads the embedding of a CLIP vision model and makes four tokens of it; a plus one reads the
tokens of its next to last layer and makes sixteen. The network attends to them beside those of the prompt.

Source: Ye et al., IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models, arXiv
2308.06721; diffusers' StableDiffusionPipeline and StableDiffusionXLPipeline.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.adapter_fit import PLAIN, PLUS, check_fit
from synthkit.generators.base import component_config
from synthkit.generators.model_files import read_index_of
from synthkit.generators.networks import load_network
from synthkit.generators.schedulers import DETERMINISTIC
from synthkit.generators.textual_inversion import LearnsTokens, of_null
from synthkit.recipe.arithmetic import STOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.arithmetic import Arithmetic
    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe


class IpAdapter(LearnsTokens):
    """A plain adapter on Stable Diffusion 1.5: an embedding is the projection of a CLIP vision model."""

    NEEDS: ClassVar[tuple[str, ...]] = ("adapter", "encoder")
    MAY_HAVE: ClassVar[tuple[str, ...]] = ("unet",)
    WEIGHS_IMAGES: ClassVar[bool] = True
    EMBEDS: ClassVar[str] = "image_embeds"
    SCHEDULERS: ClassVar[tuple[str, ...]] = (*DETERMINISTIC, "lcm")
    FIXED: ClassVar[Mapping[str, object]] = {"noise_level": 0}
    STARTS_FROM_IMAGES: ClassVar[bool] = True
    SAMPLES_BY: ClassVar[tuple[str, ...]] = ("guidance_interval", "cads", "cache", "feedback")
    KIND: ClassVar[str] = PLAIN
    # What its pipeline is told beyond its components.
    OPTIONS: ClassVar[Mapping[str, object]] = {}

    def __init__(
        self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK, scale: float = 1.0
    ) -> None:
        super().__init__(pipeline, sampler=sampler, arithmetic=arithmetic)
        self._scale = scale
        self._share = _Share(self._torch.ones(1, device=self._device, dtype=self._dtype))
        _hand_rows_through(pipeline)
        pipeline.set_ip_adapter_scale(1.0)
        for layer in _value_layers(pipeline.unet):
            layer.register_forward_hook(self._share.multiply)
        self._null = self._embedding_of_nothing()

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Raise GeneratorError for what the family does not have.

        Fused projections would take the place of the adapter's attention, and nothing would tell.
        """
        super().check_recipe(recipe)
        if recipe.arithmetic.fused_projections:
            raise GeneratorError(
                "arithmetic.fused_projections: a model with an IP-Adapter does not have it; set it to false"
            )

    @classmethod
    def check_files(cls, folder: Path) -> None:
        """Raise GeneratorError if base, adapter and encoder do not fit each other."""
        check_fit(folder, cls.KIND)

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return the projection's size, from the image encoder's configuration."""
        return (int(component_config(folder, "image_encoder")["projection_dim"]),)

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        """Return the generator of a checkpoint on a device, set as a recipe says.

        Raises GeneratorError if it cannot be loaded, or cannot compute so on this device.
        """
        pipeline = cls.read(checkpoint, dtype=recipe.model.dtype, device=device)
        adapter = recipe.model.adapter
        scale = 1.0 if adapter is None else adapter.scale
        return cls(pipeline, sampler=recipe.sampler, arithmetic=recipe.arithmetic, scale=scale)

    @classmethod
    def _open(cls, folder: Path, dtype: torch.dtype, not_loaded: Mapping[str, None]) -> Any:
        """Return the pipeline with its adapter and image encoder, all from this folder.

        The encoder is loaded here, since the adapter's loader would fetch one.
        """
        import diffusers
        from transformers import CLIPVisionModelWithProjection

        encoder = load_network(CLIPVisionModelWithProjection, folder / "image_encoder", dtype)
        parts = {
            **not_loaded,
            "image_encoder": encoder,
            "feature_extractor": _image_processor(encoder.config.image_size),
        }
        name = read_index_of(folder, "here")["_class_name"]
        pipeline = getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **parts, **cls.OPTIONS
        )
        pipeline.load_ip_adapter(
            str(folder),
            subfolder="adapter",
            weight_name="adapter.safetensors",
            image_encoder_folder=None,
            local_files_only=True,
        )
        return pipeline

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(D,): (1024,) for ViT-H, which most adapters have. A plus one: (T, D), (257, 1280)."""
        return self._null.shape

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """What adapters were trained with in place of an image: zeros.

        For a plus one: the tokens of an image whose normalised pixels are zeros. It is the negative half of
        guidance, too.
        """
        return self._null

    def _embedding_of_nothing(self) -> NDArray[np.float32]:
        return np.zeros(int(self._pipeline.image_encoder.config.projection_dim), np.float32)

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = self._pipeline.feature_extractor(images=images, return_tensors="pt").pixel_values
        return self._encode_pixels(pixels.to(self._device, self._dtype))

    def _encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of (N, 3, H, W) normalised pixels."""
        embeddings: torch.Tensor = self._pipeline.image_encoder(pixels).image_embeds
        return embeddings

    def _encode(self, prompt: str) -> Any:
        """Return (tokens, width): the text encoder's last hidden states."""
        return self._pipeline.encode_prompt(prompt, self._device, 1, False)[0][0]

    def _texts(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return what the pipeline's call is given of a batch's prompts, and of the negative ones."""
        text = self._torch.stack([self._prompts[prompt] for prompt in prompts])
        return {"prompt_embeds": text, "negative_prompt_embeds": self._prompts[""].expand_as(text)}

    def _predicted(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text: torch.Tensor,
        noise: torch.Generator,
    ) -> torch.Tensor:
        self._weigh(None)
        # One image of each row.
        image = of_null(self._null, noisy).unsqueeze(1)
        predicted: torch.Tensor = self.denoiser(
            noisy, timesteps, encoder_hidden_states=text, added_cond_kwargs={"image_embeds": [image]}
        ).sample
        return predicted

    def _weigh(self, weights: Sequence[float] | None) -> None:
        self._share.set([self._scale] * self.sampler.batch_size if weights is None else [*weights])

    @property
    def _guided(self) -> bool:
        """Whether a batch has a negative half. UNets of latent consistency models read the scale instead."""
        reads_scale = self._pipeline.unet.config.time_cond_proj_dim is not None
        return self.sampler.guidance_scale > 1 and not reads_scale

    def _conditioning(self) -> Mapping[str, slice]:
        """Take the states of the text, and the image's embedding before the adapter makes tokens of it."""
        return {"encoder_hidden_states": slice(None), "added_cond_kwargs.image_embeds": slice(None)}

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        rows = [embeddings]
        if self._guided:
            rows.insert(0, self._torch.from_numpy(self._null).to(embeddings).expand_as(embeddings))
        images: torch.Tensor = self._pipeline(
            # One image of each row.
            ip_adapter_image_embeds=[self._torch.cat(rows).unsqueeze(1)],
            **self._texts(prompts),
            generator=generators,
            num_inference_steps=self.sampler.steps,
            guidance_scale=self.sampler.guidance_scale,
            height=self.sampler.size,
            width=self.sampler.size,
            output_type="pt",
            callback_on_step_end=self._stepped,
        ).images
        return images


class IpAdapterPlus(IpAdapter):
    """A plus adapter: an embedding is the tokens of the next to last layer, the class token first."""

    KIND: ClassVar[str] = PLUS
    EMBEDS: ClassVar[str] = "hidden_states[-2]"

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return (T, D): the patches of an image and the class token, and the encoder's width."""
        config = component_config(folder, "image_encoder")
        across = int(config["image_size"]) // int(config["patch_size"])
        return (across**2 + 1, int(config["hidden_size"]))

    def _embedding_of_nothing(self) -> NDArray[np.float32]:
        edge = int(self._pipeline.image_encoder.config.image_size)
        nothing = self._torch.zeros(1, 3, edge, edge, device=self._device, dtype=self._dtype)
        with self._torch.no_grad():
            tokens: NDArray[np.float32] = self._encode_pixels(nothing)[0].float().cpu().numpy()
        return tokens

    def _encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        encoded = self._pipeline.image_encoder(pixels, output_hidden_states=True)
        tokens: torch.Tensor = encoded.hidden_states[-2]
        return tokens


class IpAdapterXL(IpAdapter):
    """A plain adapter on Stable Diffusion XL, which reads two text encoders and the size of an image."""

    # A token would need vectors in both.
    LEARNS_TOKENS: ClassVar[bool] = False
    # diffusers would mark images where a certain package is installed, and not where it isn't.
    OPTIONS: ClassVar[Mapping[str, object]] = {"add_watermarker": False}

    def __init__(self, pipeline: Any, **settings: Any) -> None:
        super().__init__(pipeline, **settings)
        # The decoder overflows in float16. The pipeline's own method warns on every call of its deprecation.
        pipeline.upcast_vae = lambda: pipeline.vae.to(self._torch.float32)

    def _latents(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Encode in float32 what overflows in float16, as the decoder does."""
        vae = self._pipeline.vae
        kept = vae.dtype
        if kept == self._torch.float16 and vae.config.force_upcast:
            vae.to(self._torch.float32)
        latents = super()._latents(pixels)
        vae.to(kept)
        return latents

    def _decoder_with_gradient(self) -> Any:
        """Return one of its own in float32 where the decoder overflows in float16."""
        vae = self._pipeline.vae
        narrow = vae.dtype == self._torch.float16 and vae.config.force_upcast
        return deepcopy(vae).float() if narrow else vae

    def _tokenizer(self) -> tuple[Any, int]:
        """Return the one that cuts off first; both split a text into the same tokens."""
        both = (self._pipeline.tokenizer, self._pipeline.tokenizer_2)
        first = min(both, key=lambda tokenizer: tokenizer.model_max_length)
        return first, first.model_max_length

    def _encode(self, prompt: str) -> Any:
        """Return what stands for a prompt and what for its opposite: tokens and pooled, (T, D) and (P,)."""
        tokens, negative, pooled, negative_pooled = self._pipeline.encode_prompt(
            prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=True
        )
        return tokens[0], pooled[0], negative[0], negative_pooled[0]

    def _texts(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        columns = zip(*(self._prompts[prompt] for prompt in prompts), strict=True)
        names = (
            *("prompt_embeds", "pooled_prompt_embeds"),
            *("negative_prompt_embeds", "negative_pooled_prompt_embeds"),
        )
        stacked = (self._torch.stack(column) for column in columns)
        return dict(zip(names, stacked, strict=True))

    def _conditioning(self) -> Mapping[str, slice]:
        """Take what sums up the text, too; the sizes beside it are no conditioning on it."""
        return {**super()._conditioning(), "added_cond_kwargs.text_embeds": slice(None)}


class IpAdapterPlusXL(IpAdapterPlus, IpAdapterXL):
    """A plus adapter on Stable Diffusion XL."""


class _Share:
    """How much each row's image counts: what the adapter adds to each layer is multiplied by it.

    The values of attention are, which comes to the same: attention is a mean of its values.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows

    def set(self, weights: Sequence[float]) -> None:
        """Set the weights of a batch; the tensor stays the same, so that compiled code sees them."""
        import torch

        rows = torch.tensor(weights).to(self._rows)
        if len(rows) == len(self._rows):
            self._rows.copy_(rows)
        else:
            self._rows = rows

    def multiply(self, layer: object, given: object, values: torch.Tensor) -> torch.Tensor:
        """Return (N, images, tokens, width) values, multiplied: a forward hook.

        With guidance the negative half comes first, and each of its rows is weighed as its image is.
        """
        rows = self._rows.repeat(len(values) // len(self._rows))
        return values * rows.view(-1, *[1] * (values.ndim - 1))


def _value_layers(unet: Any) -> list[Any]:
    """Return the layers by which an adapter makes the values that a UNet's attention sums."""
    processors = unet.attn_processors.values()
    return [layer for processor in processors for layer in getattr(processor, "to_v_ip", ())]


def _hand_rows_through(pipeline: Any) -> None:
    """Make one pipeline object use the embeddings of a batch as they are, each in its own row.

    diffusers repeats all of them for every row, and its attention takes what is too much for more tokens of
    one image: every image would show all images of its batch.
    """

    def prepared(image: object, embeddings: list[torch.Tensor], *others: object) -> list[torch.Tensor]:
        return embeddings

    pipeline.prepare_ip_adapter_image_embeds = prepared


def _image_processor(edge: int) -> Any:
    """Return what prepares images for a CLIP vision model: that of OpenAI's CLIP, every setting written out.

    The adapters' repositories have none, and were trained with these settings. The base's is its safety
    checker's; and the defaults of a library may change, which would change embeddings.
    """
    from PIL import Image
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        do_convert_rgb=True,
        do_resize=True,
        size={"shortest_edge": edge},
        resample=Image.Resampling.BICUBIC,
        do_center_crop=True,
        crop_size={"height": edge, "width": edge},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
    )
