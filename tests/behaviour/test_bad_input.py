"""What goes wrong outside a recipe's text: one line, exit code 1, nothing lost."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli, digests, read_member
from tests.helpers.warm import Warm


@pytest.fixture
def folder_recipe(cli: Cli) -> Path:
    """Real images in a folder: two classes of three, at two depths, one name with a space."""
    rng = np.random.default_rng(0)
    for name in (
        "cat/a.png",
        "cat/b.jpg",
        "cat/deep/c.webp",
        "lesser dog/1.png",
        "lesser dog/2.PNG",
        "lesser dog/3.bmp",
    ):
        path = cli.folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    (cli.folder / "images" / "cat" / "notes.txt").write_text("not an image, and not called one")
    recipe = cli.recipe("target_per_class: 5")
    text = recipe.read_text().splitlines()
    start, stop = text.index("source:"), text.index('prompt: "{name}"')
    text[start:stop] = ["source: {kind: folder, root: images}"]
    recipe.write_text("\n".join(text))
    return recipe


def refused(cli: Cli, *arguments: str | Path) -> str:
    result = cli("build", *arguments)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if "images/s" not in line]
    assert len(lines) == 1, result.output
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_folder_of_images_builds(cli: Cli, folder_recipe: Path) -> None:
    assert cli("build", folder_recipe).exit_code == 0
    manifest = json.loads((cli.folder / "releases/small/manifest.json").read_text())
    assert [(item["name"], item["real"]) for item in manifest["classes"]] == [("cat", 3), ("lesser dog", 3)]
    import pyarrow.parquet as pq

    rows = pq.read_table(cli.folder / "releases/small/provenance/train-00000.parquet").to_pylist()
    ids = {source["id"] for row in rows for source in row["sources"]}
    assert ids <= {
        "cat/a.png",
        "cat/b.jpg",
        "cat/deep/c.webp",
        *(f"lesser dog/{n}" for n in ("1.png", "2.PNG", "3.bmp")),
    }


def test_a_moved_folder_of_images_is_the_same_release(cli: Cli, folder_recipe: Path) -> None:
    cli("build", folder_recipe)
    (cli.folder / "images").rename(cli.folder / "moved")
    result = cli("build", folder_recipe, "--set", "source.root=moved")
    assert "0 of them made now" in result.output


def test_a_changed_image_is_another_release(cli: Cli, folder_recipe: Path) -> None:
    cli("build", folder_recipe)
    Image.new("RGB", (9, 9)).save(cli.folder / "images/cat/a.png")
    assert "was built from another recipe" in refused(cli, folder_recipe)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is not an image of a known format"), (b"GIF89a", ""), ("half", "truncated")],
)
def test_an_unreadable_image_stops_the_build_or_is_skipped_and_listed(
    cli: Cli, folder_recipe: Path, content: bytes | str, reason: str
) -> None:
    path = cli.folder / "images/cat/a.png"
    path.write_bytes(path.read_bytes()[:1500] if isinstance(content, str) else content)
    told = refused(cli, folder_recipe)
    assert "images/cat/a.png: cannot be read: " in told
    assert reason in told
    assert "mend or remove it, or set source.on_error: skip" in told

    built = cli("build", folder_recipe, "--set", "source.on_error=skip")
    assert built.exit_code == 0
    assert "real images: 1 skipped, since they cannot be read (cat/a.png: " in built.output
    manifest = json.loads((cli.folder / "releases/small/manifest.json").read_text())
    (skipped,) = manifest["skipped"]
    assert skipped["id"] == "cat/a.png"
    assert str(cli.folder) not in skipped["reason"]
    assert "1 real image(s) could not be read" in (cli.folder / "releases/small/README.md").read_text()
    assert cli("verify", "releases/small").exit_code == 0


def test_all_unreadable_images_are_told_and_a_class_is_not_lost_silently(
    cli: Cli, folder_recipe: Path
) -> None:
    for name in ("a.png", "b.jpg", "deep/c.webp"):
        (cli.folder / "images/cat" / name).write_bytes(b"")
    result = cli("build", folder_recipe)
    assert result.exit_code == 1
    assert "3 real images cannot be read; mend or remove them" in result.output
    assert result.output.count("it is not an image of a known format") == 3
    told = refused(cli, folder_recipe, "--set", "source.on_error=skip")
    assert "every image of class cat was skipped as unreadable; for one, images/cat/a.png" in told


def test_a_prompt_that_would_be_cut_off(cli: Cli) -> None:
    told = refused(cli, cli.recipe(), "--set", "prompt=" + "very " * 80 + "{name}")
    assert "tokens, the model reads 32; shorten the prompt, rename the class" in told


def test_hidden_folders_are_passed_over_and_names_must_be_unicode(cli: Cli, folder_recipe: Path) -> None:
    from synthkit.recipe.families import FolderSourceConfig
    from synthkit.sources import open_source

    hidden = cli.folder / "images" / "cat" / ".thumbnails"
    hidden.mkdir()
    shutil.copy(cli.folder / "images/cat/a.png", hidden / "a.png")
    assert len(open_source(FolderSourceConfig(kind="folder", root=str(cli.folder / "images"))).listing) == 6
    latin = os.fsdecode(os.fsencode(cli.folder / "images/cat") + b"/caf\xe9.png")
    (cli.folder / "images/cat/a.png").rename(latin)
    assert "has a name that cannot be printed; rename it" in refused(cli, folder_recipe)


def test_a_class_without_images(cli: Cli, folder_recipe: Path) -> None:
    (cli.folder / "images" / "ghost").mkdir()
    (cli.folder / "images/cat/a.png").write_bytes(b"")
    told = refused(cli, folder_recipe)
    assert "no real image of class ghost" in told
    # Before a single image is read.
    assert "cannot be read" not in told and "reading real images" not in told
    result = cli("plan", folder_recipe)
    assert result.exit_code == 1
    assert "no real image of class ghost" in result.output


def test_no_classes_and_no_folder(cli: Cli, folder_recipe: Path) -> None:
    (cli.folder / "empty").mkdir()
    assert "empty has no class folders" in refused(cli, folder_recipe, "--set", "source.root=empty")
    assert "there is no folder gone" in refused(cli, folder_recipe, "--set", "source.root=gone")


def test_every_class_full_already(cli: Cli) -> None:
    assert "nothing to make" in refused(cli, cli.recipe(), "--set", "target_per_class=1")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("builtin:tiny", "there is no built-in model builtin:tiny; there is builtin:tiny-unclip-digits"),
        ("./models/gone", "model.id: there is no folder ./models/gone"),
        ("gone", "model.id: there is no folder gone"),
        ("a/b--c", "model.id: there is no folder a/b--c"),
        ("~nobody-here/x", "model.id: there is no folder ~nobody-here/x"),
        ("list", "has no readable model_index.json"),
        ("empty", "has no readable model_index.json"),
        ("sdxl", "model.adapter: is missing; a StableDiffusionXLPipeline takes images through an adapter"),
        ("hollow", "model hollow: cannot be loaded"),
    ],
)
def test_models_that_cannot_be_used(cli: Cli, model: str, told: str) -> None:
    for name, content in (("sdxl", "StableDiffusionXLPipeline"), ("hollow", "StableUnCLIPImg2ImgPipeline")):
        (cli.folder / name).mkdir()
        (cli.folder / name / "model_index.json").write_text(json.dumps({"_class_name": content}))
    (cli.folder / "empty").mkdir()
    (cli.folder / "list").mkdir()
    (cli.folder / "list" / "model_index.json").write_text("[]")
    assert told in refused(cli, cli.recipe(), "--set", f"model.id='{model}'")


def test_pickled_weights_are_never_loaded(cli: Cli) -> None:
    from synthkit.generators.checkpoint import BUILTIN

    copy = cli.folder / "pickled"
    shutil.copytree(BUILTIN["tiny-unclip-digits"], copy)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copy / "unet" / "diffusion_pytorch_model.bin"
    )
    told = refused(cli, cli.recipe(), "--set", "model.id=pickled")
    assert "pickled has the weights of unet only as diffusion_pytorch_model.bin, a pickle" in told


@pytest.mark.slow
def test_a_model_folder_is_one_model_however_it_is_spelt(cli: Cli, small_release: Path) -> None:
    from synthkit.generators.checkpoint import BUILTIN

    shutil.copytree(BUILTIN["tiny-unclip-digits"], cli.folder / "models" / "tiny")
    recipe = cli.recipe("target_per_class: 9")
    for spelling in ("models/tiny", "./models/tiny", str(cli.folder / "models" / "tiny")):
        result = cli("build", recipe, "--set", f"model.id={spelling}")
        assert result.exit_code == 0, result.output
    assert "0 of them made now" in result.output
    assert str(cli.folder) not in (cli.folder / "releases/small/recipe.yaml").read_text()


def test_more_steps_than_the_scheduler_has(cli: Cli) -> None:
    assert "sampler.steps: 1000 are more than this model's" in refused(
        cli, cli.recipe(), "--set", "sampler.steps=1000"
    )


def test_a_truncated_weight_file(cli: Cli) -> None:
    from synthkit.generators.checkpoint import BUILTIN

    copy = cli.folder / "cut"
    shutil.copytree(BUILTIN["tiny-unclip-digits"], copy)
    for path in (copy / "text_encoder").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert "model cut: cannot be loaded: " in refused(cli, cli.recipe(), "--set", "model.id=cut")


def test_a_pinned_revision_must_match(cli: Cli) -> None:
    told = refused(cli, cli.recipe(), "--set", "model.revision=abc")
    assert "model.revision: builtin:tiny-unclip-digits is " in told


def test_a_model_on_the_hub_that_is_in_the_cache_needs_no_network(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, small_release: Path
) -> None:
    import huggingface_hub.constants

    from synthkit.generators.checkpoint import BUILTIN

    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = cli.folder / "hub"
    shutil.copytree(BUILTIN["tiny-unclip-digits"], cache / "models--me--tiny" / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    changes = ("--set", "model.id=me/tiny", "--set", f"model.revision={commit}")
    result = cli("build", cli.recipe(), *changes)
    assert result.exit_code == 0, result.output
    import pyarrow.parquet as pq

    mine, builtin = (
        pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
        for release in (cli.folder / "releases/small", small_release)
    )
    content = {row["revision"] for row in builtin}
    assert {(row["model"], row["revision"]) for row in mine} == {("me/tiny", *content)}
    assert [row["seed"] for row in mine] == [row["seed"] for row in builtin]
    # The files differ in the model that their marks name; the pixels do not.
    pixels = [
        np.asarray(
            Image.open(io.BytesIO(read_member(next(release.glob("data/*00000.tar")), "000000000.png")))
        )
        for release in (cli.folder / "releases/small", small_release)
    ]
    assert (pixels[0] == pixels[1]).all()


def test_float16_on_a_cpu_and_a_device_that_is_not_there(cli: Cli) -> None:
    changes = ("--set", "model.dtype=float16")
    assert "float16 needs a GPU" in refused(cli, cli.recipe(), "--device", "cpu", *changes)
    assert "--device cuda:99: there is no such device" in refused(cli, cli.recipe(), "--device", "cuda:99")
    assert "--device toaster: there is no such device" in refused(cli, cli.recipe(), "--device", "toaster")


def test_no_place_to_write(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    assert "file is not a folder; choose another --out" in refused(
        cli, cli.recipe(), "--out", "file"
    ).replace(":", "")
    # Not even the superuser may make a folder there.
    told = refused(cli, cli.recipe(), "--out", "/sys/synthkit")
    assert "/sys/synthkit" in told
    assert "choose a folder you may write to with --out" in told


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_what_is_finished(cli: Cli, warm: Warm) -> None:
    """A limit on the size of files stands in for the disk: the second write to fail is real all the same."""
    recipe = cli.recipe()
    recipe.write_text(recipe.read_text().replace("tiny-unclip-digits", "flat-colours"))
    assert cli("build", recipe, "--out", "whole").exit_code == 0
    limited = warm.start("build", str(recipe), cwd=cli.folder, file_size=60_000)
    _, told = limited.communicate()
    assert limited.returncode == 1, told
    last = told.splitlines()[-1]
    assert last.startswith("error: .synthkit")
    assert "what is finished is kept: make room and run the same command again" in last
    assert not (cli.folder / "releases/small").exists()
    assert not list(cli.folder.glob(".synthkit/*/shards/*.tar"))
    assert cli("build", recipe).exit_code == 0
    assert digests(cli.folder / "releases/small") == digests(cli.folder / "whole/small")


def test_debug_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_DEBUG", "1")
    result = cli("build", "gone.yaml")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "RecipeError"
