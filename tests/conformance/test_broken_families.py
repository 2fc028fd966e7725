"""Each check finds a family that does not keep what it checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from synthkit import generators
from synthkit.conformance import generators as checks
from synthkit.conformance.case import Case, ConformanceError
from synthkit.generators.checkpoint import Checkpoint
from synthkit.generators.ip_adapter import IpAdapter, _value_layers
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe
from tests.helpers.adapters import SD15, Family, photos

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=3)


class StockBatches(IpAdapter):
    """As diffusers does it: each image sees the embeddings of all of its batch, and nothing tells."""

    WEIGHS_IMAGES: ClassVar[bool] = False

    def __init__(self, pipeline: Any, **settings: Any) -> None:
        super().__init__(pipeline, **settings)
        del pipeline.prepare_ip_adapter_image_embeds
        for layer in _value_layers(pipeline.unet):
            layer._forward_hooks.clear()


class SumsOverTheBatch(IpAdapter):
    """As the pipeline of FLUX Redux does with images."""

    def _embed(self, images: Any) -> Any:
        embedded = super()._embed(images)
        return embedded + embedded.mean(dim=0)


class NoiseOfTheModelsType(IpAdapter):
    """Made of uniform numbers in the model's type, as PyTorch's own was."""

    def _draw_in_float32(self, pipeline: Any) -> None:
        def prepared(count: int, channels: int, height: int, width: int, dtype: Any, *more: Any) -> Any:
            shape = (1, channels, height // 8, width // 8)
            draws = [[torch.rand(shape, generator=seed, dtype=dtype) for _ in range(2)] for seed in more[1]]
            radius, angle = (torch.cat(part).float() for part in zip(*draws, strict=True))
            return ((-2 * (1 - radius).clamp_min(1e-3).log()).sqrt() * (6.2832 * angle).cos()).to(dtype)

        pipeline.prepare_latents = prepared


class OneSeedForAll(IpAdapter):
    def _call(self, embeddings: Any, prompts: Any, seeds: Any) -> Any:
        return super()._call(embeddings, prompts, seeds[:1] * len(seeds))


class OneGeneratorForAll(IpAdapter):
    """Each row's noise follows that of the row before it."""

    def _call(self, embeddings: Any, prompts: Any, seeds: Any) -> Any:
        shared = [self._torch.Generator().manual_seed(sum(seed.initial_seed() for seed in seeds))] * len(
            seeds
        )
        return super()._call(embeddings, prompts, shared)


class NoiseOfTheMachine(IpAdapter):
    def _call(self, embeddings: Any, prompts: Any, seeds: Any) -> Any:
        for seed in seeds:
            seed.seed()
        return super()._call(embeddings, prompts, seeds)


class FullBatchesCount(IpAdapter):
    def generate(self, embeddings: Any, prompts: Any, seeds: Any, weights: Any = None) -> Any:
        return super().generate(embeddings * np.float32(len(seeds)), prompts, seeds, weights)


class DeafAndSaysSo(IpAdapter):
    def __init__(self, pipeline: Any, **settings: Any) -> None:
        super().__init__(pipeline, **settings)
        self.READS_TEXT = False


class Deaf(IpAdapter):
    def _texts(self, prompts: Sequence[str]) -> Any:
        return super()._texts([""] * len(prompts))


class NullOfAnotherShape(IpAdapter):
    @property
    def null_embedding(self) -> Any:
        return np.zeros((1, *self.embedding_shape), np.float32)


class NullByChance(IpAdapter):
    @property
    def null_embedding(self) -> Any:
        return np.random.default_rng().random(self.embedding_shape, np.float32)


class OneWeightForAll(IpAdapter):
    def _weigh(self, weights: Any) -> None:
        super()._weigh(weights and weights[:1] * len(weights))


class NoWeights(IpAdapter):
    def _weigh(self, weights: Any) -> None:
        super()._weigh(None)


class WeightsStay(IpAdapter):
    def _weigh(self, weights: Any) -> None:
        self._last = weights or getattr(self, "_last", None)
        super()._weigh(self._last)


class HalfAWeight(IpAdapter):
    """Weight 0 is not nothing."""

    def _weigh(self, weights: Any) -> None:
        super()._weigh(weights and [(1 + weight) / 2 for weight in weights])


class OneBeginningForAll(IpAdapter):
    """All rows of a batch run the steps that are left of its first one."""

    def _kind(self, rows: Any, row: int) -> None:
        return None


class BeginsFromNoise(IpAdapter):
    def _begun(self, noise: Any) -> Any:
        return noise


class ResamplesItself(IpAdapter):
    def resampled(self, sampler: Any) -> Any:
        self._pipeline.scheduler = super().resampled(sampler)._pipeline.scheduler
        self.sampler = sampler
        return self


class OneSize(IpAdapter):
    def resampled(self, sampler: Any) -> Any:
        return super().resampled(sampler.model_copy(update={"size": None}))


class GuidesAlways(IpAdapter):
    def resampled(self, sampler: Any) -> Any:
        return super().resampled(sampler.model_copy(update={"guidance_interval": None}))


class AnnealsNothing(IpAdapter):
    def _conditioning(self) -> dict[str, slice]:
        return {}


class CachesNothing(IpAdapter):
    def resampled(self, sampler: Any) -> Any:
        return super().resampled(sampler.model_copy(update={"cache": None}))


class CachesForever(IpAdapter):
    def _sample(self, *given: Any) -> Any:
        begin, self._denoising.begin = self._denoising.begin, self._begin
        try:
            return super()._sample(*given)
        finally:
            self._denoising.begin = begin

    def _begin(self, batch: Any, *guiding: Any) -> None:
        if batch.sampler != getattr(self, "_sampled", None):
            type(self._denoising).begin(self._denoising, batch, *guiding)
        self._sampled = batch.sampler


class FollowsNoGuide(IpAdapter):
    def _judge(self, labels: Any) -> None:
        return None


class Silent(IpAdapter):
    def _stepped(self, pipeline: Any, step: Any, timestep: Any, tensors: Any) -> Any:
        return tensors


class TellsAnotherShape(IpAdapter):
    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        return (7,)


BROKEN: list[tuple[type[IpAdapter], Any, str]] = [
    (StockBatches, checks.neighbours, "the image of row 0 changes with the rows around it"),
    (OneGeneratorForAll, checks.neighbours, "the image of row 0 changes with the rows around it"),
    (OneGeneratorForAll, checks.position, "an image changes with its place in the batch"),
    (OneSeedForAll, checks.neighbours, "the image of row 2 changes with the rows around it"),
    (SumsOverTheBatch, checks.embedding_alone, "an image's embedding changes with the images around it"),
    (
        NoiseOfTheModelsType,
        checks.noise_in_float32,
        "of the noise in bfloat16 is other noise than in float32",
    ),
    (NoiseOfTheMachine, checks.repeats, "a batch that is made twice is not the same twice"),
    (FullBatchesCount, checks.padding, "images change in a batch of 1"),
    (DeafAndSaysSo, checks.its_own_row, "READS_TEXT is False, and prompts change images"),
    (Deaf, checks.its_own_row, "other prompts change 0 of 3 images"),
    (Deaf, checks.null, "without an image, prompts do not change what is made"),
    (
        NullOfAnotherShape,
        checks.null,
        r"null_embedding is float32 of \(1, 24\), an embedding is float32 of \(24,",
    ),
    (NullByChance, checks.null, "null_embedding is not the same twice"),
    (OneWeightForAll, checks.weights, "the weight of row 0 changes other rows"),
    (NoWeights, checks.weights, "WEIGHS_IMAGES is True, and a weight changes nothing"),
    (HalfAWeight, checks.weights, "an image of weight 0 depends on its embedding"),
    (WeightsStay, checks.weights, "weights stay for the next batch, which has none"),
    (OneBeginningForAll, checks.starts, "the image of row 2 changes with what its neighbours begin from"),
    (BeginsFromNoise, checks.starts, "the image that it begins from changes 0 of 3 images"),
    (ResamplesItself, checks.resampling, "a resampled generator changes the one it is made of"),
    (Silent, checks.resampling, "on_step is not called"),
    (
        GuidesAlways,
        checks.guidance_interval,
        "without guidance at any step, images are not those of guidance_scale 1",
    ),
    (AnnealsNothing, checks.cads, "sampler.cads changes 0 of 3 images"),
    (CachesNothing, checks.cache, "sampler.cache of every 1000 changes no image"),
    (CachesForever, checks.cache, "with sampler.cache, images change in a batch of 2"),
    (FollowsNoGuide, checks.feedback, "sampler.feedback changes 0 of 3 images"),
    (OneSize, checks.another_size, "with sampler.size 16 it makes images of 32"),
    (
        TellsAnotherShape,
        checks.told_without_loading,
        r"embedding_shape_in tells \(7,\) of an embedding, the model",
    ),
]


@pytest.fixture(scope="module")
def located(sd15: Path, sdxl: Path, ip_adapters: Path) -> tuple[Checkpoint, Recipe]:
    family = Family(SD15, sd15, sdxl, ip_adapters)
    return family.checkpoint, family.recipe(SAMPLER)


@pytest.mark.parametrize(
    ("broken", "check", "told"),
    [
        pytest.param(
            *one,
            marks=[] if one[1] not in {before[1] for before in BROKEN[:number]} else [pytest.mark.slow],
            id=f"{one[0].__name__}-{one[1].__name__}",
        )
        for number, one in enumerate(BROKEN)
    ],
)
def test_a_broken_family_is_found(
    broken: type[IpAdapter], check: Any, told: str, located: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        generators.PIPELINES, "StableDiffusionPipeline.ip-adapter", f"{__name__}:{broken.__name__}"
    )
    case = Case(*located, photos(3))
    with pytest.raises(ConformanceError, match=f"^{broken.__name__}: .*{told}"):
        check(case)


def test_every_check_has_found_one() -> None:
    assert {check for _, check, _ in BROKEN} == {*checks.CHECKS}
