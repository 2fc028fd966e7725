"""`synthkit audit`: copies of real images and near duplicates are found, shown, and counted in the card."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from synthkit.release.image_writer import save_options
from synthkit.sources.base import load_image
from synthkit.sources.digits import DigitsSource
from tests.conftest import Cli, digests
from tests.helpers.forging import Forgery, repaint
from tests.helpers.paths import DATA


@pytest.fixture
def copy(small_release: Path, cli: Cli) -> Path:
    shutil.copytree(small_release, cli.folder / "small")
    return cli.folder / "small"


def test_an_audited_release_says_so_and_is_intact(cli: Cli, copy: Path) -> None:
    result = cli("audit", copy)
    assert result.exit_code == 0, result.output
    audit = json.loads((copy / "audit.json").read_text())
    assert (audit["images"], audit["pool"], audit["held_out"], audit["exact"]) == (76, 44, 300, 0)
    assert len(audit["pairs"]) == 76
    assert audit["pairs"] == sorted(
        audit["pairs"], key=lambda pair: (pair["suspected"], pair["similarity"]), reverse=True
    )
    assert 0 < audit["real_to_real"]["0.5"] < 1
    card = (copy / "README.md").read_text()
    assert f"Leak audit: {audit['suspected']} of 76 images are suspected copies" in card
    assert f"{audit['suspected']} of 76 suspected copies, 0 exact" in result.output
    assert (
        "a similarity of at least 0.98, or perceptual hashes that differ in at most 2 bits" in result.output
    )
    with Image.open(copy / "audit.png") as picture:
        assert picture.size[0] > 800
    assert cli("verify", copy).exit_code == 0
    again = cli("audit", copy)
    assert again.exit_code == 0
    assert json.loads((copy / "audit.json").read_text()) == audit


def test_a_copy_that_was_smuggled_in_is_found_first(cli: Cli, copy: Path) -> None:
    """A real test digit in place of a synthetic one, its record and manifest made to fit."""
    test = DigitsSource("test")
    repaint(copy, "000000000", lambda image: saved_with_its_mark(load_image(test, 123), image))
    result = cli("audit", copy)
    assert result.exit_code == 0, result.output
    first = json.loads((copy / "audit.json").read_text())["pairs"][0]
    assert (first["key"], first["real"], first["part"]) == ("000000000", test.listing.ids[123], "held out")
    assert (first["exact"], first["suspected"], first["distance"]) == (True, True, 0)
    assert first["similarity"] > 0.999
    assert ", 1 exact, " in result.output
    assert ", 1 of them exact" in (copy / "README.md").read_text()


def test_two_images_of_the_same_pixels_are_a_group(cli: Cli, copy: Path) -> None:
    """One image, and one that was compressed again, in place of images of other classes."""
    forgery = Forgery.of(copy)
    original = Image.open(io.BytesIO(forgery.image("000000004"))).convert("RGB")
    soft = io.BytesIO()
    original.save(soft, "JPEG", quality=95)
    for key, image in (("000000010", original), ("000000050", Image.open(soft))):
        forgery.repaint(key, lambda marked, image=image: saved_with_its_mark(image, marked))
    forgery.write()
    names = {key: forgery.record(key).class_name for key in ("000000004", "000000010", "000000050")}
    assert len(set(names.values())) > 1
    result = cli("audit", copy)
    assert result.exit_code == 0, result.output
    audit = json.loads((copy / "audit.json").read_text())
    found = audit["duplicates"]
    assert found["limits"] == {"similarity": 0.98, "distance": 2}
    assert (found["exact"], found["perceptual"]) == (2, 3)
    (group,) = [group for group in found["largest"] if group["exact"]]
    assert set(group["members"].items()) >= set(names.items())
    assert sum(item["in_groups"] for item in found["classes"]) == found["in_groups"]
    share = found["classes"][0]
    assert share["share"] == round(share["in_groups"] / share["images"], 4)
    told, groups = result.output, "1 group" if found["groups"] == 1 else f"{found['groups']} groups"
    assert f"near duplicates: {found['in_groups']} of 76 synthetic images (" in told
    assert f"in {groups}; 2 have the pixels of another one, 3 a perceptual hash within 2 bits" in told
    percent = f"{share['share']:.1%} ({share['in_groups']} of {share['images']})"
    assert f"near duplicates by class: {share['class_name']} {percent}" in told
    card = (copy / "README.md").read_text()
    assert f"Near duplicates: {found['in_groups']} of 76 images are in {found['groups']} groups" in card
    assert (
        f"{found['in_groups']} of 76 images in {found['groups']} groups of near duplicates, 2 with"
        in cli("show", copy).output
    )
    with Image.open(copy / "audit.png") as picture:
        assert picture.height == 4 * 172 + 60 + 56 + 172 * min(found["groups"], 8)
    assert cli("verify", copy).exit_code == 0


def test_the_limits_of_near_duplicates_can_be_set(cli: Cli, copy: Path) -> None:
    result = cli("audit", copy, "--duplicate-distance", "64", "--duplicate-similarity", "0.5")
    assert result.exit_code == 0, result.output
    audit = json.loads((copy / "audit.json").read_text())
    found = audit["duplicates"]
    assert (audit["limits"], found["limits"]) == (
        {"similarity": 0.98, "distance": 2},
        {"similarity": 0.5, "distance": 64},
    )
    assert (found["groups"], found["in_groups"], found["perceptual"]) == (1, 76, 76)
    assert len(found["largest"][0]["members"]) == 16
    assert {share["share"] for share in found["classes"]} == {1.0}
    assert cli("verify", copy).exit_code == 0
    for option, value in (("--duplicate-similarity", "1.5"), ("--duplicate-distance", "-1")):
        result = cli("audit", copy, option, value)
        assert result.exit_code == 2
        assert f"Invalid value for '{option}'" in result.output


def test_a_full_disk_while_embeddings_wait(cli: Cli, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(cli.folder)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Path("/dev/full").open("w+b"))  # noqa: SIM115
    result = cli("audit", copy)
    assert result.exit_code == 1
    line = result.output.splitlines()[-1]
    assert line.startswith(f"error: {cli.folder}: No space left on device; what is finished is kept")
    assert {name: sha for name, sha in digests(cli.folder).items() if not name.startswith(".")} == before


def test_a_release_of_format_1_stays_one(cli: Cli) -> None:
    """Its audit.json has no place for near duplicates: they are told, and not written."""
    old = Path(shutil.copytree(DATA / "release-format-1", cli.folder / "old"))
    result = cli("audit", old, "--duplicate-distance", "64")
    assert result.exit_code == 0, result.output
    assert "near duplicates: 2 of 2 synthetic images (100.0%), in 1 group; " in result.output
    audit = json.loads((old / "audit.json").read_text())
    assert (audit["images"], "duplicates" in audit) == (2, False)
    manifest = json.loads((old / "manifest.json").read_text())
    assert (manifest["format_version"], "duplicates" in manifest["audit"]) == (1, False)
    assert "Near duplicates" not in (old / "README.md").read_text()
    assert cli("verify", old).exit_code == 0
    assert "duplicates" not in cli("show", old).output


def saved_with_its_mark(image: Image.Image, marked: bytes) -> bytes:
    buffer = io.BytesIO()
    packet = Image.open(io.BytesIO(marked)).info["xmp"]
    image.save(buffer, "PNG", **save_options("png", packet))
    return buffer.getvalue()


def test_real_images_that_are_not_here(cli: Cli, copy: Path) -> None:
    before = sorted(path.name for path in copy.iterdir())
    result = cli("audit", copy, "--set", "source.kind=folder", "--set", "source.root=gone")
    assert result.exit_code == 1
    assert "error: source.root: there is no folder gone" in result.output
    assert sorted(path.name for path in copy.iterdir()) == before
    assert cli("verify", copy).exit_code == 0


def test_a_damaged_release_is_told_in_a_line(cli: Cli, copy: Path) -> None:
    shard = copy / "data/train-00001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    result = cli("audit", copy)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert f"error: {copy}: data/train-00001.tar: has 5,000 bytes, the manifest says " in line
    assert line.endswith(f"run synthkit verify {copy}")
    assert not (copy / "audit.json").exists()


def test_show_tells_of_an_audit(cli: Cli, copy: Path) -> None:
    assert cli("audit", copy).exit_code == 0
    assert " of 76 images suspected to copy a real one, 0 exactly; " in cli("show", copy).output


def test_only_places_can_be_set_of_a_releases_recipe(cli: Cli, copy: Path) -> None:
    for command in (("replay", copy, "3"), ("show", copy, "3"), ("audit", copy)):
        result = cli(*command, "--set", "seed=5")
        assert result.exit_code == 1
        assert "error: --set seed=5: a release's recipe stays as it is" in result.output
    (copy / "recipe.yaml").unlink()
    told = cli("replay", copy, "3").output
    assert f"recipe.yaml: is missing; run synthkit verify {copy}" in told
