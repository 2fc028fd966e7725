"""Folders and names as people have them: taken as they are meant, or told in a line."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthkit.sources.base import load_image
from synthkit.sources.files import check_inside
from synthkit.system.names import printable
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.opening import by_class, opened, refused

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
JPEG_NAMES = ("a.jfif", "b.jpe", "c.JPG", "d.jif", "e.jfi")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of one image."""
    for number, name in enumerate(("cat/1.png", "dog/1.png")):
        miniatures.photo(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


def flags(root: Path, *changes: str) -> list[str]:
    given = ("source.kind=folder", f"source.root={root}", "model.id=builtin:flat-colours", *changes)
    return [word for change in given for word in ("--set", change)]


def notes(root: Path) -> str:
    return "\n".join(opened(kind="folder", root=str(root)).notes)


def test_every_name_of_a_jpeg_and_newer_formats_are_images(root: Path) -> None:
    picture = Image.new("RGB", (20, 20), (200, 30, 40))
    for name in JPEG_NAMES:
        picture.save(root / "cat" / name, "JPEG")
    for name in ("f.avif", "g.jp2", "h.apng", "i.dib", "j.pbm", "k.pnm", "l.qoi"):
        form = {"h.apng": "PNG", "j.pbm": "PPM", "k.pnm": "PPM"}.get(name)
        (picture.convert("1") if name == "j.pbm" else picture).save(root / "cat" / name, form)
    source = opened(kind="folder", root=str(root))
    assert len(by_class(source)["cat"]) == 13
    assert source.notes == ()
    for index, name in enumerate(by_class(source)["cat"]):
        if name not in ("cat/1.png", "cat/j.pbm"):
            assert np.abs(np.array((200, 30, 40)) - load_image(source, index).getpixel((9, 9))).max() < 9, (
                name
            )


def test_pictures_that_are_not_read_are_counted_and_told(root: Path, cli: Cli) -> None:
    for name in ("IMG_1.HEIC", "IMG_2.heic", "drawing.svg", "raw/x.CR2", "scan.pdf"):
        (root / "cat" / name).parent.mkdir(exist_ok=True)
        (root / "cat" / name).write_bytes(HEIC)
    (root / "dog/download").write_bytes((root / "dog/1.png").read_bytes())
    (root / "dog/2.jpg_large").write_bytes((root / "dog/1.png").read_bytes())
    (root / "dog/more.zip").write_bytes(b"PK")
    # None of these is a picture.
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt", "README", "labels.xyz", "._1.jpg"):
        (root / "dog" / name).write_bytes(b"\0\5\x16\7 no picture")
    told = (
        "7 files were left out: 2 .heic, 1 .cr2, 1 .jpg_large, 1 .pdf, 1 .svg, 1 without an ending: convert",
        "1 file was left out: 1 .zip: unpack",
    )
    for command in ("doctor", "plan", "build"):
        result = cli(command, cli.recipe(), *flags(root, "target_per_class=2"))
        assert result.exit_code == 0, result.output
        for line in told:
            assert line in result.output
    doctor = cli("doctor", cli.recipe(), *flags(root)).stdout
    assert [line for line in doctor.splitlines() if "all there" in line and line.split()[-1] == "yes"] == []
    # A class that is not used may hold what it likes.
    assert opened(kind="folder", root=str(root), classes=["dog"]).notes[0].startswith("2 files were left out")


def test_what_systems_leave_behind_is_no_class(root: Path) -> None:
    for name in ("__MACOSX/cat/._1.png", "@eaDir/1.png/SYNOPHOTO.jpg", "cat/@eaDir/x.jpg", "cat/._1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0\5\x16\7")
    assert by_class(opened(kind="folder", root=str(root))) == {"cat": ["cat/1.png"], "dog": ["dog/1.png"]}


def test_a_class_of_pictures_that_are_not_read_says_why_it_is_empty(root: Path, cli: Cli) -> None:
    (root / "dog/1.png").rename(root / "dog/1.heic")
    result = cli("plan", cli.recipe(), *flags(root))
    assert result.exit_code == 1
    assert "no real image of class dog" in result.output
    assert "1 file was left out: 1 .heic" in result.output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEIC, "but HEIC: convert it to JPEG"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "but a pointer of Git LFS: run git lfs pull",
        ),
        (b"\xff\x0a\xfa\x7f", "but JPEG XL"),
        (b"8BPS\0\1", "but a file of Photoshop"),
    ],
)
def test_an_image_that_is_something_else_says_what(root: Path, content: bytes, told: str) -> None:
    (root / "cat/1.png").write_bytes(content)
    with refused("cat/1.png: cannot be read: it is not an image of a known format, ", told):
        load_image(opened(kind="folder", root=str(root)), 0)


LAYOUTS = {
    "train/cat train/dog val/cat val/dog": "set source.root to ROOT/train",
    "Training/cat Testing/cat": "set source.root to ROOT/Training",
    "train/cat train/dog": "set source.root to ROOT/train",
    "train test": "its class folders are called test, train, as the parts of a data set are",
    "flowers/rose flowers/daisy": "if they are the classes, set source.root to ROOT/flowers",
    "fold1/cat fold1/dog fold2/cat fold2/dog": "hold folders of the same names (cat, dog)",
    "cat": "there is one class only, cat",
    "cat Cat": "classes Cat and cat differ in capital letters only",
}


@pytest.mark.parametrize(("folders", "told"), LAYOUTS.items())
def test_a_root_that_seems_to_be_another_folder_is_told(tmp_path: Path, folders: str, told: str) -> None:
    for number, folder in enumerate(folders.split()):
        miniatures.photo(tmp_path / folder / "1.png", number)
    assert told.replace("ROOT", str(tmp_path)) in notes(tmp_path)


def test_ordinary_roots_are_not_doubted(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("train/1.png", "bus/1.png", "bird/owl/1.png", "bird/duck/1.png", "bus/old/2.png")
    ):
        miniatures.photo(tmp_path / name, number)
    assert notes(tmp_path) == ""


def test_a_root_one_level_too_deep_and_images_beside_the_classes(root: Path) -> None:
    with refused("has no class folders", "It holds 1 image itself", f"set source.root to {root}"):
        opened(kind="folder", root=str(root / "cat"))
    miniatures.photo(root / "lost.png", 7)
    assert "1 image lies beside the class folders, and belongs to no class" in notes(root)


def test_a_number_that_is_a_name_too_must_be_quoted(tmp_path: Path) -> None:
    for number, name in enumerate(("1", "2", "10", "007")):
        miniatures.photo(tmp_path / name / "1.png", number)
    settings = {"kind": "folder", "root": str(tmp_path)}
    # In their order: 007, 1, 10, 2.
    with refused(
        "source.subset: 2 is the name of a class", 'write "2", in quotes, ', 'or "10" for class number 2'
    ):
        opened(**settings, subset=[1, 2])
    with refused('write "10", in quotes, for the class of that name'):
        opened(**settings, subset=[10])
    with refused('write "007", in quotes'):
        opened(**settings, subset=[7])
    # Number 1 is the class called 1.
    assert opened(**settings, subset=[1]).listing.classes == ("1",)
    assert opened(**settings, subset=["2", "10", 3]).listing.classes == ("10", "2")
    assert opened(**settings, subset=[0]).listing.classes == ("007",)


NAMES = (
    "Screenshot at 9.41.00\u202fAM",
    "क्\u200dष",
    "می\u200cخواهم",
    "👩\u200d💻",
    "a\u00a0b",
    "全\u3000角",
    "\u200eWhatsApp",
    "\u202bمرحبا\u202c",
    "\ue000",
)


def test_ordinary_names_are_names_of_images_and_of_classes(tmp_path: Path, cli: Cli) -> None:
    for number, name in enumerate(NAMES):
        miniatures.photo(tmp_path / "photos" / name / f"{name}.png", number)
    source = opened(kind="folder", root=str(tmp_path / "photos"))
    assert source.listing.classes == tuple(sorted(NAMES))
    assert [load_image(source, index).size for index in range(len(NAMES))] == [(24, 20)] * len(NAMES)
    planned = cli("plan", cli.recipe(), *flags(tmp_path / "photos"))
    assert planned.exit_code == 0, planned.output
    # What turns text round is shown, not obeyed; joiners are as they are.
    assert "\u202b" not in planned.stdout
    assert "\\u202b" in planned.stdout
    assert "क्\u200dष" in planned.stdout


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\x9bm", "a\x7f", "a\u2028b", "caf\udce9"])
def test_names_that_a_terminal_or_a_list_would_obey_are_refused(name: str) -> None:
    with refused("list: ", " has a name that cannot be printed; rename it (U+"):
        check_inside(f"cat/{name}.jpg", "list")


def test_text_is_printed_without_what_a_terminal_obeys() -> None:
    assert (
        printable("a\x1b[2J\x9b\u202eb\u2066c\udce9\u2028") == "a\\x1b[2J\\x9b\\u202eb\\u2066c\\udce9\\u2028"
    )
    plain = "größe 猫\n" + "".join(NAMES[:7])
    assert printable(plain) == plain


def test_one_name_in_two_spellings(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    miniatures.photo(tmp_path / "mac" / apart / f"{apart}.png", 1)
    miniatures.photo(tmp_path / "mac" / "b" / "1.png", 2)
    settings = {"kind": "folder", "root": str(tmp_path / "mac")}
    # What a keyboard types is what a Mac's archive holds.
    assert opened(**settings, subset=[composed]).listing.classes == (apart,)
    assert opened(**settings, classes={composed: "e"}).listing.classes == ("b", "e")
    assert opened(**settings, exclude=[f"{composed}/{composed}.png"]).listing.ids == ("b/1.png",)
    (tmp_path / "list.txt").write_text(f"{composed}/{composed}.png 0\nb/1.png 1\n")
    listed = {
        "kind": "listing",
        "list": str(tmp_path / "list.txt"),
        "root": settings["root"],
        "names": ["e", "b"],
    }
    assert load_image(opened(**listed), 0).size == (24, 20)
    (tmp_path / "list.txt").write_text(f"{composed}.png 0\n{apart}.png 1\n")
    with refused("list.txt: line 2: repeats line 1"):
        opened(**listed)
    miniatures.photo(tmp_path / "mac" / composed / "2.png", 3)
    with refused(
        "two classes are called ", "'e\\u0301' and '\\xe9' look the same; rename one, or merge them"
    ):
        opened(**settings)
    merged = opened(**settings, classes={composed: "e", apart: "e"})
    assert len(by_class(merged)["e"]) == 2


def test_notes_are_for_machines_too(root: Path, cli: Cli) -> None:
    (root / "cat/2.heic").write_bytes(HEIC)
    found = json.loads(cli("plan", cli.recipe(), *flags(root), "--json").stdout)
    assert found["notes"] == ["1 file was left out: 1 .heic: convert to JPEG or PNG what should be used"]
