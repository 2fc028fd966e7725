"""Every image says that it is generated, by which model, and which image of which release it is."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from PIL import Image

from synthkit.generators.checkpoint import BUILTIN
from synthkit.recipe.output import Output
from synthkit.release.image_writer import encode, save_options
from synthkit.release.marks import LONGEST_PROMPT, mark_of
from synthkit.release.records import Score
from synthkit.release.seeds import attempt_seed
from tests.conftest import Cli, read_member
from tests.helpers.forging import Forgery, image_files, repaint
from tests.helpers.records import RECORD

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
DC = "{http://purl.org/dc/elements/1.1/}"
OURS = "{urn:x-synthkit:mark#}"
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
    return attributes(info.get("xmp") or info["XML:com.adobe.xmp"].encode())


def attributes(packet: bytes) -> dict[str, str]:
    (description,) = ElementTree.fromstring(packet).iter(f"{RDF}Description")
    return dict(description.attrib)


@pytest.mark.parametrize("name", FORMATS)
def test_every_image_says_what_it_is(releases: dict[str, Path], name: str) -> None:
    found = image_files(releases[name])
    assert list(found) == [f"{key:09d}.{FORMATS[name]}" for key in range(4)]
    for file, image in found.items():
        assert Image.open(io.BytesIO(image)).format == name.upper()
        raw = read_member(shard_of(releases[name]), f"{file[:9]}.json")
        mark, record = xmp(image), json.loads(raw)
        assert mark[f"{IPTC}DigitalSourceType"] == GENERATED
        assert mark[f"{IPTC}AISystemUsed"] == "builtin:tiny-unclip-digits"
        assert mark[f"{IPTC}AISystemVersionUsed"] == record["revision"]
        assert mark[f"{IPTC}AIPromptInformation"] == record["prompt"]
        assert mark[f"{DC}source"] == "small"
        assert mark[f"{DC}identifier"] == file[:9]
        assert mark[f"{OURS}Seed"] == str(record["seed"])
        assert f"{OURS}AttemptSeed" not in mark
        assert mark[f"{OURS}RecordDigest"] == digest_of(raw)


def shard_of(release: Path) -> Path:
    (shard,) = (release / "data").iterdir()
    return shard


def digest_of(record: bytes) -> str:
    """The digest of KEY.json as anybody can compute it: four values are taken out of the text."""
    fields = rb'"(image_sha256|generation_digest|synthkit_version)":"[^"]+"'
    emptied, count = re.subn(fields, rb'"\1":""', record)
    assert count == 3
    emptied, count = re.subn(rb'"scores":\[.*\],"gen', b'"scores":[],"gen', emptied)
    assert count == 1
    return hashlib.sha256(emptied).hexdigest()


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
        assert item["AIPromptInformation"]
        assert item["Source"] == "small"
        assert item["CreatorTool"] == "synthkit"
        assert len(item["RecordDigest"]) == 64


ODD = ["R&D <v2>", "\"a\" 'b'", "]]>", "&amp;", "élan 模型", "two\nlines\tand\r\nmore", "{model} {0}", ""]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ODD)
def test_any_model_and_prompt_are_written_exactly(name: str, text: str) -> None:
    record = msgspec.structs.replace(RECORD, model=text, revision="r<1>", prompt=text)
    mark = xmp(encode(Image.new("RGB", (16, 16)), Output(format=name), mark_of(record, "small")))
    assert mark[f"{IPTC}AISystemUsed"] == mark[f"{IPTC}AIPromptInformation"] == text
    assert mark[f"{IPTC}AISystemVersionUsed"] == "r<1>"
    assert mark[f"{DC}identifier"] == RECORD.key


def test_what_xml_cannot_hold_does_not_break_the_mark() -> None:
    odd = "a\x01b\x1b\ufffec\x00d\U0001f600"
    mark = attributes(mark_of(msgspec.structs.replace(RECORD, model=odd), "small"))
    assert mark[f"{IPTC}AISystemUsed"] == "a\ufffdb\ufffd\ufffdc\ufffdd\U0001f600"


@pytest.mark.parametrize("letter", ["x", '"', "\U0001f600"])
def test_a_long_prompt_is_cut_to_fit_into_a_jpeg(letter: str) -> None:
    for length in (LONGEST_PROMPT, LONGEST_PROMPT + 1, 100_000):
        record = msgspec.structs.replace(RECORD, prompt=letter * length)
        image = encode(Image.new("RGB", (16, 16)), Output(format="jpeg"), mark_of(record, "small"))
        rest = "…" if length > LONGEST_PROMPT else ""
        assert xmp(image)[f"{IPTC}AIPromptInformation"] == letter * LONGEST_PROMPT + rest


def test_the_recipe_and_the_version_do_not_change_an_image() -> None:
    other = msgspec.structs.replace(
        RECORD,
        scores=(Score(name="blank", value=40.0, nearest=""),),
        generation_digest="d" * 64,
        synthkit_version="9",
        image_sha256="e" * 64,
    )
    assert mark_of(other, "small") == mark_of(RECORD, "small")
    assert mark_of(msgspec.structs.replace(RECORD, steps=26), "small") != mark_of(RECORD, "small")


def test_an_image_that_was_drawn_again_has_the_seed_of_its_last_draw() -> None:
    mark = attributes(mark_of(msgspec.structs.replace(RECORD, attempt=2), "small"))
    assert mark[f"{OURS}Seed"] == str(RECORD.seed)
    assert mark[f"{OURS}AttemptSeed"] == str(attempt_seed(RECORD.seed, 2)) != mark[f"{OURS}Seed"]


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


OTHERS_MARK = "000000001: its image has another mark (XMP) than its record gives"


def test_a_mark_that_was_changed_is_found(cli: Cli, releases: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(releases["png"], tmp_path / "copy"))
    forgery = Forgery.of(copy)
    mark = mark_of(msgspec.structs.replace(forgery.record("000000001"), model="a camera"), "small")
    forgery.repaint("000000001", lambda image: saved_again(image, **save_options("png", mark)))
    forgery.write()
    result = cli("verify", copy)
    assert result.exit_code == 1
    assert OTHERS_MARK in result.output


def test_the_image_of_another_record_is_found(cli: Cli, releases: dict[str, Path], tmp_path: Path) -> None:
    """Its class, model and everything else in its mark are right, but not the digest of its record."""
    copy = Path(shutil.copytree(releases["png"], tmp_path / "copy"))
    forgery = Forgery.of(copy)
    other = msgspec.structs.replace(forgery.record("000000001"), lam=0.25)
    forgery.repaint(
        "000000001", lambda image: saved_again(image, **save_options("png", mark_of(other, "small")))
    )
    forgery.write()
    result = cli("verify", copy)
    assert result.exit_code == 1
    assert [line for line in result.output.splitlines() if "000000001" in line] == [
        f"{shard_of(copy)}: {OTHERS_MARK}"
    ]
