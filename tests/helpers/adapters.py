"""The families of IP-Adapters in miniature, loaded by synthkit and as the documentation of diffusers does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from synthkit.generators import load
from synthkit.generators.checkpoint import Checkpoint, locate
from synthkit.generators.ip_adapter import IpAdapter, IpAdapterPlus, IpAdapterPlusXL, IpAdapterXL
from synthkit.recipe.arithmetic import STOCK, Arithmetic
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe
from tests.helpers.generating import recipe_of


class Adapter(NamedTuple):
    """An adapter: its file and the folder of its encoder in their repository, and the class that runs it."""

    cls: type[IpAdapter]
    file: str
    encoder: str = "models/image_encoder"

    @property
    def name(self) -> str:
        return Path(self.file).stem


SD15 = Adapter(IpAdapter, "models/ip-adapter_sd15.safetensors")
SD15_PLUS = Adapter(IpAdapterPlus, "models/ip-adapter-plus_sd15.safetensors")
SDXL = Adapter(IpAdapterXL, "sdxl_models/ip-adapter_sdxl_vit-h.safetensors")
SDXL_PLUS = Adapter(IpAdapterPlusXL, "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors")
ADAPTERS = (SD15, SD15_PLUS, SDXL, SDXL_PLUS)


@dataclass
class Family:
    """One adapter with its base."""

    kind: Adapter
    sd15: Path
    sdxl: Path
    adapters: Path

    @property
    def base(self) -> Path:
        return self.sdxl if "sdxl" in self.kind.name else self.sd15

    def model(self, *, dtype: str = "float32", scale: float = 1.0) -> Model:
        """Return the section of a recipe that names its pieces."""
        return model_of(
            self.base,
            self.adapters / self.kind.file,
            self.adapters / self.kind.encoder,
            dtype=dtype,
            scale=scale,
        )

    def recipe(self, sampler: Sampler, *, arithmetic: Arithmetic = STOCK, **how: Any) -> Recipe:
        recipe = recipe_of(sampler, arithmetic=arithmetic)
        return recipe.model_copy(update={"model": self.model(**how)})

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return locate(self.model())

    def load(self, sampler: Sampler, **how: Any) -> Any:
        """Return the generator on the CPU; `Any`, because tests look at what only a family has."""
        return load(self.checkpoint, self.recipe(sampler, **how), "cpu")

    def stock_image(
        self,
        photo: Image.Image | None,
        prompt: str,
        seed: int,
        *,
        scale: float = 1.0,
        scheduler: Any = None,
        **call: Any,
    ) -> Image.Image:
        """Return what the stock pipeline makes of one image in two steps; without an image, of a prompt.

        `scheduler` is a class of diffusers, by default DDIMScheduler.
        """
        pipeline = self._without if photo is None else self._stock
        if scheduler is not None:
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        if photo is not None:
            pipeline.set_ip_adapter_scale(scale)
            call["ip_adapter_image"] = photo
        generator = torch.Generator().manual_seed(seed)
        image: Image.Image = pipeline(prompt, generator=generator, num_inference_steps=2, **call).images[0]
        return image

    @cached_property
    def _stock(self) -> Any:
        subfolder, _, name = self.kind.file.partition("/")
        pipeline = self._opened()
        pipeline.load_ip_adapter(
            self.adapters, subfolder=subfolder, weight_name=name, image_encoder_folder=self.kind.encoder
        )
        return pipeline

    @cached_property
    def _without(self) -> Any:
        return self._opened()

    def _opened(self) -> Any:
        from diffusers import DDIMScheduler, DiffusionPipeline

        none = {} if self.base == self.sdxl else {"safety_checker": None, "feature_extractor": None}
        pipeline = DiffusionPipeline.from_pretrained(self.base, use_safetensors=True, **none)
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def model_of(
    base: Path, adapter: Path, encoder: Path, *, dtype: str = "float32", scale: float = 1.0
) -> Model:
    """Return the section of a recipe that names an adapter's file, a base and an encoder by their folders."""
    return Model.model_validate(
        {
            "id": str(base),
            "dtype": dtype,
            "adapter": {"id": str(adapter.parent), "file": adapter.name, "scale": scale},
            "encoder": {"id": str(encoder.parent), "folder": encoder.name},
        }
    )


def photos(count: int) -> list[Image.Image]:
    """Pictures of a few coloured fields, each another."""
    rng = np.random.default_rng(1)
    fields = [rng.integers(0, 256, (4, 3, 3), dtype=np.uint8) for _ in range(count)]
    return [Image.fromarray(field).resize((60, 80), Image.Resampling.NEAREST) for field in fields]
