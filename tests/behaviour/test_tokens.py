"""A generator that is conditioned on tokens: every command does with it what it does with vectors."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
from PIL import Image

from synthkit.conditioning import METHODS
from synthkit.inspection.conditioning_picture import DROPPED
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.release.samples import FIRST, SECOND
from synthkit.sources.pool import RealImages
from tests.conftest import Cli
from tests.helpers.forging import Forgery, faults_of
from tests.helpers.methods import OF_ANY_MODEL
from tests.helpers.token_colours import TOKENS, TokenColours, registered, token_model

RECIPE = """\
name: cells
source: {kind: digits, max_per_class: 5, groups: {many_above: 6, few_below: 4}}
synthetic_per_class: 2
model: {id: MODEL}
sampler: {batch_size: 4}
output: {shard_size: 10}
conditioning: {drops: tokens}
"""
# What compares images with each other, and each of them with all real ones.
GATES = "{near_copy: {max_similarity: 0.9999}, near_duplicate: {max_similarity: 0.9999}, max_draws: 2}"


# Each field of a record, and each way to mix and to drop, is in one of these.
TRIED_BY_DEFAULT = ("cutmix-dropout", "embed-mixup", "embed-cutmix-dropout")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A folder with a recipe; `built` makes a release of it by a method."""
    cli = Cli(tmp_path_factory.mktemp("tokens"))
    model = token_model(cli.folder / "model")
    (cli.folder / "recipe.yaml").write_text(RECIPE.replace("MODEL", str(model)))
    with registered(cli.folder / "site"):
        yield cli


def built(cli: Cli, method: str) -> Path:
    """The release by a method, which the first test to ask for it builds."""
    release = cli.folder / "releases" / method
    if not release.exists():
        told(cli, "build", "recipe.yaml", *by(method), "--workers", "1")
    return release


def by(method: str) -> tuple[str, ...]:
    return "--set", f"conditioning.method={method}", "--set", f"name={method}"


def told(cli: Cli, *arguments: str) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def here(cli: Cli) -> tuple[str, ...]:
    return "--set", f"model.id={cli.folder / 'model'}"


def data_of(release: Path) -> dict[str, str]:
    found = [*release.glob("data/*"), *release.glob("provenance/*")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize(
    "method",
    [
        name if name in TRIED_BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow)
        for name in OF_ANY_MODEL
    ],
)
def test_a_release_is_intact_and_its_images_are_made_again(project: Cli, method: str) -> None:
    release = built(project, method)
    assert "is intact: 20 images" in told(project, "verify", release)
    assert "20 of 20 identical" in told(project, "replay", release, "--sample", "20", *here(project))
    assert read_manifest(release).generator.embedding == (TOKENS, 3)


def test_dropped_tokens_are_those_of_no_image(project: Cli) -> None:
    """Cells of an image's grid have the grey of no image where their tokens were dropped, and no others."""

    def cells(method: str) -> np.ndarray:
        release = built(project, method)
        image = np.asarray(read_image(release, read_manifest(release), "12").pixels())
        return image[::4, ::4].reshape(-1, 3)

    grey, dropped = cells("text-only")[0], cells("dropout")
    plain = cells("random-image")
    at = (dropped == grey).all(axis=1)
    assert 2 <= at.sum() <= 12
    np.testing.assert_array_equal(dropped[~at], plain[~at])


@pytest.mark.slow
def test_two_workers_and_a_resumed_build_give_the_same_bytes(project: Cli) -> None:
    method = "embed-cutmix-dropout"
    alone = data_of(built(project, method))
    told(project, "build", "recipe.yaml", *by(method), "--workers", "2", "--out", "two")
    assert data_of(project.folder / "two" / method) == alone
    # The second of two shards is made first, then the rest.
    told(project, "build", "recipe.yaml", *by(method), "--shards", "2/2", "--out", "three")
    output = told(project, "build", "recipe.yaml", *by(method), "--out", "three")
    assert "10 of them made now" in output
    assert data_of(project.folder / "three" / method) == alone


def test_sources_are_embedded_in_calls_of_a_batch(project: Cli) -> None:
    TokenColours.embedded.clear()
    told(project, "build", "recipe.yaml", *by("embed-mixup"), "--out", "counted", "--workers", "1")
    # Two shards of ten images, in batches of 4, 4 and 2: first sources, then second ones.
    assert TokenColours.embedded == [4, 4, 4, 4, 2, 2] * 2
    assert not list((project.folder / "counted").rglob("*.npy"))


def test_memory_holds_the_sources_of_a_few_batches(project: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ref[Image.Image]] = []
    most = []
    load, generate = RealImages.load, TokenColours.generate

    def counted(real: RealImages, position: int) -> Image.Image:
        image = load(real, position)
        loaded.append(ref(image))
        return image

    def generated(*arguments: Any) -> np.ndarray:
        most.append(sum(image() is not None for image in loaded))
        return generate(*arguments)

    monkeypatch.setattr(RealImages, "load", counted)
    monkeypatch.setattr(TokenColours, "generate", generated)
    many = ("--set", "synthetic_per_class=12", "--set", "output.shard_size=120", "--limit", "120")
    told(project, "build", "recipe.yaml", *by("embed-mixup"), *many, "--out", "many", "--workers", "1")
    # Two pictures for each image of the batch being made and of the next one, which is read meanwhile.
    assert len(loaded) >= 240
    assert max(most) <= 2 * 2 * 4


def test_an_image_is_described_and_its_history_drawn(project: Cli) -> None:
    release = built(project, "embed-cutmix-dropout")
    text = told(project, "show", release, "12")
    assert "cutmix(f(x1), f(x2))): a box of patches from the other, coordinates or tokens dropped" in text
    assert "the box of patches from (" in text
    assert "each coordinate, or each token, of the embedding with probability 0.4" in text
    told(project, "show", release, "12", "--picture", "box.png", *here(project))
    sheet = Image.open(project.folder / "box.png")
    assert sheet.width == 24 + 4 * (224 + 24)
    record = json.loads(told(project, "show", release, "12", "--json"))
    x0, y0, x1, y1 = record["region"]
    panel = sheet.crop((24 + 2 * 248, 84, 24 + 2 * 248 + 224, 84 + 224))
    # Above the 4x4 patches stands the class token.
    colours = panel.resize((4, 5), Image.Resampling.NEAREST)
    second = [[colours.getpixel((x, 1 + y)) for x in range(4)] for y in range(4)]
    boxed = {second[y][x] for y in range(y0, y1) for x in range(x0, x1)}
    others = {second[y][x] for y in range(4) for x in range(4) if not (y0 <= y < y1 and x0 <= x < x1)}
    assert boxed <= {SECOND, DROPPED}
    assert others <= {FIRST, DROPPED}
    assert boxed


def test_an_audit_compares_with_the_mean_of_tokens(project: Cli) -> None:
    assert "suspected" in told(project, "audit", built(project, "cutmix-dropout"), *here(project))
    found = json.loads((built(project, "cutmix-dropout") / "audit.json").read_text())
    assert found["images"] == 20
    told(project, "verify", built(project, "cutmix-dropout"))


def test_gates_compare_with_the_mean_of_tokens(project: Cli) -> None:
    gated = ("--set", f"filters={GATES}", "--set", "name=gated")
    told(project, "build", "recipe.yaml", *gated, "--workers", "1")
    told(project, "verify", "releases/gated")
    record = json.loads(told(project, "show", "releases/gated", "12", "--json"))
    assert [score["name"] for score in record["scores"]] == [
        "near_copy.similarity",
        "near_duplicate.similarity",
    ]
    assert "4 of 4 identical" in told(project, "replay", "releases/gated", "--sample", "4", *here(project))


@pytest.mark.parametrize(
    ("tokens", "settings", "error"),
    [
        (
            7,
            ("conditioning.method=embed-cutmix",),
            "conditioning.method: embed-cutmix takes a vector, or tokens in a grid, and this model's 7 "
            "tokens are no square grid of patches, with or without a class token; methods that take them: "
            + ", ".join(name for name in METHODS if not name.startswith("embed-cutmix")),
        ),
        (
            None,
            ("conditioning.drops=tokens",),
            "conditioning.drops: is tokens, and this model's embedding is a vector of 12 coordinates without "
            "tokens; set it to coordinates",
        ),
    ],
)
def test_what_a_model_does_not_have_is_refused_before_it_is_loaded(
    project: Cli, tmp_path: Path, tokens: int | None, settings: tuple[str, ...], error: str
) -> None:
    model = "builtin:flat-colours" if tokens is None else str(token_model(tmp_path / "model", tokens))
    changes = [part for setting in (*settings, f"model.id={model}") for part in ("--set", setting)]
    result = project("build", "recipe.yaml", *changes, "--out", "refused")
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, f"error: {error}")
    assert error in project("doctor", "recipe.yaml", *changes).output


def test_forgeries_are_found(project: Cli, tmp_path: Path) -> None:
    def forged(name: str) -> Forgery:
        shutil.copytree(built(project, "embed-cutmix-dropout"), tmp_path / name)
        return Forgery.of(tmp_path / name)

    box = forged("box")
    box.change("000000012", region=(0, 0, 1, 1))
    box.write()
    assert any(
        "000000012: its record's region is [0, 0, 1, 1], by its seed" in text
        for text in faults_of(box.folder)
    )
    for embedding, fault in (
        ([26, 3], "by its seed it is"),
        ([7, 3], "says generator.embedding is [7, 3], and embed-cutmix-dropout cannot mix that: 7"),
        (None, "do not fit"),
    ):
        other = forged(f"of-{embedding}")
        other.manifest["generator"]["embedding"] = embedding
        other.write()
        assert any(fault in text for text in faults_of(other.folder)), faults_of(other.folder)
    # Of a shape that mixes alike, a replay finds what the model's is.
    other = forged("wider")
    other.manifest["generator"]["embedding"] = [TOKENS, 4]
    other.write()
    assert faults_of(other.folder) == []
    result = project("replay", str(other.folder), "000000000")
    assert f"generator.embedding is ({TOKENS}, 4), the model's is ({TOKENS}, 3)" in result.output
