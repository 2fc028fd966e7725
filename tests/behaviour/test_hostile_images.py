"""A stranger's release: whatever stands in place of an image or beside it is told, never run or decoded."""

from __future__ import annotations

import os
import shutil
import tarfile
import tracemalloc
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import webdataset
from datasets import load_dataset
from PIL import EpsImagePlugin, Image

import synthkit
from synthkit.builder.drafts import read_draft
from synthkit.errors import ReleaseError
from synthkit.recipe.output import Output
from synthkit.release.image import read_image, read_images
from synthkit.release.image_header import check_png_data, read_header
from synthkit.release.image_writer import encode
from synthkit.release.loader_images import rows_of
from synthkit.release.manifest import read_manifest
from synthkit.release.marks import mark_of
from synthkit.release.shard_reader import decode_image
from synthkit.release.shards import Origin
from synthkit.verification.verify import verify_release
from synthkit.version import FORMAT_VERSION
from synthkit_eval.training.synthetic_images import open_synthetic
from tests.conftest import Cli
from tests.helpers.forging import repaint, reseal
from tests.helpers.fuzzing import RELEASE, SHARD
from tests.helpers.hostile import (
    EPS,
    FORMATS,
    SIZE,
    block,
    data_of_pngs,
    good,
    hostile,
    hostile_tars,
    noise,
    strange_members,
    whole_tar,
)
from tests.helpers.records import RECORD

KEY = "000000000"


@pytest.fixture
def copy(cli: Cli) -> Path:
    """A release of two images, 32 pixels wide and high."""
    return Path(shutil.copytree(RELEASE, cli.folder / "small"))


def first_mark(release: Path) -> bytes:
    return mark_of(read_image(release, read_manifest(release), KEY).record, "small")


def faults(release: Path, *, deep: bool = False) -> list[str]:
    found = verify_release(release, read_manifest(release), lambda count: None, deep=deep)
    return [f"{fault.path}: {fault.reason}" for fault in found]


def line(cli: Cli, *arguments: str | Path) -> str:
    """The one line of a command that refuses."""
    result = cli(*arguments)
    assert result.exit_code == 1, result.output
    (told,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    return told


def members() -> list[tuple[str, bytes]]:
    with tarfile.open(RELEASE / SHARD) as archive:
        return [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


# --- what is an image -------------------------------------------------------------------------------


SIZES = [(1, 1), (8, 8), (31, 64), (257, 130)]


@pytest.mark.parametrize("size", [*SIZES, pytest.param((4096, 3000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("extension", FORMATS)
def test_every_image_that_a_build_writes_is_read(extension: str, size: tuple[int, int]) -> None:
    qualities = (None,) if extension == "png" else (1, 24, 75, 95, 100)
    mark = mark_of(msgspec.structs.replace(RECORD, model="R&D <v2> 模型"), "small")
    for pixels, quality in product((noise(size), noise(size) * 0), qualities):
        raw = encode(Image.fromarray(pixels), Output(format=FORMATS[extension], quality=quality), mark)
        header = read_header(raw, extension)
        assert (header.size, header.xmp) == (size, mark)
        assert decode_image(raw, KEY, extension, size).size == size
        if extension == "png":
            check_png_data(raw, size)


@pytest.mark.parametrize("extension", FORMATS)
def test_nothing_else_is_taken_for_one(extension: str) -> None:
    cases = hostile(extension)
    assert len(cases) > 30
    taken = []
    for name, raw in cases.items():
        with pytest.raises(
            ReleaseError, match=f"^{KEY}.{extension}: cannot be read: its? .*; run synthkit verify"
        ):
            decode_image(raw, KEY, extension, SIZE)
        try:
            read_header(raw, extension)
            taken.append(name)
        except ValueError as error:
            assert str(error).startswith(("it ", "its "))
    assert taken == []


@pytest.mark.parametrize("extension", FORMATS)
def test_a_file_that_is_cut_anywhere_or_has_a_bit_flipped_is_refused_or_the_same_size(extension: str) -> None:
    whole = good(extension, (9, 7))
    for place in range(len(whole)):
        with pytest.raises(ValueError, match=r"^its? "):
            read_header(whole[:place], extension)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        try:
            assert max(read_header(bytes(flipped), extension).size) <= 4096
        except ValueError as error:
            assert str(error).startswith(("it ", "its "))


def test_data_of_a_png_that_are_not_its_pixels_are_found_without_room_for_them() -> None:
    cases = data_of_pngs()
    for raw in cases.values():
        read_header(raw, "png")
    tracemalloc.start()
    try:
        for name, raw in cases.items():
            with pytest.raises(ValueError, match=r"^its? "):
                check_png_data(raw, SIZE)
            assert tracemalloc.get_traced_memory()[1] < 1e6, name
    finally:
        tracemalloc.stop()


# --- in a release -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("EPS", "it is not PNG, as its name says"),
        ("a jpg", "it is not PNG, as its name says, but JPEG"),
        ("the mark behind it", "it goes on for "),
        ("a zip behind it", "it goes on for 22 bytes after its end"),
        ("hidden text", "it has a part that no build writes: b'tEXt' after b'IHDR'"),
        ("a second mark", "it has a part that no build writes: b'iTXt' after b'iTXt'"),
        ("an animation", "it has a part that no build writes: b'acTL' after b'iTXt'"),
        ("sixteen bits", "it is not plain RGB of 8 bits"),
        ("100,000 pixels wide", "it says that it is 100000x100000 pixels large"),
    ],
)
def test_verify_says_what_is_in_the_place_of_an_image(copy: Path, name: str, fault: str) -> None:
    raw = hostile("png", first_mark(copy), (32, 32))[name]
    repaint(copy, KEY, lambda image: raw)
    for deep in (False, True):
        (told,) = faults(copy, deep=deep)
        assert told.startswith(f"{SHARD}: {KEY}: its image is not as a build writes it: {fault}")


def test_verify_compares_an_images_size_before_it_is_decoded(copy: Path) -> None:
    raw = good("png", (33, 32), first_mark(copy))
    repaint(copy, KEY, lambda image: raw)
    for deep in (False, True):
        assert faults(copy, deep=deep) == [f"{SHARD}: {KEY}: its image is 33x32, its record's 32x32"]


def test_verify_deep_finds_data_that_are_not_the_pixels(copy: Path) -> None:
    for name, raw in data_of_pngs((32, 32), first_mark(copy)).items():
        repaint(copy, KEY, lambda image, raw=raw: raw)
        assert faults(copy) == [], name
        (told,) = faults(copy, deep=True)
        assert told.startswith(f"{SHARD}: {KEY}: its image cannot be decoded: it"), name


def test_a_manifest_that_makes_images_huge_is_refused(cli: Cli, copy: Path) -> None:
    text = (copy / "manifest.json").read_text().replace('"width": 32', '"width": 100000')
    (copy / "manifest.json").write_text(text)
    for command in (("verify", "--deep"), ("show",), ("audit",)):
        assert "manifest.json: is not a manifest: width: Input should be less than or equal to 4096" in line(
            cli, *command, copy
        )


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there if a Ghostscript ran: Pillow starts the first program called `gs`."""
    ran, program = tmp_path / "ran", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return ran


def test_an_eps_that_is_called_png_reaches_no_ghostscript(cli: Cli, copy: Path, ghostscript: Path) -> None:
    repaint(copy, KEY, lambda image: EPS)
    told = f"error: {KEY}.png: cannot be read: it is not PNG, as its name says; run synthkit verify --deep"
    assert line(cli, "show", copy, "0", "--picture", "picture.png") == told
    assert line(cli, "audit", copy).endswith(f"it is not audited: run synthkit verify {copy}")
    with pytest.raises(ReleaseError, match=r"^000000000\.png: cannot be read: it is not PNG"):
        open_synthetic(copy, read_manifest(copy)).image(0)
    assert cli("verify", copy).exit_code == cli("verify", copy, "--deep").exit_code == 1
    assert not ghostscript.exists()
    assert not (cli.folder / "picture.png").exists()


@pytest.mark.parametrize("how", ["by number", "a stream", "webdataset"])
def test_a_training_loop_decodes_images_as_what_their_column_says(
    copy: Path, tmp_path: Path, ghostscript: Path, how: str
) -> None:
    real = [(Image.new("RGB", (32, 32)), 0)]

    def images() -> Any:
        synthetic = opened_by(how, copy, tmp_path)
        return next(iter(synthkit.mix(real, synthetic, batch_size=4, transform=np.array)))[0]

    whole = {bytes(image.numpy()) for image in images()}
    manifest = read_manifest(copy)
    assert whole > {traced.pixels().tobytes() for traced in read_images(copy, manifest)}
    raw = good("png", (33, 32), first_mark(copy))
    for image, told in ((EPS, "it is not PNG"), (raw, "it is 33x32, its record says 32x32")):
        repaint(copy, KEY, lambda before, image=image: image)
        with pytest.raises(ReleaseError, match=rf"^{KEY}\.png: cannot be read: {told}"):
            images()
    assert not ghostscript.exists()


def opened_by(how: str, release: Path, cache: Path) -> Any:
    if how == "webdataset":
        return webdataset.WebDataset(str(release / SHARD), shardshuffle=False)
    options = {"cache_dir": str(cache), "download_mode": "force_redownload", "streaming": how == "a stream"}
    return load_dataset(str(release), split="train", **options)


def test_where_a_stream_is_stays_its_own(tmp_path: Path) -> None:
    """It can be saved in the middle of an epoch, and gone on from."""
    stream = opened_by("a stream", RELEASE, tmp_path)
    rows = rows_of(stream)
    first = next(rows)
    state = stream.state_dict()
    second = next(rows)
    assert isinstance(first["png"]["bytes"], bytes)
    stream.load_state_dict(state)
    assert [row["__key__"] for row in rows_of(stream)] == [second["__key__"]]
    stream.load_state_dict(None)
    assert [row["__key__"] for row in rows_of(stream)] == [first["__key__"], second["__key__"]]
    assert isinstance(next(iter(stream))["png"], Image.Image)


# --- in a tar ---------------------------------------------------------------------------------------


def test_nothing_beside_an_image_is_run_or_read(cli: Cli, copy: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    strange = list(strange_members(KEY, canary))
    every = members()
    blocks = [b"".join(block(*member)) for member in (*every[:3], *strange, *every[3:])]
    (copy / SHARD).write_bytes(whole_tar(b"".join(blocks)))
    reseal(copy, SHARD)
    assert line(cli, "audit", copy).startswith(f"error: {copy}: {SHARD}: is not whole: after 1 samples come ")
    assert f"{KEY}.pyd" in cli("verify", copy).output
    assert cli("show", copy, "0").exit_code == 0
    manifest = read_manifest(copy)
    assert [traced.image for traced in read_images(copy, manifest)] == [every[2][1], every[5][1]]
    images = open_synthetic(copy, manifest)
    assert [images.read(index) for index in range(len(images))] == [every[2][1], every[5][1]]
    assert not canary.exists()


def test_whatever_a_tar_holds_readers_find_what_verify_looked_at_or_nothing(
    copy: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    every = members()
    cases = dict(hostile_tars(every, canary))
    assert len(cases) > 30
    origin = Origin("", {})
    for name, raw in cases.items():
        (copy / SHARD).write_bytes(raw)
        reseal(copy, SHARD)
        manifest = read_manifest(copy)
        assert any("is not whole: " in fault for fault in faults(copy)), name
        try:
            assert read_image(copy, manifest, "0").image == every[2][1], name
        except ReleaseError as error:
            assert str(error).endswith(f"; run synthkit verify {copy}"), name
        with pytest.raises(ReleaseError, match="run synthkit verify"):
            list(read_images(copy, manifest))
        with pytest.raises(ReleaseError, match="run synthkit verify"):
            open_synthetic(copy, manifest)
        assert read_draft(copy / SHARD, origin, "png", FORMAT_VERSION) == {}
    assert not canary.exists()


def test_a_pipe_in_the_place_of_a_shard_is_not_waited_for(cli: Cli, copy: Path) -> None:
    (copy / SHARD).unlink()
    os.mkfifo(copy / SHARD)
    assert f"{SHARD}: {KEY} cannot be read: it is not a file; run" in line(cli, "show", copy, "0")
    assert f"{SHARD}: is missing" in cli("verify", copy).output
