"""`synthkit methods`: pictures whose images are those of releases by each method."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.conditioning import METHODS
from synthkit.inspection.methods_picture import DROPOUTS, OF_A_KIND
from synthkit.release.samples import fit
from synthkit.sources.base import load_image
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.commands import output_of, run_build
from tests.helpers.forging import image_files
from tests.helpers.methods import by
from tests.helpers.opening import opened
from tests.helpers.token_colours import TokenColours, registered, token_model

RECIPE = """\
name: small
source: {kind: folder, root: images/101_ObjectCategories}
target_per_class: 12
model: {id: builtin:flat-colours}
sampler: {batch_size: 8}
output: {format: jpeg, size: 24, shard_size: 8}
"""
SIDE = 64
# Where the first tile lies, beside small images or names alone, and how far apart others and strips are.
LEFT, NARROW, TOP, STEP, ROW, APART = 254, 150, 108, 68, 76, 22


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with the recipe and coloured images of five classes, four of each."""
    cli = Cli(tmp_path_factory.mktemp("methods"))
    miniatures.caltech101(cli.folder / "images", per_class=4)
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    return cli


@pytest.fixture(scope="module")
def pictures(cli: Cli) -> dict[str, NDArray[np.uint8]]:
    told = output_of(cli, "methods", "recipe.yaml", "--key", "5", "--seeds", "3")
    assert told.splitlines()[-3:] == [
        f"pictures/small/{name}.png" for name in ("methods", "dropout", "text-only")
    ]
    return {path.stem: pixels(path.read_bytes()) for path in (cli.folder / "pictures/small").iterdir()}


def pixels(file: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)))


def tile(picture: NDArray[np.uint8], row: int, column: int, left: int = LEFT) -> NDArray[np.uint8]:
    x, y = left + column * STEP, TOP + row * ROW
    return picture[y : y + SIDE, x : x + SIDE]


def images(cli: Cli, name: str, *settings: str) -> dict[int, NDArray[np.uint8]]:
    """The images of a release by other settings, enlarged as in the pictures."""
    run_build(cli, "recipe.yaml", "--set", f"name={name}", *(word for s in settings for word in ("--set", s)))
    files = image_files(cli.folder / "releases" / name)
    return {
        int(file.removesuffix(".jpg")): np.asarray(fit(Image.open(io.BytesIO(content)), SIDE))
        for file, content in files.items()
    }


@pytest.mark.parametrize(
    "method", ["random-image", "mixup-dropout", "embed-cutmix", "text-only", "real-guidance"]
)
def test_the_first_column_is_the_image_of_a_release(
    method: str, cli: Cli, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    made = images(cli, method, *by(method))
    row = list(METHODS).index(method)
    assert np.array_equal(tile(pictures["methods"], row, 0), made[5])
    others = [tile(pictures["methods"], row, column) for column in (1, 2)]
    assert not np.array_equal(others[0], others[1])
    if method == "text-only":
        # The other seeds are those of other images of the class, which have no real images that differ.
        assert all(any(np.array_equal(other, image) for image in made.values()) for other in others)


def test_a_recipe_whose_images_begin_from_real_ones_has_the_pictures_too(cli: Cli, tmp_path: Path) -> None:
    begun = "conditioning={method: real-guidance, strength: {levels: [0.5, 1.0]}}"
    words = ("--set", begun, "--key", "5", "--seeds", "1", "--out", str(tmp_path))
    output_of(cli, "methods", "recipe.yaml", *words)
    drawn = pixels((tmp_path / "methods.png").read_bytes())
    row = tile(drawn, list(METHODS).index("real-guidance"), 0)
    assert np.array_equal(row, images(cli, "begun", begun)[5])


def test_dropout_goes_from_the_image_to_the_class_name_alone(
    cli: Cli, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    drawn, methods = pictures["dropout"], list(METHODS)
    for column in range(3):
        ends = [
            tile(pictures["methods"], methods.index(name), column) for name in ("random-image", "text-only")
        ]
        for row, end in zip((0, len(DROPOUTS) - 1), ends, strict=True):
            assert np.array_equal(tile(drawn, row, column), end)
    half = images(cli, "most", "conditioning.method=dropout", "conditioning.dropout=0.8")
    assert np.array_equal(tile(drawn, DROPOUTS.index(0.8), 0), half[5])


def test_the_class_name_alone_stands_beside_real_and_conditioned_images(
    cli: Cli, pictures: dict[str, NDArray[np.uint8]]
) -> None:
    import pyarrow.parquet as pq

    drawn = pictures["text-only"]
    alone, own = images(cli, "alone", "conditioning.method=text-only"), images(cli, "own")
    table = pq.read_table(cli.folder / "releases/own/provenance").sort_by("key").to_pylist()
    source = opened(kind="folder", root=str(cli.folder / "images/101_ObjectCategories"))
    for label in range(5):
        rows = [row for row in table if row["label"] == label][:OF_A_KIND]
        for column, row in enumerate(rows):
            real = load_image(source, source.listing.ids.index(row["sources"][0]["id"]))
            key = int(row["key"])
            for strip, image in enumerate((np.asarray(fit(real, SIDE)), alone[key], own[key])):
                left = NARROW + strip * (OF_A_KIND * STEP + APART)
                assert np.array_equal(tile(drawn, label, column, left), image)


def test_what_a_model_cannot_do_is_left_out_in_a_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TokenColours, "READS_TEXT", False)
    model = token_model(tmp_path / "model")
    words = (
        "--set",
        f"model.id={model}",
        "--set",
        'prompt=""',
        "--seeds",
        "2",
        "--out",
        str(tmp_path / "drawn"),
    )
    with registered(tmp_path / "site"):
        told = output_of(cli, "methods", "recipe.yaml", *words)
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["dropout.png", "methods.png"]
    assert "left out: text-only: conditioning.method: text-only is for models that read text" in told
    assert "left out: dropout 1: conditioning.dropout: is 1, which leaves the class name alone" in told
    with Image.open(tmp_path / "drawn/methods.png") as drawn:
        assert drawn.height == TOP + ROW * sum(method.embeds for method in METHODS.values())


def test_mistakes_are_told_in_a_line(cli: Cli) -> None:
    for words, told in (
        (("--key", "999"), "error: --key 999: the keys of the recipe's images are 0 to 39"),
        (("--set", "conditioning.method=none"), "conditioning.method: must be one of random-image"),
        (("--out", "recipe.yaml"), "recipe.yaml: is not a folder; choose another --out"),
    ):
        result = cli("methods", "recipe.yaml", *words)
        assert result.exit_code == 1
        assert told in result.stderr.splitlines()[-1]
