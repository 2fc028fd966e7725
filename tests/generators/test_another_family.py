"""A second family of models is a class and a line in PIPELINES: nothing else knows families apart.

It is Kandinsky 2.2's decoder in miniature with random weights: other components than Stable unCLIP's, no
text, another null embedding, fewer schedulers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from synthkit import generators
from synthkit.errors import GeneratorError
from synthkit.generators import batch_size, embedding_shape, image_edge
from synthkit.generators.base import component_config
from synthkit.generators.checkpoint import Checkpoint, locate
from synthkit.generators.diffusers_pipeline import DiffusersGenerator
from synthkit.recipe.model import Model
from synthkit.recipe.schema import Arithmetic, Sampler
from tests.conftest import Cli
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=4)
RECIPE = """\
name: small
source: {kind: digits, max_per_class: 3}
synthetic_per_class: 1
model: {id: FOLDER}
sampler: {scheduler: ddim, steps: 2, guidance_scale: 2.0, batch_size: 4}
"""
# Coordinates of an embedding: the colours of four cells.
SIZE = 12


class Kandinsky(DiffusersGenerator):
    """Embeddings are colours, since Kandinsky's image encoder is not a part of its decoder."""

    READS_TEXT: ClassVar[bool] = False
    DECODER: ClassVar[str] = "movq"
    SCHEDULERS: ClassVar[tuple[str, ...]] = ("ddim", "euler")
    FIXED: ClassVar[dict[str, object]] = {"noise_level": 0}
    # The batches that were made.
    made: ClassVar[list[int]] = []

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        return (int(component_config(folder, cls.DENOISER)["encoder_hid_dim"]),)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        return (SIZE,)

    @property
    def null_embedding(self) -> np.ndarray:
        return np.full(SIZE, 0.5, np.float32)

    def _encode(self, prompt: str) -> None:
        raise NotImplementedError

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        colours = [np.asarray(image.resize((2, 2)), np.float32).ravel() / 255 for image in images]
        return torch.from_numpy(np.stack(colours))

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        Kandinsky.made.append(len(prompts))
        images = self._pipeline(
            image_embeds=embeddings,
            negative_image_embeds=torch.from_numpy(self.null_embedding).expand_as(embeddings),
            generator=generators,
            num_inference_steps=self.sampler.steps,
            guidance_scale=self.sampler.guidance_scale,
            height=64,
            width=64,
            output_type="pt",
            callback_on_step_end=self._stepped,
        ).images
        return (images / 2 + 0.5).clamp(0, 1)

    def _stepped(self, pipeline: object, step: int, timestep: object, tensors: Any) -> Any:
        self.on_step()
        return tensors

    def _draw_in_float32(self, pipeline: object) -> None:
        """Leave the pipeline's drawing as it is, which is in float32 here."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import DDIMScheduler, KandinskyV22Pipeline, UNet2DConditionModel, VQModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        encoder_hid_dim=SIZE,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=SIZE,
        attention_head_dim=4,
        norm_num_groups=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=[32] * 4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-kandinsky"
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False)
    KandinskyV22Pipeline(unet=unet, scheduler=scheduler, movq=movq).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generators.PIPELINES, "KandinskyV22Pipeline", f"{__name__}:Kandinsky")
        yield


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return locate(Model(id=str(folder)))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, list[str], list[int]]:
    embeddings = np.random.default_rng(0).random((4, SIZE), np.float32)
    return embeddings, ["zero", "one", "two", "three"], [5, 6, 7, 8]


def test_what_is_known_without_loading(checkpoint: Checkpoint) -> None:
    assert (image_edge(checkpoint), embedding_shape(checkpoint)) == (64, (SIZE,))


def test_an_image_does_not_depend_on_its_neighbours(checkpoint: Checkpoint, rows: Any) -> None:
    generator = load_on_cpu(checkpoint, SAMPLER)
    embeddings, prompts, seeds = rows
    whole = generator.generate(*rows)
    assert (whole.shape, whole.dtype) == ((4, 64, 64, 3), np.uint8)
    assert whole.reshape(4, -1).std(axis=1).min() > 5
    alone = generator.generate(embeddings[2:3], prompts[2:3], seeds[2:3])
    np.testing.assert_array_equal(alone[0], whole[2])
    other = generator.resampled(SAMPLER.model_copy(update={"scheduler": "euler"})).generate(*rows)
    assert (other != whole).any()
    np.testing.assert_array_equal(generator.generate(*rows), whole)


@pytest.mark.parametrize(
    "arithmetic",
    [
        Arithmetic(channels_last=True),
        Arithmetic(attention="math"),
        Arithmetic(tf32=True),
    ],
    ids=lambda option: str(option.model_dump(exclude_defaults=True)),
)
def test_arithmetic_is_put_into_effect(checkpoint: Checkpoint, rows: Any, arithmetic: Arithmetic) -> None:
    plain = load_on_cpu(checkpoint, SAMPLER).generate(*rows)
    generator = load_on_cpu(checkpoint, SAMPLER, arithmetic=arithmetic)
    assert np.abs(generator.generate(*rows).astype(int) - plain).max() <= 2
    unet, movq = generator._pipeline.unet, generator._pipeline.movq
    last = [parts.conv_in.weight.stride()[1] == 1 for parts in (unet, movq.encoder)]
    assert last == [arithmetic.channels_last] * 2


@pytest.mark.parametrize(
    ("option", "kind"), [("vae_slicing", "VQModel"), ("fused_projections", "UNet2DConditionModel")]
)
def test_arithmetic_that_a_component_does_not_have(checkpoint: Checkpoint, option: str, kind: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        load_on_cpu(checkpoint, SAMPLER, arithmetic=Arithmetic.model_validate({option: True}))
    told = f"arithmetic.{option}: this model's {kind} does not have it; set it to false"
    assert str(caught.value) == told


class Gpu:
    """A pretended GPU of 2,000 bytes: a model of 300, and 100 for each image at once."""

    def __init__(self, patch: pytest.MonkeyPatch, fails_from: int) -> None:
        self.asked: set[str] = set()
        self.fails_from = fails_from
        patch.setattr(batch_size, "choose_device", lambda wanted: wanted)
        patch.setattr(batch_size, "device_name", lambda device: f"cuda (pretended {device})")
        patch.setattr(torch.cuda, "empty_cache", lambda: None)
        patch.setattr(torch.cuda, "reset_peak_memory_stats", self.asked.add)
        patch.setattr(torch.cuda, "max_memory_allocated", self.peak)
        patch.setattr(torch.cuda, "get_device_properties", self.properties)
        read = Kandinsky.read
        patch.setattr(Kandinsky, "read", lambda model, **how: read(model, **how | {"device": "cpu"}))
        patch.setattr(Kandinsky, "_stepped", self.stepped)

    def peak(self, device: str) -> int:
        self.asked.add(device)
        return 300 + 100 * Kandinsky.made[-1]

    def properties(self, device: str) -> Any:
        self.asked.add(device)
        return type("Properties", (), {"total_memory": 2000})

    def stepped(self, pipeline: object, step: int, timestep: object, tensors: Any) -> Any:
        if Kandinsky.made[-1] >= self.fails_from:
            raise torch.OutOfMemoryError
        return tensors


@pytest.mark.parametrize(
    ("fails_from", "chosen"), [pytest.param(100, 8, marks=pytest.mark.slow), (8, 4), (2, None)]
)
def test_the_batch_size_that_fits_a_gpu_is_measured_once(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails_from: int,
    chosen: int | None,
) -> None:
    gpu = Gpu(monkeypatch, fails_from)
    recipe = recipe_of(SAMPLER.model_copy(update={"batch_size": 0}))
    if chosen is None:
        with pytest.raises(
            GeneratorError,
            match=r"the device has too little memory for batches of 2: lower sampler\.batch_size$",
        ):
            batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1")
        return
    assert batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1").sampler.batch_size == chosen
    # By arithmetic 14 images fit, so 8 are tried; of everything, this one device was asked.
    assert Kandinsky.made[-1] == chosen
    assert gpu.asked == {"cuda:1"}
    Kandinsky.made.clear()
    assert batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1").sampler.batch_size == chosen
    assert not Kandinsky.made


# --- commands ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release by the second family."""
    cli = Cli(tmp_path_factory.mktemp("built"))
    (cli.folder / "recipe.yaml").write_text(RECIPE.replace("FOLDER", str(folder)))
    result = cli("build", "recipe.yaml", "--workers", "1")
    assert result.exit_code == 0, result.output
    return cli


def printed(cli: Cli, *arguments: str) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_doctor_knows_the_model_and_what_it_cannot_do(built: Cli) -> None:
    def model(*settings: str) -> str:
        lines = built("doctor", "recipe.yaml", *settings).output.splitlines()
        return next(line for line in lines if line[2:].startswith("model "))

    assert "tiny-kandinsky: here, " in model()
    assert "sampler.scheduler: this model cannot use pndm; use ddim, euler" in model(
        "--set", "sampler.scheduler=pndm"
    )
    assert "sampler.noise_level: is 5, this model needs 0" in model("--set", "sampler.noise_level=5")


@pytest.mark.parametrize("setting", ["sampler.noise_level=5", "sampler.scheduler=pndm"])
def test_build_refuses_what_the_model_cannot_do(built: Cli, setting: str) -> None:
    result = built("build", "recipe.yaml", "--set", setting, "--out", "elsewhere")
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {setting.partition('=')[0]}: ")


def test_the_release_is_whole_and_its_images_are_made_again(built: Cli, folder: Path) -> None:
    printed(built, "verify", "releases/small")
    model = ("--set", f"model.id={folder}")
    assert "000000003: identical" in printed(built, "replay", "releases/small", "3", *model)


def test_show_tells_of_the_release_and_draws_the_history(built: Cli, folder: Path) -> None:
    for key in ((), ("3",)):
        text = printed(built, "show", "releases/small", *key)
        assert "ddim, 2 steps, guidance 2.0, noise level 0, batches of 4" in text
        assert "tiny-kandinsky at " in text
        assert "unclip" not in text.lower()
    model = ("--set", f"model.id={folder}")
    printed(built, "show", "releases/small", "3", "--picture", "with.png", *model)
    sheet = Image.open(built.folder / "with.png")
    # Two sources, the conditioning by its coordinates, the synthetic image.
    assert sheet.width == 24 + 4 * (224 + 24)


def test_card_and_croissant_tell_of_the_model(built: Cli) -> None:
    release = built.folder / "releases" / "small"
    card, croissant = (release / "README.md").read_text(), (release / "croissant.json").read_text()
    assert "| Model | `tiny-kandinsky`, content `" in card
    assert "by the frozen model tiny-kandinsky at " in json.loads(croissant)["rai:dataCollection"]
    assert "unclip" not in (card + croissant).lower()


def test_an_audit_compares_with_its_embeddings(built: Cli, folder: Path) -> None:
    result = printed(built, "audit", "releases/small", "--set", f"model.id={folder}")
    assert "suspected" in result
    assert json.loads((built.folder / "releases/small/audit.json").read_text())["images"] > 0


def test_a_class_that_no_family_has(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "PaintPipeline"}')
    with pytest.raises(GeneratorError) as caught:
        locate(Model(id=str(tmp_path)))
    assert str(caught.value) == (
        f"model {tmp_path.name}: is a PaintPipeline; synthkit runs StableUnCLIPImg2ImgPipeline, "
        "KandinskyV22Pipeline, and what installed packages bring (docs/generators.md)"
    )
