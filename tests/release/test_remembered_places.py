"""A release finds its real images again on the machine that built it, and never takes others for them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

import synthkit
from synthkit.errors import SynthkitError
from synthkit.generators.checkpoint import BUILTIN
from synthkit.recipe.portable import portable_path
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.forging import reseal
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.opening import opened, refused

RECIPE = """\
name: my
license: cc-by-4.0
source: {source}
synthetic_per_class: 2
conditioning: {{method: mixup}}
model: {{id: "builtin:flat-colours"}}
sampler: {{batch_size: 4}}
output: {{shard_size: 4, size: 32}}
"""


class Project:
    """A folder with a recipe, beside the data set that it is made from, and the release of it."""

    def __init__(self, folder: Path, source: str) -> None:
        self.top, self.here = folder, folder / "proj"
        self.here.mkdir()
        (self.here / "my.yaml").write_text(RECIPE.format(source=source))
        self.release = self.here / "releases" / "my"

    def build(self, *arguments: str) -> None:
        result = Cli(self.here)("build", "my.yaml", *arguments)
        assert result.exit_code == 0, result.output

    def says(self, folder: str, *arguments: str, fails: bool = False) -> str:
        result = Cli(self.here / folder)(*arguments)
        assert result.exit_code == fails, result.output
        return result.output

    def error(self, folder: str, *arguments: str) -> str:
        """The last line of a failing command, which must be the only error."""
        *others, last = self.says(folder, *arguments, fails=True).splitlines()
        assert not any(line.startswith("error: ") for line in others)
        assert last.startswith("error: ")
        return last

    @property
    def place(self) -> Path:
        """The file that says where the real images were read."""
        digest = json.loads((self.release / "manifest.json").read_text())["source"]["digest"]
        return self.here / ".synthkit" / "places" / f"{digest}.json"


def photos(root: Path, first: int = 0) -> Path:
    for number in range(8):
        miniatures.photo(root / f"class {number % 2}" / f"{number}.jpg", number + first)
    return root


@pytest.fixture
def project(tmp_path: Path) -> Project:
    photos(tmp_path / "data" / "photos")
    made = Project(tmp_path, "{kind: folder, root: ../data/photos, halve: {seed: 0}}")
    made.build()
    return made


def real_images(folder: Path, release: str, **places: str) -> int:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return len(synthkit.real(release, **places))
    finally:
        os.chdir(before)


def test_ones_own_release_is_read_from_any_folder(project: Project) -> None:
    found = f"real images: {project.top / 'data/photos'}, where they were read last\n"
    for folder, release in (("", "releases/my"), ("releases", "my")):
        told = project.says(folder, "replay", release, "--sample", "2")
        assert "2 of 2 identical" in told
        assert found in told
        assert found in project.says(folder, "show", release, "0", "--picture", "history.png")
        assert found in project.says(folder, "audit", release)
        assert real_images(project.here / folder, release) == 4
        # The first thing that is wrong is where the images lie that score.
        scoring = ("--protocol", "digits-lt", "--features", "none", "--set", "evaluation.root=nowhere")
        assert "source.root: there is no folder nowhere" in project.error(folder, "eval", release, *scoring)
    assert str(project.top) not in (project.release / "recipe.yaml").read_text()


def test_images_that_were_moved_are_asked_for_by_the_option_that_says_where_they_are(
    project: Project,
) -> None:
    (project.top / "data").rename(project.top / "moved")
    for command in (("replay", "my", "0"), ("show", "my", "0", "--picture", "x.png"), ("audit", "my")):
        line = project.error("releases", *command)
        assert line == (
            "error: source.root: there is no folder photos; set it to the folder of class folders "
            "(if they are somewhere else, say where: --set source.root=…)"
        )
    with pytest.raises(SynthkitError, match=r"--set source[.]root=…"):
        real_images(project.here, "releases/my")
    assert real_images(project.here, "releases/my", root="../moved/photos") == 4
    there = ("--set", "source.root=../../moved/photos")
    assert "1 of 1 identical" in project.says("releases", "replay", "my", "0", *there)
    # An audit reads all of them, and remembers.
    project.says("releases", "audit", "my", *there)
    assert "1 of 1 identical" in project.says("releases", "replay", "my", "0")


def test_other_images_of_the_same_names_are_not_taken_for_them(project: Project) -> None:
    photos(project.here / "photos", first=100)
    found = f"real images: {project.top / 'data/photos'}, where they were read last"
    assert found in project.says("", "replay", "releases/my", "0")
    assert found in project.says("", "audit", "releases/my")
    before = Path.cwd()
    os.chdir(project.here)
    try:
        image, label = synthkit.real("releases/my")[0]
    finally:
        os.chdir(before)
    original = synthkit.real(project.release, root=project.top / "data" / "photos")[0]
    assert (image.tobytes(), label) == (original[0].tobytes(), original[1])
    shutil.rmtree(project.here / ".synthkit")
    assert "has sha256" in project.error("", "replay", "releases/my", "0")
    line = project.error("", "audit", "releases/my")
    assert line.startswith("error: the real images here are not those that my was made from: 4 with digest ")
    assert line.endswith("; point --set source.root=… to the same ones")


def test_what_is_remembered_is_no_reason_to_fail(project: Project) -> None:
    place = project.place
    assert json.loads(place.read_text()) == {"kind": "folder", "root": str(project.top / "data/photos")}
    for damage in ("{", '{"kind": "voc", "root": "/x"}', "[1]", " " * 99_999, "", None):
        place.unlink()
        if damage is None:
            os.mkfifo(place)
        elif damage:
            place.write_text(damage)
        assert "--set source.root=…" in project.error("", "replay", "releases/my", "0")
        # The next command that reads them all keeps them again.
        project.says("", "digest", "my.yaml")
        project.says("", "show", "releases/my", "0", "--picture", "history.png")
    place.unlink()
    place.mkdir()
    project.says("", "digest", "my.yaml")
    assert "--set source.root=…" in project.error("", "replay", "releases/my", "0")


def test_a_place_that_somebody_else_wrote_down_is_neither_waited_for_nor_told(
    project: Project, tmp_path: Path
) -> None:
    """A stranger may send a work folder along with a release."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "token").write_text("hf_CANARY\n")
    recipe = project.release / "recipe.yaml"
    recipe.write_text(
        recipe.read_text().replace(
            "  kind: folder\n", "  kind: listing\n  list: gone.txt\n  names: [class 0, class 1]\n"
        )
    )
    reseal(project.release, "recipe.yaml")
    for root, listed in (("pipe", "token"), (".", "token"), (".", "pipe")):
        places = {"kind": "listing", "root": str(tmp_path / root), "list": str(tmp_path / listed)}
        project.place.write_text(json.dumps(places))
        line = project.error("", "replay", "releases/my", "0")
        assert line.startswith("error: source.list: there is no file gone.txt (")
        assert line.endswith("--set source.root=… --set source.list=…)")
    known = project.place.parents[1] / "contents.sqlite"
    known.unlink()
    with sqlite3.connect(known) as connection:
        connection.execute(
            "CREATE VIEW contents AS WITH RECURSIVE n(stamp) AS "
            "(SELECT '1' UNION ALL SELECT stamp || '1' FROM n) SELECT stamp, stamp AS sha256 FROM n"
        )
    project.says("", "digest", "my.yaml")


# --- data sets that `datasets` opens ----------------------------------------------------------------


@pytest.fixture
def cifar(tmp_path: Path) -> Project:
    miniatures.cifar10(tmp_path / "data", per_class=2)
    made = Project(tmp_path, "{kind: hub, id: ../data/cifar10, image: img}")
    made.build("--set", "synthetic_per_class=1")
    return made


def test_a_local_data_set_is_never_looked_for_on_the_hub(cifar: Project) -> None:
    recipe = cifar.release / "recipe.yaml"
    assert "\n  id: ./cifar10\n" in recipe.read_text()
    # As releases named it at first.
    for name in ("./cifar10", "cifar10"):
        recipe.write_text(recipe.read_text().replace("id: ./cifar10\n", f"id: {name}\n"))
        reseal(cifar.release, "recipe.yaml")
        assert "1 of 1 identical" in cifar.says("releases", "replay", "my", "0")
    assert real_images(cifar.here / "releases", "my") == 20
    # Another data set of the same name.
    miniatures.cifar10(cifar.here / "other", per_class=1)
    (cifar.here / "other" / "cifar10").rename(cifar.here / "releases" / "cifar10")
    assert "1 of 1 identical" in cifar.says("releases", "replay", "my", "0")
    assert "where they were read last" in cifar.says("releases", "audit", "my")
    cifar.place.unlink()
    assert "not those that my was made from" in cifar.error("releases", "audit", "my")
    shutil.rmtree(cifar.here / "releases" / "cifar10")
    for command in (("replay", "my", "0"), ("audit", "my")):
        line = cifar.error("releases", *command)
        assert line.startswith("error: source.id: there is no file or folder ./cifar10 (")
        assert line.endswith("--set source.id=…)")
    line = cifar.error("releases", "replay", "my", "0", "--set", "source.id=../../gone")
    assert line == "error: source.id: there is no file or folder ../../gone"


@pytest.mark.parametrize("name", ["./x", "../x", "/x", "~/x", "x/../y", "./x.parquet"])
def test_a_path_is_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with refused(f"source.id: there is no file or folder {name}"):
        opened(kind="hub", id=name)


@pytest.mark.slow
def test_a_data_set_of_the_hub_names_no_file_of_this_machine(
    hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    folder = miniatures.cifar10(tmp_path, per_class=1)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}
    hub.add_repo("lab/honest", files=files)
    card = b"---\nconfigs:\n- config_name: x\n  data_files: /etc/*.txt\n---\n"
    hub.add_repo("lab/evil", files=files | {"README.md": card})
    recipe = tmp_path / "my.yaml"
    for name in ("honest", "evil"):
        recipe.write_text(RECIPE.format(source=f"{{kind: hub, id: lab/{name}, image: img}}"))
        ran = synthkit("plan", recipe)
        assert ran.exit_code == (name == "evil"), ran.output
    assert "source.id: lab/evil: names files that are not the data set's own: '/etc/*.txt'" in ran.output


# --- models, and what a release names ---------------------------------------------------------------


def test_a_model_in_a_folder_is_found_again(tmp_path: Path) -> None:
    photos(tmp_path / "data" / "photos")
    shutil.copytree(BUILTIN["flat-colours"], tmp_path / "models" / "flat")
    made = Project(tmp_path, "{kind: folder, root: ../data/photos}")
    made.build("--set", "model.id=../models/flat")
    assert "1 of 1 identical" in made.says("releases", "replay", "my", "0")
    (tmp_path / "models").rename(tmp_path / "moved")
    line = made.error("releases", "replay", "my", "0")
    assert line.startswith("error: model.id: there is no folder flat here; say where the model is with ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("data/photos", "data/photos"),
        ("../data/photos", "photos"),
        ("~/photos", "photos"),
        ("~", "root"),
        ("..", "root"),
        ("/", "root"),
        ("/data/~cache", "root"),
        ("/data/a\tb\\c", "a_b_c"),
    ],
)
def test_a_release_names_what_a_release_may_name(text: str, name: str) -> None:
    assert portable_path(text) == name
    assert portable_path(name) == name
