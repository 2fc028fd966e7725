"""`synthkit show`: a release and the history of its images, in words and pictures."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.release.files import table_path
from synthkit.sources.digits import DigitsSource
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.commands import error_of, output_of, run_build
from tests.helpers.forging import image_files, rewrite_shard

QUICK = ("--set", "sampler.steps=1", "--set", "sampler.batch_size=4")
FIRST_COLOUR, SECOND_COLOUR = (46, 110, 190), (240, 170, 50)
SHARD = "data/train-00001.tar"
FOLDER_RECIPE = """\
name: small
source: {kind: folder, root: images}
target_per_class: 4
conditioning: {method: cutmix}
model: {id: builtin:tiny-unclip-digits}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `images`, two classes of which one has a single image, and a release by CutMix."""
    cli = Cli(tmp_path_factory.mktemp("photos"))
    for number, name in enumerate(("lone/0.png", "pair/1.png", "pair/2.png")):
        miniatures.photo(cli.folder / "images" / name, number, (224, 224))
    (cli.folder / "recipe.yaml").write_text(FOLDER_RECIPE)
    run_build(cli, cli.folder / "recipe.yaml", *QUICK)
    return cli.folder


@pytest.fixture(scope="module")
def previews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Previews of the small recipe by methods that need no pixels."""
    cli = Cli(tmp_path_factory.mktemp("previews"))
    for method in ("embed-cutmix", "embed-mixup-dropout", "text-only"):
        settings = ("--set", f"conditioning.method={method}", "--out", method)
        run_build(cli, cli.recipe(), *QUICK, "--limit", "4", *settings)
    return {folder.name: folder / "small-preview" for folder in cli.folder.iterdir() if folder.is_dir()}


@pytest.fixture
def copy(small_release: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_release, tmp_path / "small")
    return tmp_path / "small"


def said(text: str) -> dict[str, str]:
    """The lines of `show`, by the name at their beginning."""
    return {line[:11].strip(): line[11:].strip() for line in text.splitlines()}


def record_of(cli: Cli, release: Path, key: str) -> Any:
    return json.loads(output_of(cli, "show", release, key, "--json"))


def as_drawn(image: Image.Image) -> NDArray[np.uint8]:
    """A square image, enlarged as in the pictures."""
    return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.LANCZOS))


def synthetic(release: Path, key: str) -> NDArray[np.uint8]:
    return as_drawn(Image.open(io.BytesIO(image_files(release)[f"{key}.png"])))


def digit(name: str) -> NDArray[np.uint8]:
    source = DigitsSource("train")
    position = source.listing.ids.index(name)
    return as_drawn(source.decode(position, source.read(position)))


def holds(sheet: NDArray[np.uint8], tile: NDArray[np.uint8], share: float = 1.0) -> bool:
    """Whether a picture shows another, in at least a share of its pixels."""
    height, width = tile.shape[:2]
    rows, columns = sheet.shape[0] - height + 1, sheet.shape[1] - width + 1
    for y, x in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        same = (sheet[y : y + rows, x : x + columns] == tile[y, x]).all(axis=2)
        for top, left in np.argwhere(same).tolist():
            part = sheet[top : top + height, left : left + width]
            if (part == tile).all(axis=2).mean() >= share:
                return True
    return False


# --- show -------------------------------------------------------------------------------------------


def test_a_release_in_words(cli: Cli, small_release: Path) -> None:
    lines = said(output_of(cli, "show", small_release))
    assert lines["release"] == "small 1.2.3"
    assert lines["about"] == "A release for tests."
    assert lines["images"] == "76 of 10 classes, 32x32 png"
    assert lines["many"] == "2 classes, 15 real and 9 synthetic images"
    assert lines["medium"] == "4 classes, 19 real and 29 synthetic images"
    assert lines["few"] == "4 classes, 10 real and 38 synthetic images"
    assert lines["method"].startswith("embed-cutmix-dropout: drop(cutmix(f(x1), f(x2)))")
    assert lines["sampler"] == "pndm, 2 steps, guidance 2.0, noise level 0, batches of 8; seed 7"
    assert lines["model"].startswith("builtin:tiny-unclip-digits at ")
    assert lines["real images"].startswith("44 (digits), digest ")
    assert lines["licence"] == "cc-by-4.0"


def test_a_preview_says_that_it_is_one(cli: Cli, previews: dict[str, Path]) -> None:
    lines = said(output_of(cli, "show", previews["text-only"]))
    assert lines["release"] == "small 1.2.3, a preview of 76"
    assert lines["method"] == "text-only: zeros: the class name alone"


def test_a_release_for_machines_is_its_manifest(cli: Cli, small_release: Path) -> None:
    assert json.loads(output_of(cli, "show", small_release, "--json")) == json.loads(
        (small_release / "manifest.json").read_text()
    )


def test_an_image_in_words(cli: Cli, small_release: Path) -> None:
    lines = said(output_of(cli, "show", small_release, "000000030"))
    record = record_of(cli, small_release, "000000030")
    first, second = record["sources"]
    start, stop = record["region"]
    assert lines["image"] == "000000030 of small 1.2.3"
    assert lines["class"] == f"{record['label']}, {record['class_name']}; prompt '{record['class_name']}'"
    assert lines["first"] == f"{first['id']}, sha256 {first['sha256']}"
    assert lines["second"] == f"{second['id']}, sha256 {second['sha256']}"
    assert lines["mixed"].endswith(f"of the second: coordinates {start} to {stop} are the second's")
    assert lines["dropped"] == "each coordinate of the embedding with probability 0.4"
    assert lines["seed"] == str(record["seed"])
    assert lines["file"].startswith("data/train-00001.tar: 000000030.png, 32x32, ")
    assert lines["file"].endswith(f"sha256 {record['image_sha256']}")


def test_an_image_mixed_in_pixels_tells_its_crops_and_box(cli: Cli, photos: Path) -> None:
    record = record_of(cli, photos / "releases/small", "0")
    lines = said(output_of(cli, "show", photos / "releases/small", "0"))
    x, y, width, height = record["crops"][1]
    x0, y0, x1, y1 = record["region"]
    assert f"crop at [{x}, {y}] of [{width}, {height}]".replace("[", "(").replace("]", ")") in lines["second"]
    assert lines["mixed"].endswith(f"the box from ({x0}, {y0}) to ({x1}, {y1}) is the second's")


def test_an_image_from_text_alone_names_no_source(cli: Cli, previews: dict[str, Path]) -> None:
    lines = said(output_of(cli, "show", previews["text-only"], "0"))
    assert lines.keys() == {"image", "class", "method", "sampler", "model", "seed", "file", "made with"}
    assert record_of(cli, previews["text-only"], "0")["sources"] == []


@pytest.mark.parametrize("key", ["7", "07", "0000000000007"])
def test_a_key_with_and_without_its_zeros_is_the_same_image(cli: Cli, small_release: Path, key: str) -> None:
    assert output_of(cli, "show", small_release, key) == output_of(cli, "show", small_release, "000000007")
    assert record_of(cli, small_release, key)["key"] == "000000007"


@pytest.mark.parametrize(
    "key", ["76", "99999999999999999999999", "x", "7.0", "+7", "0x7", "٣", "", "7.png", "-7"]
)
def test_a_key_that_is_not_there(cli: Cli, small_release: Path, key: str) -> None:
    line = error_of(cli, "show", small_release, "--picture", "history.png", "--", key)
    assert line.endswith("; its keys are 000000000 to 000000075")
    assert line.startswith(f"error: small has no image {key[:40]}")


def test_a_picture_is_of_one_image(cli: Cli, small_release: Path) -> None:
    line = error_of(cli, "show", small_release, "--picture", "history.png")
    assert line == "error: --picture shows one image: name its key"


# --- show --picture ---------------------------------------------------------------------------------


def picture(cli: Cli, release: Path, key: str, *settings: str) -> NDArray[np.uint8]:
    told = output_of(cli, "show", release, key, "--picture", "history.png", *settings)
    assert told.endswith("The history as a picture: history.png\n")
    sheet = Image.open(cli.folder / "history.png")
    assert sheet.format == "PNG"
    return np.asarray(sheet)


def key_of_class(cli: Cli, release: Path, name: str) -> str:
    rows = pq.read_table(release / table_path(0)).to_pylist()
    return next(str(row["key"]) for row in rows if row["class_name"] == name)


def test_the_picture_of_a_mix_in_pixels(cli: Cli, photos: Path) -> None:
    release = photos / "releases/small"
    key = key_of_class(cli, release, "pair")
    sheet = picture(cli, release, key, "--set", f"source.root={photos / 'images'}")
    record = record_of(cli, release, key)
    real = [Image.open(photos / "images" / source["id"]) for source in record["sources"]]
    assert record["sources"][0]["id"] != record["sources"][1]["id"]
    # The crops are outlined in them.
    assert all(holds(sheet, as_drawn(image), 0.95) for image in real)
    assert holds(sheet, synthetic(release, key))
    mixed = [
        np.array(image.crop((x, y, x + w, y + h)).resize((224, 224), Image.Resampling.BILINEAR))
        for image, (x, y, w, h) in zip(real, record["crops"], strict=True)
    ]
    x0, y0, x1, y1 = record["region"]
    mixed[0][y0:y1, x0:x1] = mixed[1][y0:y1, x0:x1]
    assert holds(sheet, mixed[0])


def test_the_picture_of_a_class_of_one_image_shows_it_twice(cli: Cli, photos: Path) -> None:
    release = photos / "releases/small"
    key = key_of_class(cli, release, "lone")
    record = record_of(cli, release, key)
    assert [source["id"] for source in record["sources"]] == ["lone/0.png", "lone/0.png"]
    sheet = picture(cli, release, key, "--set", f"source.root={photos / 'images'}")
    image = as_drawn(Image.open(photos / "images/lone/0.png"))
    middle = sheet.shape[1] // 2
    assert holds(sheet[:, :260], image, 0.95)
    assert holds(sheet[:, 260:middle], image, 0.95)
    assert holds(sheet, synthetic(release, key))


def test_the_picture_of_a_mix_of_embeddings(cli: Cli, previews: dict[str, Path]) -> None:
    release = previews["embed-cutmix"]
    sheet = picture(cli, release, "2")
    record = record_of(cli, release, "2")
    assert all(holds(sheet, digit(source["id"])) for source in record["sources"])
    assert holds(sheet, synthetic(release, "000000002"))
    # 144 places for 128 coordinates; the frame of the second source has its colour too.
    start, stop = record["region"]
    frame = 230**2 - 224**2
    drawn = (sheet == SECOND_COLOUR).all(axis=2).sum() - frame
    assert drawn / 224**2 * 144 == pytest.approx(stop - start, abs=2)
    drawn = (sheet == FIRST_COLOUR).all(axis=2).sum() - frame
    assert drawn / 224**2 * 144 == pytest.approx(128 - (stop - start), abs=2)


def test_the_picture_of_a_blend_of_embeddings_with_dropout(cli: Cli, previews: dict[str, Path]) -> None:
    release = previews["embed-mixup-dropout"]
    sheet = picture(cli, release, "1")
    record = record_of(cli, release, "1")
    assert all(holds(sheet, digit(source["id"])) for source in record["sources"])
    lam = record["lam"]
    blend = np.rint(lam * np.array(FIRST_COLOUR) + (1 - lam) * np.array(SECOND_COLOUR))
    kept = (sheet == blend).all(axis=2).sum() / 224**2 * 144
    assert 0.4 * 128 < kept < 0.8 * 128


def test_the_picture_from_text_alone_is_the_synthetic_image(cli: Cli, previews: dict[str, Path]) -> None:
    sheet = picture(cli, previews["text-only"], "3")
    assert holds(sheet, synthetic(previews["text-only"], "000000003"))
    assert not any((sheet == colour).all(axis=2).any() for colour in (FIRST_COLOUR, SECOND_COLOUR))


def test_a_real_image_that_is_gone_or_changed_leaves_no_picture(cli: Cli, photos: Path) -> None:
    release = photos / "releases/small"
    key = key_of_class(cli, release, "lone")
    wanted = ("show", release, key, "--picture", "history.png", "--set", "source.root=images")
    assert "source.root: there is no folder images" in error_of(cli, *wanted)
    shutil.copytree(photos / "images", cli.folder / "images")
    miniatures.photo(cli.folder / "images/lone/0.png", 99, (224, 224))
    line = error_of(cli, *wanted)
    assert line.startswith("error: lone/0.png has sha256 ")
    assert line.endswith("this is another image; get the original data set")
    (cli.folder / "images/lone/0.png").rename(cli.folder / "images/lone/other.png")
    assert error_of(cli, *wanted) == (
        "error: the release was made from a real image not here: lone/0.png; "
        "point --set source.root=… to the data set of its recipe"
    )
    (cli.folder / "images/lone/0.png").write_bytes(b"no image")
    assert "lone/0.png: cannot be read: " in error_of(cli, *wanted)


def test_a_picture_goes_where_it_can_be_written(cli: Cli, small_release: Path) -> None:
    line = error_of(cli, "show", small_release, "3", "--picture", "nowhere/history.png")
    assert line == "error: nowhere/history.png: No such file or directory"


@pytest.mark.parametrize("crop", [[0, 0, 0, 0], [0, 0, 33, 32], [2**62, 2**62, 2**62, 2**62]])
def test_a_crop_that_is_not_a_part_of_its_source_is_not_drawn(cli: Cli, copy: Path, crop: list[int]) -> None:
    record_becomes(lambda record: record | {"crops": [crop, crop]})(copy)
    line = error_of(cli, "show", copy, "24", "--picture", "history.png")
    assert line.startswith(f"error: 000000024: its record's crop {crop} is not a part of digits/")
    assert line.endswith(", which is 32x32")


# --- damage -----------------------------------------------------------------------------------------


def record_becomes(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """The record of image 24 changed, with a manifest that fits."""

    def damage(release: Path) -> None:
        def with_record(members: list[Any]) -> None:
            record = change(json.loads(members[1][1]))
            raw = record if isinstance(record, bytes) else json.dumps(record, separators=(",", ":")).encode()
            members[1] = (members[1][0], raw)

        rewrite_shard(release, SHARD, with_record)

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no manifest": (lambda release: (release / "manifest.json").unlink(), "it has no manifest.json"),
    "no recipe": (lambda release: (release / "recipe.yaml").unlink(), "recipe.yaml: "),
    "another recipe": (lambda release: (release / "recipe.yaml").write_text("name: [\n"), "recipe.yaml"),
    "no shard": (
        lambda release: (release / SHARD).unlink(),
        "No such file or directory; run synthkit verify",
    ),
    "a short shard": (
        lambda release: (release / SHARD).write_bytes((release / SHARD).read_bytes()[:700]),
        "000000024 cannot be read: ",
    ),
    "no tar": (lambda release: (release / SHARD).write_bytes(b"x" * 2000), "000000024 cannot be read: "),
    "another image": (
        lambda release: rewrite_shard(
            release, SHARD, lambda members: members.__setitem__(2, (members[2][0], b"x"))
        ),
        "000000024 is not the image of its record; run synthkit verify",
    ),
    "another record": (
        lambda release: rewrite_shard(
            release, SHARD, lambda members: members.__setitem__(1, (members[1][0], members[4][1]))
        ),
        "000000024 is not the image of its record; run synthkit verify",
    ),
    "an empty record": (record_becomes(lambda record: b"{}"), "000000024 cannot be read: "),
    "a deep record": (
        record_becomes(lambda record: b'{"key":' + b"[" * 200_000),
        "000000024 cannot be read: ",
    ),
    "an unknown method": (
        record_becomes(lambda record: record | {"method": "magic"}),
        "its record's method is magic, the release's is embed-cutmix-dropout",
    ),
    "an unknown class": (
        record_becomes(lambda record: record | {"label": 10}),
        "its record's class_name is ",
    ),
    "too few sources": (
        record_becomes(lambda record: record | {"sources": record["sources"][:1]}),
        "its record names 1 real image(s), embed-cutmix-dropout takes 2",
    ),
    "too few crops": (record_becomes(lambda record: record | {"crops": [[1, 2, 3, 4]]}), "crops"),
    "an endless draw": (
        record_becomes(lambda record: record | {"attempt": 2**62}),
        "its record's attempt is 4611686018427387904, no recipe allows more than 100 draws",
    ),
    "a short crop": (record_becomes(lambda record: record | {"crops": [[1], [2]]}), "crops"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_release_is_told_in_a_line(cli: Cli, copy: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(copy)
    for command in (("show", copy, "24", "--picture", "history.png"), ("show", copy, "24")):
        assert reason in error_of(cli, *command)
    assert reason in error_of(cli, "replay", copy, "24")


def test_a_method_that_this_synthkit_does_not_know(cli: Cli, copy: Path) -> None:
    manifest = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest.replace('"embed-cutmix-dropout"', '"magic"'))
    assert "manifest.json: has method magic" in error_of(cli, "show", copy)
