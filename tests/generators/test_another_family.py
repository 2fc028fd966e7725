"""Another family of models is a class and a line in PIPELINES: nothing else knows families apart.

This one is invented: Kandinsky's pipeline under another name, without an image encoder. It has other
components than Stable unCLIP's, reads no text, has another null embedding and fewer schedulers.
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
from synthkit.recipe.sampler import Sampler
from tests.conftest import Cli
from tests.helpers import miniature_kandinsky
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=4)
RECIPE = """\
name: small
source: {kind: digits, max_per_class: 3}
synthetic_per_class: 1
prompt: ""
model: {id: FOLDER}
sampler: {scheduler: ddim, steps: 2, guidance_scale: 2.0, batch_size: 4}
"""
# Coordinates of an embedding: the colours of four cells.
SIZE = 12


class Colours(DiffusersGenerator):
    """Embeddings are the colours of four cells."""

    READS_TEXT: ClassVar[bool] = False
    DECODER: ClassVar[str] = "movq"
    SCHEDULERS: ClassVar[tuple[str, ...]] = ("ddim", "ddpm")
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

    @classmethod
    def _open(cls, folder: Path, dtype: torch.dtype, not_loaded: object) -> Any:
        from diffusers import KandinskyV22Pipeline

        return KandinskyV22Pipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)

    def _encode(self, prompt: str) -> None:
        raise NotImplementedError

    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        colours = [np.asarray(image.resize((2, 2)), np.float32).ravel() / 255 for image in images]
        return torch.from_numpy(np.stack(colours))

    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        Colours.made.append(len(prompts))
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
    folder = miniature_kandinsky.decoder(tmp_path_factory.mktemp("models") / "tiny-colours", SIZE)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "ColoursPipeline"}))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generators.PIPELINES, "ColoursPipeline", f"{__name__}:Colours")
        yield


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return locate(Model(id=str(folder)))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, list[str], list[int]]:
    embeddings = np.random.default_rng(0).random((4, SIZE), np.float32)
    return embeddings, [""] * 4, [5, 6, 7, 8]


def test_what_is_known_without_loading(checkpoint: Checkpoint) -> None:
    assert (image_edge(checkpoint, SAMPLER), embedding_shape(checkpoint)) == (64, (SIZE,))


def test_an_image_does_not_depend_on_its_neighbours(checkpoint: Checkpoint, rows: Any) -> None:
    generator = load_on_cpu(checkpoint, SAMPLER, prompt="")
    embeddings, prompts, seeds = rows
    whole = generator.generate(*rows)
    assert (whole.shape, whole.dtype) == ((4, 64, 64, 3), np.uint8)
    assert whole.reshape(4, -1).std(axis=1).min() > 5
    alone = generator.generate(embeddings[2:3], prompts[2:3], seeds[2:3])
    np.testing.assert_array_equal(alone[0], whole[2])
    other = generator.resampled(SAMPLER.model_copy(update={"scheduler": "ddpm"})).generate(*rows)
    assert (other != whole).any()
    np.testing.assert_array_equal(generator.generate(*rows), whole)


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
        read = Colours.read
        patch.setattr(Colours, "read", lambda model, **how: read(model, **how | {"device": "cpu"}))
        patch.setattr(Colours, "_stepped", self.stepped)

    def peak(self, device: str) -> int:
        self.asked.add(device)
        return 300 + 100 * Colours.made[-1]

    def properties(self, device: str) -> Any:
        self.asked.add(device)
        return type("Properties", (), {"total_memory": 2000})

    def stepped(self, pipeline: object, step: int, timestep: object, tensors: Any) -> Any:
        if Colours.made[-1] >= self.fails_from:
            raise torch.OutOfMemoryError
        return tensors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fails_from", "chosen"),
    [(8, 4), (100, 8), (2, None)],
)
def test_the_batch_size_that_fits_a_gpu_is_measured_once(
    checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails_from: int,
    chosen: int | None,
) -> None:
    gpu = Gpu(monkeypatch, fails_from)
    recipe = recipe_of(SAMPLER.model_copy(update={"batch_size": 0}), prompt="")
    if chosen is None:
        with pytest.raises(
            GeneratorError,
            match=r"the device has too little memory for batches of 2: lower sampler\.batch_size$",
        ):
            batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1")
        return
    assert batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1").sampler.batch_size == chosen
    # By arithmetic 14 images fit, so 8 are tried; of everything, this one device was asked.
    assert Colours.made[-1] == chosen
    assert gpu.asked == {"cuda:1"}
    Colours.made.clear()
    assert batch_size.settled(recipe, checkpoint, tmp_path, "cuda:1").sampler.batch_size == chosen
    assert not Colours.made


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
        """Return what doctor says of the model last: that it is here, or why it cannot be run."""
        lines = built("doctor", "recipe.yaml", *settings).output.splitlines()
        return [line for line in lines if line[2:].startswith("model ")][-1]

    assert "tiny-colours: here, " in model()
    assert "sampler.scheduler: this model cannot use pndm; use ddim, ddpm" in model(
        "--set", "sampler.scheduler=pndm"
    )
    assert "sampler.noise_level: is 5, this model needs 0" in model("--set", "sampler.noise_level=5")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            'prompt="a {name}"',
            'prompt: this model reads no text, so class names cannot reach it; set prompt: ""',
        ),
        ("conditioning.method=text-only", "conditioning.method: text-only is for models that read text"),
        (
            "conditioning={method: dropout, dropout: 1}",
            "conditioning.dropout: is 1, which leaves the class name alone, and this model reads no text; "
            "set it below 1",
        ),
    ],
)
def test_build_refuses_what_only_text_could_say(built: Cli, setting: str, told: str) -> None:
    result = built("build", "recipe.yaml", "--set", setting, "--out", "elsewhere")
    assert (result.exit_code, result.output.startswith(f"error: {told}")) == (1, True)


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
        assert "tiny-colours at " in text
        assert "unclip" not in text.lower()
    model = ("--set", f"model.id={folder}")
    printed(built, "show", "releases/small", "3", "--picture", "with.png", *model)
    sheet = Image.open(built.folder / "with.png")
    # Two sources, the conditioning by its coordinates, the synthetic image.
    assert sheet.width == 24 + 4 * (224 + 24)


def test_card_and_croissant_tell_of_the_model(built: Cli) -> None:
    release = built.folder / "releases" / "small"
    card, croissant = (release / "README.md").read_text(), (release / "croissant.json").read_text()
    assert "| Model | `tiny-colours`, content `" in card
    assert "by the frozen model tiny-colours at " in json.loads(croissant)["rai:dataCollection"]
    assert "unclip" not in (card + croissant).lower()


def test_an_audit_compares_with_its_embeddings(built: Cli, folder: Path) -> None:
    result = printed(built, "audit", "releases/small", "--set", f"model.id={folder}")
    assert "suspected" in result
    assert json.loads((built.folder / "releases/small/audit.json").read_text())["images"] > 0


def test_a_class_that_no_family_has(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "PaintPipeline"}')
    with pytest.raises(GeneratorError) as caught:
        locate(Model(id=str(tmp_path)))
    known = [name.replace(".", " with ") for name in generators.PIPELINES if name != "FlatColours"]
    assert known[-1] == "ColoursPipeline"
    assert str(caught.value) == (
        f"model {tmp_path.name}: is a PaintPipeline; synthkit runs {', '.join(known)}, "
        "and what installed packages bring (docs/generators.md)"
    )
