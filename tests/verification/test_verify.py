"""`synthkit verify`: every way a release can be damaged is found and named."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkit.errors import ReleaseError
from synthkit.release.manifest import read_manifest
from synthkit.verification.verify import refuse_damaged
from tests.conftest import Cli
from tests.helpers.forging import Members, reseal, rewrite_shard

SHARD = "data/train-00001.tar"


@pytest.fixture
def copy(small_release: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_release, tmp_path / "small")
    return tmp_path / "small"


def faults(cli: Cli, release: Path) -> str:
    result = cli("verify", release)
    assert result.exit_code == 1
    return result.output


def test_a_whole_release(cli: Cli, copy: Path) -> None:
    result = cli("verify", copy)
    assert result.exit_code == 0
    assert "small 1.2.3 is intact: 76 images in 4 shard(s), 9 files" in result.output


def test_one_flipped_bit(cli: Cli, copy: Path) -> None:
    raw = bytearray((copy / SHARD).read_bytes())
    raw[5000] ^= 1
    (copy / SHARD).write_bytes(raw)
    assert f"{copy}/{SHARD}: has sha256 " in faults(cli, copy)


def test_a_truncated_shard_a_missing_file_and_a_stray_one_are_all_reported(cli: Cli, copy: Path) -> None:
    (copy / SHARD).write_bytes((copy / SHARD).read_bytes()[:10240])
    (copy / "recipe.yaml").unlink()
    (copy / "data" / "extra.tar").write_bytes(b"")
    told = faults(cli, copy)
    assert f"{SHARD}: has 10,240 bytes, the manifest says " in told
    assert "recipe.yaml: is missing" in told
    assert "data/extra.tar: is not in the manifest" in told
    assert f"{SHARD}: is not whole: " in told
    assert "has 24 rows for shard 1, in which " in told
    assert "6 fault(s)" in told


def test_a_damaged_release_is_refused_with_its_first_fault_and_how_many_more(copy: Path) -> None:
    manifest = read_manifest(copy)
    refuse_damaged(copy, manifest, "build it again")
    (copy / "samples.png").unlink()
    with pytest.raises(ReleaseError) as one:
        refuse_damaged(copy, manifest, "build it again")
    assert str(one.value) == f"{copy}: samples.png: is missing; build it again"
    (copy / "recipe.yaml").unlink()
    with pytest.raises(ReleaseError) as two:
        refuse_damaged(copy, manifest, "build it again", name="me/small@v1.2.3")
    assert str(two.value) == (
        "me/small@v1.2.3: recipe.yaml: is missing "
        "(and 1 more: synthkit verify me/small@v1.2.3 lists all); build it again"
    )


def test_a_class_that_was_renamed(cli: Cli, copy: Path) -> None:
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"name": "seven"', '"name": "sieben"'))
    assert "its record's class_name is seven, the release's is sieben" in faults(cli, copy)


def test_a_release_of_a_newer_synthkit(cli: Cli, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "format_version": 9, "new": 1}))
    assert "manifest.json: has format 9; this synthkit reads up to 8: upgrade it" in faults(cli, copy)


def test_hidden_files_of_git_and_the_hub_are_no_fault(cli: Cli, copy: Path) -> None:
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("")
    (copy / ".gitattributes").write_text("*.tar filter=lfs\n")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "x").write_text("")
    assert cli("verify", copy).exit_code == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda members: members.pop(4),
            "is not whole: after 1 samples come 000000025.cls, 000000025.png, 000000026.cls, not ",
        ),
        (
            lambda members: members.insert(0, members.pop(5)),
            "is not whole: after 0 samples come 000000025.png",
        ),
        (
            lambda members: members.__delitem__(slice(0, 3)),
            "is not whole: after 0 samples come 000000025.cls",
        ),
        (lambda members: members.__delitem__(slice(-3, None)), "holds 23 images, the manifest says 24"),
        (
            lambda members: setattr(members[0][0], "mtime", 1),
            "000000024.cls has a header with a time, an owner or a type",
        ),
        (
            lambda members: setattr(members[0][0], "uname", "me"),
            "000000024.cls has a header with a time, an owner or a type",
        ),
        (
            lambda members: members.__setitem__(1, (members[1][0], b"{}")),
            "000000024.json is not a provenance record",
        ),
        (
            lambda members: members.__setitem__(
                1,
                (
                    members[1][0],
                    members[1][1].replace(b'"generation_digest":"', b'"generation_digest":"feedfacefeed'),
                ),
            ),
            "000000024.json is not a provenance record: Expected `str` matching regex",
        ),
    ],
)
def test_a_shard_of_another_shape_with_a_matching_manifest(
    cli: Cli, copy: Path, change: Callable[[Members], None], told: str
) -> None:
    rewrite_shard(copy, SHARD, change)
    assert f"{SHARD}: {told}" in faults(cli, copy)


def test_a_shard_that_is_no_tar(cli: Cli, copy: Path) -> None:
    (copy / SHARD).write_bytes(b"not a tar" * 2000)
    reseal(copy, SHARD)
    assert f"{SHARD}: is not whole: member 'not a tar" in faults(cli, copy)


def test_counts_that_do_not_add_up(cli: Cli, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["classes"][0]["synthetic"] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json: counts differ: 76 images, 76 in shards, 77 in classes" in faults(cli, copy)


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "data/../../outside"])
def test_a_manifest_that_points_outside_is_refused(cli: Cli, copy: Path, path: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"][0]["path"] = path
    (copy / "manifest.json").write_text(json.dumps(manifest))
    told = faults(cli, copy)
    assert "manifest.json: is not a manifest: files.0.path" in told
    assert "is not a path inside a release" in told


def test_a_tar_that_is_listed_without_images_is_refused(cli: Cli, copy: Path) -> None:
    """Readers would load it like the other shards, though no check would have read it."""
    (copy / "data" / "train-evil.tar").write_bytes(b"x")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"].append({"path": "data/train-evil.tar", "bytes": 1, "sha256": "0" * 64, "images": None})
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert "shards, and nothing else, have a number of images" in faults(cli, copy)


@pytest.mark.parametrize(
    "record", [b"[" * 200_000, b'{"recipe_digest": 5}', b'{"recipe_digest": {}}', b"[]", b"\xff"]
)
def test_a_hostile_record_is_a_fault(cli: Cli, copy: Path, record: bytes) -> None:
    rewrite_shard(copy, SHARD, lambda members: members.__setitem__(1, (members[1][0], record)))
    assert "000000024.json is not a provenance record" in faults(cli, copy)


def test_a_record_that_would_fill_the_memory_is_not_read(cli: Cli, copy: Path) -> None:
    """A sparse member of eight gigabytes takes a few hundred bytes in a tar."""
    sparse = tarfile.TarInfo("000000024.json")
    sparse.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1"}
    sparse.pax_headers["GNU.sparse.size"] = str(8 << 30)
    sparse.size = 1
    with tarfile.open(copy / SHARD, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(sparse, io.BytesIO(b"x"))
    reseal(copy, SHARD)
    told = faults(cli, copy)
    assert f"{SHARD}: is not whole: member '././@PaxHeader'" in told
    assert " at byte 0 is not a plain file" in told


def test_a_release_on_the_hub_that_was_downloaded(
    cli: Cli, small_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    cache = cli.folder / "hub" / "datasets--me--small"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(small_release, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "v1.2.3").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cli.folder / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    result = cli("verify", "me/small@v1.2.3")
    assert result.exit_code == 0, result.output
    assert "small 1.2.3 is intact" in result.output
    gone = cli("verify", "me/small@v9.9.9")
    assert gone.exit_code == 1
    assert "error: me/small@v9.9.9: " in gone.output


def test_a_release_that_is_nowhere(cli: Cli) -> None:
    assert "small: there is no such folder; name a release folder" in faults(cli, Path("small"))


def test_numbers_beyond_all_bounds(cli: Cli, copy: Path) -> None:
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"bytes": ', '"bytes": ' + "9" * 300, 1))
    assert "manifest.json: is not a manifest: generator.parts.0.bytes" in faults(cli, copy)


def test_nothing_that_a_terminal_obeys_is_printed(cli: Cli, copy: Path) -> None:
    rewrite_shard(copy, SHARD, lambda members: setattr(members[0][0], "name", "\x1b[2J\x9b.cls"))
    told = faults(cli, copy)
    assert "\\x1b[2J" in told
    assert "\x1b" not in told
    assert "\x9b" not in told


def test_what_is_no_release(cli: Cli, tmp_path: Path) -> None:
    assert "is not a release: it has no manifest.json" in faults(cli, tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert "manifest.json: is not a manifest" in faults(cli, tmp_path)
