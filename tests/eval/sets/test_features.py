"""Feature spaces: an image's features are its own, and weights that cannot be had are told in one line."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from synthkit.errors import ScoreError
from synthkit.generators.checkpoint import BUILTIN, locate
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.sources.base import load_image
from synthkit.sources.digits import DigitsSource
from synthkit_eval.feature_names import OFFLINE, check_features
from synthkit_eval.sets.features import open_features
from tests.helpers.generating import load_on_cpu

if TYPE_CHECKING:
    from synthkit_eval.sets.features import Features

OTHERWISE = (
    "; `--features builtin:tiny-unclip-digits` works offline, `--features none` leaves the metrics out"
)
NETWORK = "test_vit"  # timm's smallest


@pytest.fixture(scope="module")
def digits() -> list[Image.Image]:
    source = DigitsSource("test")
    return [load_image(source, place) for place in range(0, 300, 25)]


@pytest.fixture(scope="module")
def sizes() -> list[Image.Image]:
    """Images of different sizes and shapes."""
    noise = np.random.default_rng(0)
    shapes = [(40, 60), (64, 64), (300, 20)]
    return [Image.fromarray(noise.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in shapes]


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as timm's users have them, with a classifier of 10 classes."""
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(timm.create_model(NETWORK, num_classes=10).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP, text and images, as it is on the Hub; small."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision["projection_dim"] = 24
    text = {**vision, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    config = CLIPConfig(
        text_config=text, vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=24
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    edge = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=edge).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def random_inception() -> Any:
    """torch-fidelity's network, which it does not make without a file, with random weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):
        def load_state_dict(self, found: dict[str, torch.Tensor]) -> None:
            assert not found

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    torch.manual_seed(0)
    return Unloaded("inception", ["2048"], feature_extractor_weights_path=nothing)


def test_builtin_features_are_the_generators(digits: list[Image.Image]) -> None:
    checkpoint = locate(Model(id=OFFLINE))
    sampler = Sampler(steps=4, guidance_scale=2.0, batch_size=8)
    generator = load_on_cpu(checkpoint, sampler)
    features = open_features(OFFLINE, "cpu", batch_size=8)
    found = features(digits)
    assert (features.name, features.dimensions) == (OFFLINE, 128)
    assert (found.shape, found.dtype) == ((12, 128), np.float32)
    np.testing.assert_array_equal(found, generator.embed_images(digits))


def test_builtin_loads_the_image_encoder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("image_encoder", "feature_extractor"):
        shutil.copytree(BUILTIN["tiny-unclip-digits"] / part, tmp_path / part)
    monkeypatch.setitem(BUILTIN, "tiny-unclip-digits", tmp_path)
    assert open_features(OFFLINE, "cpu")([Image.new("RGB", (32, 32))]).shape == (1, 128)


def test_timm_of_a_file(timm_file: Path, sizes: list[Image.Image]) -> None:
    import timm
    from safetensors.torch import load_file

    features = open_features(f"timm:{NETWORK}:{timm_file}", "cpu", batch_size=2)
    found = features(sizes)
    network = timm.create_model(NETWORK, num_classes=10).eval()
    network.load_state_dict(load_file(timm_file))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    with torch.no_grad():
        pixels = torch.stack([transform(image) for image in sizes])
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    assert found.shape == (3, features.dimensions) == (3, network.num_features)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert _without_content(features) == f"timm:{NETWORK}:weights.safetensors@"


def _without_content(features: Features) -> str:
    name, _, content = features.name.partition("@")
    assert len(content) == 12
    int(content, 16)
    return f"{name}@"


def test_clip_of_a_folder(clip_folder: Path, sizes: list[Image.Image]) -> None:
    from transformers import CLIPImageProcessor, CLIPModel

    features = open_features(f"clip:{clip_folder}", "cpu", batch_size=2)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = CLIPImageProcessor.from_pretrained(clip_folder)(images=sizes, return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    found = features(sizes)
    assert found.shape == (3, features.dimensions) == (3, 24)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert _without_content(features) == "clip:tiny-clip@"


@pytest.mark.slow
def test_inception_is_torch_fidelitys(
    random_inception: Any, sizes: list[Image.Image], tmp_path: Path
) -> None:
    torch.save(random_inception.state_dict(), tmp_path / "weights.pth")
    features = open_features(f"inception:{tmp_path}/weights.pth", "cpu", batch_size=2)
    found = features(sizes[:2])
    for image, row in zip(sizes, found, strict=False):
        (expected,) = random_inception(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
        np.testing.assert_allclose(row, expected[0], rtol=1e-4, atol=1e-5)
    assert found.shape == (2, features.dimensions) == (2, 2048)
    assert _without_content(features) == "inception:weights.pth@"


def test_neighbours_and_padding_change_no_bit(
    timm_file: Path, clip_folder: Path, digits: list[Image.Image]
) -> None:
    for spec in (OFFLINE, f"timm:{NETWORK}:{timm_file}", f"clip:{clip_folder}"):
        features = open_features(spec, "cpu", batch_size=8)
        whole = features(digits)
        np.testing.assert_array_equal(features(digits[::-1])[::-1], whole)
        np.testing.assert_array_equal(features(digits[5:6]), whole[5:6])
        assert features([]).shape == (0, features.dimensions)


def test_features_do_not_depend_on_what_training_has_set(digits: list[Image.Image]) -> None:
    features = open_features(OFFLINE, "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        features(digits)
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize(
    "spec",
    [OFFLINE, "none", "inception", "inception:a/b.pth", "timm:x", "timm:x:C:/w.safetensors", "clip:a/b"],
)
def test_forms_of_features(spec: str) -> None:
    check_features(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "dino",
        "builtin:",
        "builtin:x",
        "builtin:flat-colours",
        "tiny-unclip-digits",
        "timm:",
        "timm::x",
        "clip:",
        "inception:",
    ],
)
def test_what_is_no_form_of_features(spec: str) -> None:
    with pytest.raises(ScoreError, match=f"^features {spec}: unknown; use one of builtin:tiny.*, or none$"):
        check_features(spec)
    with pytest.raises(ScoreError, match="unknown"):
        open_features(spec, "cpu")


def problem(spec: str) -> str:
    """What a user is told, before what works otherwise."""
    with pytest.raises(ScoreError) as caught:
        open_features(spec, "cpu")
    text = str(caught.value)
    assert text.startswith(f"features {spec}: ")
    assert text.endswith(OTHERWISE)
    assert "\n" not in text
    return text.removeprefix(f"features {spec}: ").removesuffix(OTHERWISE)


def test_none_cannot_be_opened() -> None:
    with pytest.raises(ScoreError, match="features none: is not a feature space"):
        open_features("none", "cpu")


def test_an_unknown_network_of_timm() -> None:
    told = problem("timm:vit_small_patch14_dinov2.lvd142")
    assert told.startswith("timm has no such network; the nearest are vit_small_patch14_dinov2.lvd142m, ")
    assert problem("timm:resnet81:x.safetensors").startswith("timm has no such network; the nearest are ")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert problem(f"inception:{tmp_path}/no.pth") == f"{tmp_path}/no.pth: No such file or directory"
    assert problem(f"timm:{NETWORK}:{tmp_path}") == f"{tmp_path}: Is a directory"
    assert problem("clip:no-such-folder") == (
        "there is no such folder, and a Hub repository is organisation/name"
    )


def test_weights_of_another_network(timm_file: Path, clip_folder: Path, tmp_path: Path) -> None:
    """Libraries would fill what is missing with random numbers, and say nothing."""
    told = problem(f"timm:resnet18:{timm_file}")
    assert told.startswith(f"{timm_file} holds no resnet18 in safetensors: it lacks bn1.bias and ")
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    save_file({"text": torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    assert "is not a CLIP image encoder in safetensors: it lacks " in problem(f"clip:{folder}")


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_nothing_is_unpickled(clip_folder: Path, tmp_path: Path) -> None:
    trap, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"state_dict": Trap(sprung)}, trap)
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()
    sprung.unlink()
    told = "it is damaged, or holds more than tensors, which is not unpickled"
    assert problem(f"inception:{trap}") == f"{trap} holds no InceptionV3 of torch-fidelity: {told}"
    assert "holds no" in problem(f"timm:{NETWORK}:{trap}")
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "model.safetensors").unlink()
    shutil.copy(trap, folder / "pytorch_model.bin")
    assert problem(f"clip:{folder}").startswith("is not a CLIP image encoder in safetensors: ")
    assert not sprung.exists()


def test_no_code_of_a_folder_is_run(clip_folder: Path, tmp_path: Path, digits: list[Image.Image]) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(clip_folder, folder)
    (folder / "code.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Own: pass\n")
    for name, key in (("config", "AutoModel"), ("preprocessor_config", "AutoImageProcessor")):
        settings = json.loads((folder / f"{name}.json").read_text())
        (folder / f"{name}.json").write_text(json.dumps({**settings, "auto_map": {key: "code.Own"}}))
    open_features(f"clip:{folder}", "cpu")(digits[:1])
    assert not (tmp_path / "sprung").exists()


def test_weights_of_the_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    missing = "is not on this machine, and HF_HUB_OFFLINE is set; unset it to reach the Hub"
    assert problem("clip:openai/clip-vit-base-patch32") == f"openai/clip-vit-base-patch32: {missing}"
    assert problem(f"timm:{NETWORK}.r160_in1k") == f"timm/{NETWORK}.r160_in1k: {missing}"


def test_weights_that_the_hub_gave_before_need_no_network(
    timm_file: Path,
    clip_folder: Path,
    digits: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    for repository, files in (
        (f"timm--{NETWORK}.r160_in1k", {"model.safetensors": timm_file}),
        ("lab--clip", {path.name: path for path in clip_folder.iterdir()}),
    ):
        cached = tmp_path / f"models--{repository}"
        (cached / "snapshots" / commit).mkdir(parents=True)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(commit)
        for name, path in files.items():
            shutil.copy(path, cached / "snapshots" / commit / name)
    for spec, name, same in (
        (f"timm:{NETWORK}", f"timm:{NETWORK}.r160_in1k@0123456789ab", f"timm:{NETWORK}:{timm_file}"),
        ("clip:lab/clip", "clip:lab/clip@0123456789ab", f"clip:{clip_folder}"),
    ):
        features = open_features(spec, "cpu")
        assert features.name == name
        np.testing.assert_array_equal(features(digits), open_features(same, "cpu")(digits))


def test_inception_that_cannot_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    told = problem("inception")
    assert told.startswith("its weights cannot be downloaded (")
    assert told.endswith("6726825d.pth elsewhere and name the file: inception:FILE")
    assert capfd.readouterr().err.startswith("features inception: downloading https://github.com/toshas/")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
