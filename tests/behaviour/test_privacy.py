"""No file of a release tells whose machine it was made on, or where anything lay there."""

from __future__ import annotations

import getpass
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from synthkit.generators.checkpoint import BUILTIN
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.commands import output_of, run_build

QUICK = ("sampler.steps=1", "sampler.batch_size=2", "output.shard_size=2")


@pytest.fixture
def home(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of a user with a name of their own, in which everything lies."""
    folder = cli.folder / "home" / "margarethe"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def photos(root: Path) -> Path:
    for number in range(8):
        miniatures.photo(root / f"class {number % 2}" / f"{number}.jpg", number)
    return root


def build(cli: Cli, recipe: str, *settings: str) -> Path:
    """The release of a recipe, made with `--set` and an absolute `--out`."""
    (cli.folder / "recipe.yaml").write_text(
        f"name: small\nmodel: {{id: builtin:tiny-unclip-digits}}\n{recipe}\n"
    )
    flags = [word for setting in (*QUICK, *settings) for word in ("--set", setting)]
    run_build(cli, cli.folder / "recipe.yaml", *flags, "--out", cli.folder / "made")
    release = cli.folder / "made" / "small"
    assert "is intact" in output_of(cli, "verify", release)
    return release


def contents(release: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a release, byte by byte, and whatever is packed or compressed in it, unpacked."""
    for path in sorted(release.rglob("*")):
        yield path.name, path.name.encode()
        if path.is_file():
            yield from unpacked(path.name, path.read_bytes())


def unpacked(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, raw
    if name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                yield f"{name}: header of {member.name}", repr(member.get_info()).encode()
                yield from unpacked(member.name, archive.extractfile(member).read())  # type: ignore[union-attr]
    elif name.endswith(".parquet"):
        file = pq.ParquetFile(io.BytesIO(raw))
        yield f"{name}: metadata", f"{file.metadata.metadata} {file.schema_arrow.metadata}".encode()
        yield f"{name}: rows", json.dumps(file.read().to_pylist(), ensure_ascii=False).encode()
    elif name.endswith((".png", ".jpg", ".webp")):
        image = Image.open(io.BytesIO(raw))
        image.load()
        yield f"{name}: text", f"{image.info} {getattr(image, 'text', '')} {dict(image.getexif())}".encode()


def assert_private(release: Path, *secrets: str | Path) -> None:
    owners = {getpass.getuser(), platform.node(), Path.home().name}
    names = {name for name in owners if len(name) > 4}
    folders = {str(release.parents[1]), str(release.parents[1].resolve()), str(Path.home()), str(Path.cwd())}
    found = [
        f"{secret!r} in {where}"
        for where, raw in contents(release)
        for secret in (*names, *folders, *(str(secret) for secret in secrets))
        if secret.encode() in raw or secret.replace("/", "\\/").encode() in raw
    ]
    assert found == []


def test_the_search_finds_what_is_hidden_in_every_kind_of_file(cli: Cli, home: Path) -> None:
    """So that the tests below prove something."""
    release = build(cli, "source: {kind: digits}\nsynthetic_per_class: 1\nprompt: margarethe")
    places = {where.split(":")[0] for where, raw in contents(release) if b"margarethe" in raw}
    assert {"recipe.yaml", "README.md", "train-00000.parquet", "000000000.json"} <= places
    with pytest.raises(AssertionError, match="margarethe"):
        assert_private(release)


def test_a_folder_of_images_and_a_folder_of_a_model_by_absolute_paths(cli: Cli, home: Path) -> None:
    photos(home / "hidden pictures" / "images")
    shutil.copytree(BUILTIN["tiny-unclip-digits"], home / "hidden models" / "digits")
    release = build(
        cli,
        "source: {kind: folder, root: elsewhere}\ntarget_per_class: 6",
        f"source.root={home}/hidden pictures/images",
        f"model.id={home}/hidden models/digits",
    )
    assert_private(release, "hidden pictures", "hidden models")
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["generator"]["name"] == "digits"


@pytest.mark.parametrize("root", ["~/hidden-away/images", "../home/margarethe/hidden-away/images"])
def test_a_path_that_begins_at_home_or_climbs(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    photos(home / "hidden-away" / "images")
    (cli.folder / "work").mkdir()
    working = Cli(cli.folder / "work")
    recipe = f"source: {{kind: folder, root: {root}}}\ntarget_per_class: 5"
    assert_private(build(working, recipe), "hidden-away", cli.folder, "../home")


def test_images_that_could_not_be_read_are_named_without_their_folder(cli: Cli, home: Path) -> None:
    root = photos(home / "hidden-away" / "images")
    (root / "class 0" / "text.jpg").write_text("no image")
    (root / "class 0" / "short.jpg").write_bytes((root / "class 0" / "0.jpg").read_bytes()[:300])
    (root / "class 1" / "empty.png").write_bytes(b"")
    (root / "class 1" / "gone.png").symlink_to(home / "hidden-away" / "nothing.png")
    (root / "class 1" / "folder.png").mkdir()
    release = build(
        cli,
        "source: {kind: folder, root: images, on_error: skip}\ntarget_per_class: 6",
        f"source.root={root}",
    )
    skipped = json.loads((release / "manifest.json").read_text())["skipped"]
    assert {item["id"] for item in skipped} >= {
        "class 0/short.jpg",
        "class 0/text.jpg",
        "class 1/empty.png",
        "class 1/gone.png",
    }
    assert_private(release, "hidden-away")


def test_a_few_shot_pool_is_named_without_its_folder(cli: Cli, home: Path) -> None:
    root = photos(home / "hidden-away" / "images")
    release = build(
        cli,
        "source: {kind: folder, root: images, shots: 2}\nsynthetic_per_class: 2",
        f"source.root={root}",
    )
    pool = json.loads((release / "manifest.json").read_text())["source"]["pool"]
    assert len(pool) == 4
    assert all(item["id"].startswith("class ") for item in pool)
    assert_private(release, "hidden-away")


@pytest.mark.parametrize("as_file", [True, False])
def test_parquet_files_by_an_absolute_path(cli: Cli, home: Path, as_file: bool) -> None:
    found = miniatures.cifar10(home / "hidden-away", per_class=2)
    place = found / "plain_text" / "train-00000-of-00001.parquet" if as_file else found
    release = build(
        cli,
        "source: {kind: hub, id: elsewhere, image: img}\nsynthetic_per_class: 1",
        f"source.id={place}",
        "conditioning.method=cutmix",
        "output.format=jpeg",
    )
    assert_private(release, "hidden-away")
    assert f"id: ./{place.name}\n" in (release / "recipe.yaml").read_text()


def test_a_list_of_images_and_a_file_of_names(cli: Cli, home: Path) -> None:
    photos(home / "hidden-away" / "images")
    lines = [f"class {number % 2}/{number}.jpg {number % 2}" for number in range(8)]
    (home / "hidden-away" / "list.txt").write_text("\n".join(lines))
    (home / "hidden-away" / "names.txt").write_text("cat\ndog\n")
    release = build(
        cli,
        "source: {kind: listing, list: x, root: x, names: x}\nsynthetic_per_class: 1",
        f"source.list={home}/hidden-away/list.txt",
        f"source.root={home}/hidden-away/images",
        f"source.names={home}/hidden-away/names.txt",
        "conditioning.method=text-only",
        "output.format=webp",
    )
    assert_private(release, "hidden-away")


def test_a_recipe_that_extends_one_at_home(cli: Cli, home: Path) -> None:
    (home / "hidden-away").mkdir()
    (home / "hidden-away" / "base.yaml").write_text("source: {kind: digits}\n")
    release = build(cli, f"extends: {home}/hidden-away/base.yaml\nsynthetic_per_class: 1")
    assert_private(release, "hidden-away", "extends")
