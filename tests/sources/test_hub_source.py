"""Real images in a data set that `datasets` opens: columns, labels, and what may not be read."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from synthkit.sources.base import load_image
from tests.helpers import miniatures
from tests.helpers.opening import config, opened, refused


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(miniatures.cifar10(tmp_path_factory.mktemp("hub"), per_class=3))


CIFAR = {"kind": "hub", "image": "img"}


def test_a_data_set_in_parquet(cifar: str) -> None:
    source = opened(**CIFAR, id=cifar)
    assert source.listing.classes[:2] == ("airplane", "automobile")
    assert source.listing.ids[11] == "train/0000011"
    assert source.listing.labels.tolist() == list(range(10)) * 3
    png = Path(cifar).parent / "png"
    assert source.read(11) == (png / "11.png").read_bytes()
    assert load_image(source, 11).size == (32, 32)
    assert opened(**CIFAR, id=cifar, split="test").read(0) == (png / "10000.png").read_bytes()


def test_a_single_parquet_file_an_arrow_folder_and_an_image_folder(cifar: str, tmp_path: Path) -> None:
    from datasets import load_dataset

    whole = opened(**CIFAR, id=cifar)
    file = Path(cifar) / "plain_text/train-00000-of-00001.parquet"
    assert opened(**CIFAR, id=str(file)).read(5) == whole.read(5)
    load_dataset(cifar, split="train").save_to_disk(tmp_path / "one")
    assert opened(**CIFAR, id=str(tmp_path / "one")).read(5) == whole.read(5)
    load_dataset(cifar).save_to_disk(tmp_path / "both")
    assert opened(**CIFAR, id=str(tmp_path / "both"), split="test").listing.ids[0] == "test/0000000"
    with refused("source.split: ", "has no split valid; it has "):
        opened(**CIFAR, id=str(tmp_path / "both"), split="valid")
    folder = opened(kind="hub", id=str(miniatures.caltech101(tmp_path / "caltech", per_class=3)))
    assert folder.listing.classes == ("BACKGROUND_Google", "Faces", "Faces_easy", "accordion", "car_side")
    assert load_image(folder, 0).size == (24, 20)


def test_labels_that_are_names_or_numbers(tmp_path: Path) -> None:
    import io

    from datasets import Dataset

    def picture(seed: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (seed, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    rows = {
        "photo": [picture(n) for n in range(4)],
        "kind": ["owl", "duck", "owl", "crow"],
        "code": [7, 3, 7, 3],
        "score": [0.1, 0.2, 0.3, 0.4],
        "gap": ["owl", None, "owl", "crow"],
    }
    path = tmp_path / "birds.parquet"
    Dataset.from_dict(rows).to_parquet(path)
    settings = {"kind": "hub", "id": str(path), "image": "photo"}
    names = opened(**settings, label="kind")
    assert names.listing.classes == ("crow", "duck", "owl")
    assert names.listing.labels.tolist() == [2, 1, 2, 0]
    assert load_image(names, 3).getpixel((0, 0)) == (3, 0, 0)
    assert opened(**settings, label="code").listing.classes == ("3", "7")
    with refused("source.label: column 'score'", "holds neither whole numbers nor names but double"):
        opened(**settings, label="score")
    with refused("source.label: column 'gap'", "has 1 rows without a label"):
        opened(**settings, label="gap")
    with refused("source.label: ", "has no column 'lable'; it has photo, kind, code, score, gap"):
        opened(**settings, label="lable")
    with refused("source.image: column 'kind'", "holds no images"):
        opened(**{**settings, "image": "kind"}, label="kind")


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("path", [None, "photo.png"])
def test_images_as_pandas_writes_them(tmp_path: Path, path: str | None) -> None:
    import pandas as pd

    images = [{"path": path, "bytes": png(n)} for n in range(4)]
    rows = {
        "image": images,
        "kind": pd.Categorical(["owl", "duck", "owl", "owl"]),
        "code": [1.0, 0.0, 1.0, 3.0],
    }
    pd.DataFrame({**rows, "flag": [True, False, True, True]}).to_parquet(tmp_path / "birds.parquet")
    settings = {"kind": "hub", "id": str(tmp_path / "birds.parquet")}
    source = opened(**settings, label="kind")
    assert (source.listing.classes, source.listing.labels.tolist()) == (("duck", "owl"), [1, 0, 1, 1])
    assert source.read(3) == png(3)
    assert load_image(source, 3).getpixel((0, 0)) == (3, 3, 3)
    assert opened(**settings, label="code").listing.classes == ("0", "1", "3")
    assert opened(**settings, label="flag").listing.classes == ("False", "True")
    with refused("has no column 'photo'; it has image, kind, code, flag; set source.image to image"):
        opened(**settings, image="photo", label="kind")
    with refused(
        "column 'kind' of ", " holds no images but text; where it is the images' paths, use `kind: "
    ):
        opened(**settings, image="kind", label="kind")


def test_columns_that_hold_more_than_one_thing_a_row(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    images = pa.array([[{"bytes": png(1), "path": None}]])
    gaps = pa.array([float("nan")])
    table = pa.table({"image": images, "label": [[1, 2]], "one": pa.array([png(1)]), "gap": gaps})
    parquet.write_table(table, tmp_path / "x.parquet")
    settings = {"kind": "hub", "id": str(tmp_path / "x.parquet")}
    with refused("holds neither whole numbers nor names but list<", "an image has one label"):
        opened(**settings)
    with refused("has 1 rows without a label"):
        opened(**settings, label="gap")
    parquet.write_table(table.set_column(1, "label", pa.array(["a"])), tmp_path / "x.parquet")
    with refused("holds no images but lists (", "each row must hold one image; columns of images: one"):
        opened(**settings)


def test_links_in_an_image_folder_are_followed_and_no_row_leads_out(tmp_path: Path) -> None:
    for number, name in enumerate(("cache/0a", "cache/1b", "secret.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(number))
    for name, target in (("cat/x.png", "cache/0a"), ("dog/y.png", "cache/1b")):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        (tmp_path / "set" / name).symlink_to(tmp_path / target)
    (tmp_path / "set/dog/z.heic").write_bytes(b"")
    source = opened(kind="hub", id=str(tmp_path / "set"))
    assert [source.read(0), source.read(1)] == [png(0), png(1)]
    assert source.stamp(0) != source.stamp(1)
    assert source.notes[0].startswith("1 file was left out: 1 .heic")
    # A file of the data set names the link: whoever wrote it could name any.
    named = [json.dumps({"file_name": name, "label": "a"}) for name in ("cat/x.png", "dog/y.png")]
    (tmp_path / "set/metadata.jsonl").write_text("\n".join(named))
    with refused("the row names a file outside the data set by a link; put a copy in its place"):
        opened(kind="hub", id=str(tmp_path / "set")).read(0)
    (tmp_path / "set/metadata.jsonl").write_text(json.dumps({"file_name": "../secret.png", "label": "a"}))
    with refused("source.id: ", "secret.png"):
        opened(kind="hub", id=str(tmp_path / "set")).read(0)


def test_why_a_data_set_cannot_be_made_is_told_with_its_file(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"image": [png(n) for n in range(400)], "label": ["a"] * 400})
    for name in ("a", "b"):
        frame.to_parquet(tmp_path / f"train-{name}.parquet")
    whole = bytearray((tmp_path / "train-b.parquet").read_bytes())
    whole[4:2000] = bytes(1996)
    (tmp_path / "train-b.parquet").write_bytes(whole)
    with refused("train-b.parquet: "):
        opened(kind="hub", id=str(tmp_path))
    (tmp_path / "train-b.parquet").write_bytes(b"PAR1 and no more")
    with refused("train-b.parquet: ", "Parquet magic bytes not found in footer"):
        opened(kind="hub", id=str(tmp_path))
    frame.assign(label=[[1]] * 400).to_parquet(tmp_path / "train-b.parquet")
    with refused("its files differ in columns or types: "):
        opened(kind="hub", id=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("train.h5", "h5py", "h5py"),
        ("train.lance", "lance", "pylance"),
        ("train.jsonl.zst", "zstandard", "zstandard"),
    ],
)
def test_a_format_whose_package_is_missing_says_how_to_install_it(
    name: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(bytes.fromhex("28b52ffd") + bytes(100))
    with refused(f"; pip install {package}"):
        opened(kind="hub", id=str(tmp_path))


def test_a_row_that_names_a_file_outside_the_data_set(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    miniatures.photo(tmp_path / "secret.png", 1)
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}], "label": ["a"]}
    features = Features({"image": ImageFeature(), "label": Value("string")})
    (tmp_path / "set").mkdir()
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "x.parquet")
    source = opened(kind="hub", id=str(tmp_path / "set" / "x.parquet"))
    with refused("train/0000000: cannot be read: the row names a file outside the data set"):
        source.read(0)


def test_a_rewritten_data_set_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    """`datasets` gives both the same fingerprint."""
    from datasets import Dataset, load_from_disk

    for folder, grey in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        raw = Image.new("RGB", (8, 8), (grey,) * 3)
        raw.save(tmp_path / "x.png")
        rows = {"image": [(tmp_path / "x.png").read_bytes()], "label": ["a"]}
        Dataset.from_dict(rows).save_to_disk(folder)
    stamps = []
    for folder in ("a", "b"):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        shutil.copytree(tmp_path / folder, tmp_path / "set")
        shutil.copy(tmp_path / "a" / "state.json", tmp_path / "set" / "state.json")
        stamps.append(opened(kind="hub", id=str(tmp_path / "set")).stamp(0))
    assert load_from_disk(str(tmp_path / "set"))._fingerprint
    assert stamps[0] != stamps[1]


def test_a_home_folder_does_not_reach_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "birds.parquet").write_text("")
    assert config(kind="hub", id="~/secret/birds.parquet").places() == {"id": "~/secret/birds.parquet"}
    assert config(kind="hub", id="uoft-cs/cifar10").places() == {}


def test_a_data_set_that_is_not_there(cifar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config
    import huggingface_hub.constants

    with refused("source.id: ", "Unknown split"):
        opened(**CIFAR, id=cifar, split="nope")
    (tmp_path / "notes.txt").write_text("")
    with refused("is neither a .parquet nor an .arrow file"):
        opened(**CIFAR, id=str(tmp_path / "notes.txt"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with refused("source.id: nobody/nothing: ", "point source.id at a local copy"):
        opened(**CIFAR, id="nobody/nothing")
