"""`synthkit replay`: an image of a release is made again, bit for bit, from the release alone."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.conditioning import METHODS
from synthkit.generators.checkpoint import BUILTIN
from tests.conftest import FLAT, Cli
from tests.helpers import miniatures
from tests.helpers.commands import error_of, output_of, run_build
from tests.helpers.forging import Forgery, image_files, repaint
from tests.helpers.methods import by

QUICK = ("--set", "sampler.steps=1", "--set", "sampler.batch_size=2")
FOLDER_RECIPE = """\
name: small
source: {kind: folder, root: images}
target_per_class: 4
conditioning: {method: mixup-dropout}
output: {format: webp, shard_size: 2}
model: {id: builtin:tiny-unclip-digits}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preview of three images."""
    cli = Cli(tmp_path_factory.mktemp("digits"))
    run_build(cli, cli.recipe(), *QUICK, "--limit", "3")
    return cli.folder / "releases" / "small-preview"


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a model: for what is told of images and records, whoever painted them."""
    cli = Cli(tmp_path_factory.mktemp("flat"))
    run_build(cli, cli.recipe(), *QUICK, *FLAT, "--limit", "3")
    return cli.folder / "releases" / "small-preview"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images`, three of each of two classes, and a release of one more of each."""
    cli = Cli(tmp_path_factory.mktemp("photos"))
    for number in range(6):
        miniatures.photo(cli.folder / "images" / f"class {number % 2}" / f"{number}.jpg", number)
    (cli.folder / "recipe.yaml").write_text(FOLDER_RECIPE)
    run_build(cli, cli.folder / "recipe.yaml", *QUICK)
    return cli.folder


def identical(*keys: str) -> str:
    lines = [f"{key}: identical\n" for key in keys]
    return "".join(lines) + f"{len(keys)} of {len(keys)} identical\n"


def said(cli: Cli, *arguments: str | Path) -> str:
    """What is told of images that are all identical."""
    result = cli("replay", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


# One of each kind: pixels, embeddings, dropped coordinates, no real image.
TRIED_BY_DEFAULT = ("cutmix", "embed-cutmix-dropout", "text-only")


@pytest.mark.parametrize(
    "method",
    [name if name in TRIED_BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_images_of_every_method_are_made_again_from_the_release_alone(cli: Cli, method: str) -> None:
    settings = (*(word for setting in by(method, 1.0) for word in ("--set", setting)), "--out", "made")
    run_build(cli, cli.recipe(), *QUICK, "--limit", "3", *settings)
    elsewhere = cli.folder / "else where"
    (cli.folder / "made" / "small-preview").rename(elsewhere)
    shutil.rmtree(cli.folder / "made")
    (cli.folder / "recipe.yaml").unlink()
    assert said(cli, elsewhere, "2", "000000000") == identical("000000002", "000000000")
    everything = identical("000000000", "000000001", "000000002")
    assert said(cli, elsewhere, "--sample", "9") == everything


def test_a_sample_is_of_different_images_in_order(cli: Cli, small_release: Path) -> None:
    *lines, last = said(cli, small_release, "--sample", "5").splitlines()
    keys = [line.removesuffix(": identical") for line in lines]
    assert last == "5 of 5 identical"
    assert len(set(keys)) == 5
    assert keys == sorted(keys)
    assert all(key.isdecimal() and int(key) < 76 for key in keys)


def test_a_key_twice_is_made_twice(cli: Cli, digits: Path) -> None:
    assert said(cli, digits, "1", "0001") == identical("000000001", "000000001")


def test_out_holds_the_very_files(cli: Cli, digits: Path) -> None:
    said(cli, digits, "0", "2", "--out", "again/here")
    found = {path.name: path.read_bytes() for path in (cli.folder / "again/here").iterdir()}
    release = image_files(digits)
    assert found == {name: release[name] for name in ("000000000.png", "000000002.png")}


def test_real_images_that_were_moved(cli: Cli, photos: Path) -> None:
    shutil.copytree(photos / "images", cli.folder / "moved")
    settings = ("--set", "source.root=moved", "--out", "again")
    assert said(cli, photos / "releases/small", "0", "1", *settings) == identical("000000000", "000000001")
    assert sorted(path.name for path in (cli.folder / "again").iterdir()) == [
        "000000000.webp",
        "000000001.webp",
    ]


def test_only_the_real_images_that_are_needed_have_to_be_there(cli: Cli, photos: Path) -> None:
    shutil.copytree(photos / "images", cli.folder / "images")
    record = output_of(cli, "show", photos / "releases/small", "0", "--json")
    for path in (cli.folder / "images").rglob("*.jpg"):
        if path.relative_to(cli.folder / "images").as_posix() not in record:
            path.unlink()
            break
    assert said(cli, photos / "releases/small", "0") == identical("000000000")


def test_a_model_that_was_moved_or_is_another_one(cli: Cli, digits: Path) -> None:
    shutil.copytree(BUILTIN["tiny-unclip-digits"], cli.folder / "copied model")
    settings = ("--set", "model.id=copied model")
    assert said(cli, digits, "0", *settings) == identical("000000000")
    with (cli.folder / "copied model" / "unet" / "config.json").open("a") as stream:
        stream.write("\n")
    line = error_of(cli, "replay", digits, "0", *settings, "--out", "again")
    assert line == (
        "error: model.sha256: copied model has other content (unet/config.json differs); "
        "get the files that model.sha256 names"
    )
    (cli.folder / "copied model" / "unet" / "config.json").unlink()
    line = error_of(cli, "replay", digits, "0", *settings, "--out", "again")
    assert "(unet/config.json is missing)" in line
    line = error_of(cli, "replay", digits, "0", "--set", f"model.revision={'0' * 64}")
    assert f", not {'0' * 64}: these are other weights" in line
    assert "there is no folder nowhere" in error_of(cli, "replay", digits, "0", "--set", "model.id=nowhere")


def test_real_images_that_are_missing_or_changed(cli: Cli, photos: Path) -> None:
    # In a folder whose work folders know nothing of it.
    release = shutil.copytree(photos / "releases/small", cli.folder / "pulled" / "a" / "small")
    command = ("replay", release, "--sample", "2", "--out", "again")
    assert error_of(cli, *command).startswith("error: source.root: there is no folder images; set it to ")
    shutil.copytree(photos / "images", cli.folder / "images")
    for number in range(6):
        miniatures.photo(cli.folder / "images" / f"class {number % 2}" / f"{number}.jpg", number + 90)
    line = error_of(cli, *command)
    assert line.startswith("error: class ")
    assert " has sha256 " in line
    assert " when the release was made: this is another image; get the original data set" in line
    for path in (cli.folder / "images").rglob("*.jpg"):
        path.rename(path.with_name(f"x{path.name}"))
    line = error_of(cli, *command)
    assert line.startswith("error: the release was made from ")
    assert " not here: class " in line
    assert line.endswith("point --set source.root=… to the data set of its recipe")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "error: name keys, or give --sample N"),
        (("3",), "error: small has no image 3; its keys are 000000000 to 000000002"),
        (("0", "x"), "error: small has no image x; its keys are 000000000 to 000000002"),
        (("0", "--device", "abacus"), "error: --device abacus: there is no such device here"),
        (("0", "--set", "sampler.steps=0"), "error: "),
    ],
)
def test_what_cannot_be_replayed(cli: Cli, digits: Path, arguments: tuple[str, ...], reason: str) -> None:
    assert error_of(cli, "replay", digits, *arguments).startswith(reason)


# --- images that differ -----------------------------------------------------------------------------


def repainted(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Callable[[bytes], bytes]:
    def repaint(image: bytes) -> bytes:
        pixels = change(np.array(Image.open(io.BytesIO(image))))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return repaint


def one_value(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels[3, 5, 1] ^= 128
    return pixels


@pytest.mark.parametrize(
    ("change", "line"),
    [
        # A mean squared error of 1, and of 128² / 3072.
        (lambda pixels: pixels ^ 1, "differs: PSNR 48.1 dB, 100 % of values, by at most 1 grey levels"),
        (one_value, "differs: PSNR 40.9 dB, 0.0326 % of values, by at most 128 grey levels"),
        (lambda pixels: pixels, "the same pixels in another file"),
    ],
)
def test_an_image_that_is_not_the_same_is_told_how_far_it_is(
    cli: Cli, flat: Path, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], line: str
) -> None:
    copy = cli.folder / "copy"
    shutil.copytree(flat, copy)
    repaint(copy, "000000001", repainted(change))
    result = cli("replay", copy, "--sample", "3", "--out", "again")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "000000000: identical",
        f"000000001: {line}",
        "000000002: identical",
        "2 of 3 identical",
    ]
    assert (cli.folder / "again/000000001.png").read_bytes() == image_files(flat)["000000001.png"]


def test_an_image_that_cannot_be_opened_is_told_in_a_line(cli: Cli, flat: Path) -> None:
    copy = cli.folder / "copy"
    shutil.copytree(flat, copy)
    repaint(copy, "000000001", lambda image: b"no image")
    line = error_of(cli, "replay", copy, "1")
    assert line == (
        "error: 000000001.png: cannot be read: it is not PNG, as its name says; run synthkit verify --deep"
    )
    assert error_of(cli, "show", copy, "1", "--picture", "history.png") == line


def test_an_image_of_another_size_than_its_record_says_is_told_before_it_is_decoded(
    cli: Cli, flat: Path
) -> None:
    copy = cli.folder / "copy"
    shutil.copytree(flat, copy)
    repaint(copy, "000000001", repainted(lambda pixels: pixels[:-1]))
    line = error_of(cli, "replay", copy, "1")
    assert line.startswith("error: 000000001.png: cannot be read: it is 32x31, its record says 32x32; ")


def test_another_platform_is_named(cli: Cli, digits: Path) -> None:
    copy = cli.folder / "copy"
    shutil.copytree(digits, copy)
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace('"torch": "', '"torch": "0.'))
    line = said(cli, copy, "0").splitlines()[-1]
    assert line.startswith("this platform is another one: torch 0.")


# --- records that say what is not so ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("false", "told"),
    [
        ({"lam": 0.9}, "identical image, but its record's lam is 0.9, made again it is "),
        ({"region": [0, 1]}, "identical image, but its record's region is [0, 1], made again it is ["),
        ({"crops": [[0, 0, 1, 1]] * 2}, "identical image, but its record's crops is [(0, 0, 1, 1), "),
        ({"prompt": "a cat"}, "identical image, but its record's prompt is a cat, made again it is "),
        ({"dropout": 0.5}, "identical image, but its record's dropout is 0.5, made again it is 0.4"),
        ({"guidance_scale": 7.0}, "its record's guidance_scale is 7, made again it is 2"),
        ({"steps": 30}, "identical image, but its record's steps is 30, made again it is 1"),
        (
            {"scheduler": "euler"},
            "identical image, but its record's scheduler is euler, made again it is pndm",
        ),
        ({"noise_level": 5}, "identical image, but its record's noise_level is 5, made again it is 0"),
        ({"batch_size": 64}, "identical image, but its record's batch_size is 64, made again it is 2"),
        ({"synthkit_version": "9"}, "its record's synthkit_version is 9, made again it is "),
        ({"rejected": ["blank: x"]}, "its record's rejected has 1 reason(s) at attempt 0"),
        ({"attempt": 1}, "its record's attempt is 1, the recipe allows 1 draw(s)"),
        ({"seed": 5}, "its record's seed is 5, by the plan it is "),
        ({"sources": "swapped"}, "its record's first real image is "),
    ],
)
def test_a_record_that_is_false_is_told_field_by_field(
    cli: Cli, flat: Path, false: dict[str, Any], told: str
) -> None:
    shutil.copytree(flat, cli.folder / "forged")
    forgery = Forgery.of(cli.folder / "forged")
    if false == {"sources": "swapped"}:
        false = {"sources": forgery.record("000000001").to_row()["sources"][::-1]}
    forgery.change("000000001", **false)
    forgery.write()
    result = cli("replay", forgery.folder, "0", "1")
    assert result.exit_code == 1, result.output
    first, second, count = result.stdout.splitlines()
    assert first == "000000000: identical"
    assert second.startswith("000000001: ")
    assert told in second
    assert count == "1 of 2 identical"


def test_a_false_record_of_pixels_and_of_real_images_of_another_class(cli: Cli, photos: Path) -> None:
    shutil.copytree(photos, cli.folder / "all")
    forgery = Forgery.of(cli.folder / "all" / "releases" / "small")
    crops = forgery.record("000000000").to_row()["crops"]
    forgery.change("000000000", crops=[crops[0], [*crops[1][:2], crops[1][2] + 1, crops[1][3]]])
    forgery.manifest["classes"][0]["name"] = "class X"
    for some in forgery.shards.values():
        for record, _ in list(some):
            if record.label == 0:
                forgery.change(record.key, class_name="class X", prompt="class X")
    forgery.write()
    cli.folder = cli.folder / "all"
    result = cli("replay", forgery.folder, "0", "1")
    assert result.exit_code == 1
    assert "000000000: identical image, but its record's crops is [" in result.stdout
    assert "its record's class_name is class X, its real image's class 0" in result.stdout


def test_without_a_model_no_device_is_another_platform(cli: Cli, flat: Path) -> None:
    result = cli("replay", flat, "0")
    assert result.exit_code == 0, result.output
    assert "1 of 1 identical" in result.output
    assert "another one" not in result.output
