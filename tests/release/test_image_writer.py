"""Every image says that it is generated, by which model, and which image of which release it is."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synthkit.generators.checkpoint import BUILTIN
from synthkit.recipe.schema import Output
from synthkit.release.image_writer import Mark, encode
from tests.conftest import Cli
from tests.helpers.forging import image_files, repaint

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
DC = "{http://purl.org/dc/elements/1.1/}"
FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
FEW = ("--limit", "4", "--set", "sampler.steps=1", "--set", "sampler.batch_size=4")


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release of four images in each format."""
    cli = Cli(tmp_path_factory.mktemp("marks"))
    for name in FORMATS:
        result = cli("build", cli.recipe(), *FEW, "--set", f"output.format={name}", "--out", name)
        assert result.exit_code == 0, result.output
    return {name: cli.folder / name / "small-preview" for name in FORMATS}


def xmp(image: bytes) -> dict[str, str]:
    """The properties in an image's XMP, as any reader of XMP finds them."""
    info = Image.open(io.BytesIO(image)).info
    packet = info.get("xmp") or info["XML:com.adobe.xmp"].encode()
    (description,) = ElementTree.fromstring(packet).iter(f"{RDF}Description")
    return dict(description.attrib)


@pytest.mark.parametrize("name", FORMATS)
def test_every_image_says_what_it_is(releases: dict[str, Path], name: str) -> None:
    found = image_files(releases[name])
    assert list(found) == [f"{key:09d}.{FORMATS[name]}" for key in range(4)]
    for file, image in found.items():
        assert Image.open(io.BytesIO(image)).format == name.upper()
        mark = xmp(image)
        assert mark[f"{IPTC}DigitalSourceType"] == GENERATED
        assert mark[f"{IPTC}AISystemUsed"] == "builtin:tiny-unclip-digits"
        assert len(mark[f"{IPTC}AISystemVersionUsed"]) == 64
        assert mark[f"{DC}source"] == "small"
        assert mark[f"{DC}identifier"] == file[:9]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("name", FORMATS)
def test_exiftool_reads_the_same(releases: dict[str, Path], tmp_path: Path, name: str) -> None:
    for file, image in image_files(releases[name]).items():
        (tmp_path / file).write_bytes(image)
    command = ["exiftool", "-j", "-XMP:all", *sorted(tmp_path.iterdir())]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert [item["Identifier"] for item in told] == [f"{key:09d}" for key in range(4)]
    for item in told:
        assert item["DigitalSourceType"] == GENERATED
        assert item["AISystemUsed"] == "builtin:tiny-unclip-digits"
        assert item["Source"] == "small"
        assert item["CreatorTool"] == "synthkit"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "model", ["R&D <v2>", "\"a\" 'b'", "]]>", "&amp;", "élan 模型", "two\nlines\tand\rmore", "{model} {0}"]
)
def test_a_model_by_any_name_is_named_exactly(name: str, model: str) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    image, _ = encode(pixels, Output(format=name), Mark("small", "000000003", model, "r<1>"))
    mark = xmp(image)
    assert mark[f"{IPTC}AISystemUsed"] == model
    assert mark[f"{IPTC}AISystemVersionUsed"] == "r<1>"
    assert mark[f"{DC}identifier"] == "000000003"


def test_what_xml_cannot_hold_does_not_break_the_mark() -> None:
    mark = Mark("small", "000000003", "a\x01b\x1b\ufffec\udcffd", "r")
    (description,) = ElementTree.fromstring(mark.packet()).iter(f"{RDF}Description")
    assert description.attrib[f"{IPTC}AISystemUsed"] == "a\ufffdb\ufffd\ufffdc\ufffdd"


def test_a_release_by_a_model_in_an_oddly_named_folder_is_intact(cli: Cli) -> None:
    folder = cli.folder / "R&D <2> 'x'"
    shutil.copytree(BUILTIN["tiny-unclip-digits"], folder)
    result = cli("build", cli.recipe(), *FEW, "--set", f"model.id={folder}")
    assert result.exit_code == 0, result.output
    release = cli.folder / "releases" / "small-preview"
    assert {xmp(image)[f"{IPTC}AISystemUsed"] for image in image_files(release).values()} == {"R&D <2> 'x'"}
    assert cli("verify", release, "--deep").exit_code == 0


def saved_again(image: bytes, **options: Any) -> bytes:
    """What an image editor writes: the same picture without the mark, or with another one."""
    opened = Image.open(io.BytesIO(image))
    kind = opened.format
    bare = Image.fromarray(np.asarray(opened))
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_lost_its_mark_is_found(
    cli: Cli, releases: dict[str, Path], tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(releases[name], copy)
    repaint(copy, "000000002", saved_again)
    result = cli("verify", copy)
    assert result.exit_code == 1
    fault = "000000002: its image lacks the mark that says it is generated (XMP)"
    assert result.output.splitlines()[-2:] == [
        f"{copy}/data/train-00000.tar: {fault}",
        f"{copy}: 1 fault(s); get it again, or build it with --fresh",
    ]


def test_a_mark_that_was_changed_is_found(cli: Cli, releases: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(releases["png"], copy)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", Mark("small", "000000001", "a camera", "r").packet().decode())
    repaint(copy, "000000001", lambda image: saved_again(image, pnginfo=info))
    result = cli("verify", copy)
    assert result.exit_code == 1
    assert "000000001: its image lacks the mark that says it is generated (XMP)" in result.output
