"""An export is whole or not there, refuses what is damaged or in its way, and bears any class name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import msgspec
import pytest
from datasets.data_files import SPLIT_KEYWORDS

import synthkit
from synthkit.errors import ReleaseError
from synthkit.exports.coco import Coco
from synthkit.exports.fiftyone import FiftyOne
from synthkit.exports.imagefolder import ImageFolder
from synthkit.exports.names import SPLIT_WORDS, folder_names
from synthkit.exports.parquet import ParquetFiles
from synthkit.release.image import StoredImage
from synthkit.release.manifest import Manifest, read_manifest
from tests.conftest import Cli
from tests.helpers.commands import error_of

HOSTILE = [
    "../../etc/passwd",
    "/",
    "..",
    "CON",
    "",
    "dev/test",
    "validation",
    "é" * 300,
    "e\u0301",
    "\u202eevil<script>alert(1)</script>`$(reboot)`\n",
]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("golden retriever", "0000_golden-retriever"),
        ("../../etc/passwd", "0000_etc-passwd"),
        ("..", "0000"),
        ("", "0000"),
        ("/", "0000"),
        ("CON", "0000_CON"),
        (".hidden", "0000_hidden"),
        ("a\\b:c*d?e|f", "0000_a-b-c-d-e-f"),
        ("Café", "0000_Café"),
        ("Cafe\u0301", "0000_Café"),
        ("猫", "0000_猫"),
        ("हिन्दी", "0000_हिन्दी"),
        ("crash test", "0000"),
        ("test2", "0000"),
        ("Dev", "0000"),
        ("testament", "0000_testament"),
        ("x" * 300, "0000_" + "x" * 40),
        ("\u202eevil\n[b]", "0000_evil-b"),
    ],
)
def test_a_folder_has_what_any_file_system_bears(name: str, folder: str) -> None:
    assert folder_names([name]) == [folder]


def test_folders_keep_the_order_of_labels_and_never_clash() -> None:
    names = folder_names(["é", "e\u0301", "A", "a", "", "", *(["x"] * 20_000)])
    assert len({name.lower() for name in names}) == len(names) == 20_006
    assert names == sorted(names)
    assert max(len(name.encode()) for name in folder_names(["𝔸" * 300])) < 255


def test_the_words_that_datasets_takes_for_splits_are_those_left_out() -> None:
    assert {word for words in SPLIT_KEYWORDS.values() for word in words} == SPLIT_WORDS


@pytest.fixture
def hostile(flat_release: Path) -> tuple[Manifest, list[StoredImage]]:
    """A release whose classes have such names, as its writers get it."""
    manifest = read_manifest(flat_release)
    classes = [item.model_copy(update={"name": HOSTILE[item.label]}) for item in manifest.classes]
    stored = [
        StoredImage(
            msgspec.structs.replace(item.record, class_name=HOSTILE[item.record.label]),
            item.image,
            item.shard,
            item.extension,
        )
        for item in synthkit.open_release(flat_release, verify=False)
    ]
    return manifest.model_copy(update={"classes": classes}), stored


@pytest.mark.parametrize("kind", [ImageFolder, ParquetFiles, Coco, FiftyOne])
def test_hostile_class_names_lead_nowhere_and_are_kept_as_fields(
    kind: Any, hostile: tuple[Manifest, list[StoredImage]], tmp_path: Path
) -> None:
    manifest, stored = hostile
    # Its own name must not be taken for a split either.
    folder = tmp_path / "test" / "out"
    folder.mkdir(parents=True)
    writer = kind(folder, manifest)
    for item in stored:
        writer.add(item)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["test"]
    assert [path.name for path in (tmp_path / "test").iterdir()] == ["out"]
    if kind in (ImageFolder, ParquetFiles):
        name = "imagefolder" if kind is ImageFolder else "parquet"
        found = datasets.load_dataset(name, data_dir=str(folder))
        assert list(found) == ["train"]
        rows = found["train"]
        assert rows.features["label"].names == HOSTILE
        assert set(zip(rows["label"], rows["class_name"], strict=True)) == set(enumerate(HOSTILE))
        assert len(rows) == len(stored)


def test_a_damaged_release_is_refused_in_one_line(cli: Cli, flat_release: Path) -> None:
    copy = cli.folder / "copy"
    shutil.copytree(flat_release, copy)
    (copy / "data/train-00002.tar").write_bytes(b"")
    for to in ("imagefolder", "parquet", "coco", "fiftyone"):
        told = error_of(cli, "export", copy, "--to", to, "--out", "out")
        assert told.splitlines()[-1].startswith(f"error: {copy}: data/train-00002.tar: has 0 bytes")
        assert told.rstrip().endswith("it is not exported: build or pull it again")
    assert sorted(path.name for path in cli.folder.iterdir()) == ["copy"]


@pytest.mark.parametrize(
    ("to", "out", "told"),
    [
        ("imagefolders", "out", "--to imagefolders: must be one of imagefolder, parquet, coco, fiftyone"),
        ("", "out", "--to : must be one of"),
        ("coco", "full", "--out full: is not empty; choose another folder, or remove it"),
        ("coco", "file", "--out file: is a file; choose a folder"),
        ("coco", "file/out", "is not a folder; choose another --out"),
        ("coco", "release/out", "is inside the release, which holds nothing else; choose another folder"),
        ("coco", "release", "--out release: is not empty"),
        ("coco", "link/out", "is inside the release"),
    ],
)
def test_what_is_in_the_way_stays_as_it_is(
    cli: Cli, flat_release: Path, to: str, out: str, told: str
) -> None:
    shutil.copytree(flat_release, cli.folder / "release")
    (cli.folder / "full").mkdir()
    (cli.folder / "full" / "mine").write_text("")
    (cli.folder / "file").write_text("")
    (cli.folder / "link").symlink_to("release")
    before = sorted(cli.folder.rglob("*"))
    assert told in error_of(cli, "export", "release", "--to", to, "--out", out)
    assert sorted(cli.folder.rglob("*")) == before
    synthkit.verify(cli.folder / "release")


def test_no_release_is_no_export(cli: Cli) -> None:
    assert "there is no such folder" in error_of(cli, "export", "nowhere", "--to", "coco", "--out", "out")
    with pytest.raises(ReleaseError, match="out: is 3; give a path"):
        synthkit.export("nowhere", "coco", 3)  # type: ignore[arg-type]


class Interrupted:
    """A writer that is interrupted, as by the stop button of a notebook."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._writer, self._count = Coco(folder, manifest), 0

    def add(self, stored: StoredImage) -> None:
        self._writer.add(stored)
        self._count += 1
        if self._count == 10:
            raise KeyboardInterrupt

    def close(self) -> None:
        raise AssertionError("it was interrupted")

    def abandon(self) -> None:
        self._writer.abandon()


def test_an_interrupt_leaves_nothing_and_a_kill_what_the_next_export_removes(
    flat_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthkit.exports import export

    layout = export.LAYOUTS["coco"]
    interrupted = type(layout)(Interrupted, layout.what, layout.module, layout.load)
    with monkeypatch.context() as patched:
        patched.setitem(export.LAYOUTS, "coco", interrupted)
        with pytest.raises(KeyboardInterrupt):
            synthkit.export(flat_release, "coco", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    # As a kill leaves it: half a folder, and a lock that nobody holds.
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "images").write_text("half")
    (tmp_path / ".out.lock").write_text("1")
    (tmp_path / "out").mkdir()
    assert synthkit.export(flat_release, "coco", tmp_path / "out").images == 76
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not os.path.lexists(tmp_path / ".out.new")


def test_two_exports_to_one_place_do_not_meet(flat_release: Path, tmp_path: Path) -> None:
    from synthkit.release.folder import ReleaseFolder

    with (
        ReleaseFolder(tmp_path / "out").locked(),
        pytest.raises(synthkit.SynthkitError, match="is at work on it"),
    ):
        synthkit.export(flat_release, "coco", tmp_path / "out")


def test_without_out_the_folder_is_named_by_release_and_layout(cli: Cli, flat_release: Path) -> None:
    result = cli("export", flat_release, "--to", "imagefolder")
    assert result.exit_code == 0, result.output
    assert "small-imagefolder: 76 images for imagefolder" in result.output
    found = datasets.load_dataset(
        "imagefolder",
        data_dir=str(cli.folder / "small-imagefolder"),
        split="train",
        cache_dir=str(cli.folder),
    )
    assert len(found) == 76
    again = error_of(cli, "export", flat_release, "--to", "imagefolder")
    assert "--out small-imagefolder: is not empty; choose another folder" in again
