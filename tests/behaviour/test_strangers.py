"""A release's recipe is a stranger's: nothing outside the current folder is opened, nothing is quoted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import synthkit
from synthkit.errors import SynthkitError
from synthkit.recipe.schema import Recipe
from synthkit.release.recipe_file import recipe_yaml
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.forging import Forgery, reseal

CANARY = "hf_CANARY"
RECIPE = """\
name: small
license: cc-by-4.0
source: {kind: folder, root: photos}
synthetic_per_class: 2
conditioning: {method: mixup}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 4, size: 32}
"""
_opened: list[str] = []
_listening = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _listening
        and event in ("open", "os.listdir", "os.scandir")
        and isinstance(arguments[0], (str, bytes))
    ):
        _opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_listen)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of photographs, made by somebody else."""
    cli = Cli(tmp_path_factory.mktemp("theirs"))
    for number in range(6):
        miniatures.photo(cli.folder / "photos" / f"class {number % 2}" / f"{number}.jpg", number)
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    result = cli("build", "recipe.yaml")
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


class Victim:
    """Somebody who got a release: a home with a secret, a current folder, and the release in it."""

    def __init__(self, folder: Path, honest: Path) -> None:
        self.home = folder / "home"
        self.secret = self.home / ".cache" / "huggingface" / "token"
        self.secret.parent.mkdir(parents=True)
        self.secret.write_text(f"{CANARY}\n")
        self.cli = Cli(folder / "here")
        self.here = self.cli.folder
        self.release = self.here / "pulled" / "small"
        shutil.copytree(honest, self.release)

    def receives(self, **sections: Any) -> None:
        """The release's recipe is another one; the manifest is made to fit it."""
        path = self.release / "recipe.yaml"
        recipe = yaml.safe_load(path.read_text()) | sections
        path.write_text(yaml.safe_dump(recipe, allow_unicode=True))
        reseal(self.release, "recipe.yaml")

    def receives_whole(self, source: dict[str, Any]) -> None:
        """The recipe's source is another one, written as a build writes it, and all else is made to fit."""
        forgery, path = Forgery.of(self.release), self.release / "recipe.yaml"
        recipe = Recipe.model_validate(yaml.safe_load(path.read_text()) | {"source": source})
        data = recipe.portable()
        path.write_bytes(recipe_yaml(data, []))
        told = {"kind": recipe.source.kind, "available_from": recipe.source.available_from}
        forgery.manifest["source"] |= told | {"repository": recipe.source.repository}
        forgery.write()

    def runs(self, *arguments: str) -> str:
        """The one line of a command that is refused; the secret is neither opened nor told."""
        return self._guarded(lambda: self._refused(*arguments))

    def opens_in_python(self, **places: str) -> str:
        """The error of `synthkit.real`, or of the first image."""

        def call() -> str:
            before = Path.cwd()
            os.chdir(self.here)
            try:
                with pytest.raises(SynthkitError) as caught:
                    synthkit.real("pulled/small", **places)[0]
            finally:
                os.chdir(before)
            return str(caught.value)

        return self._guarded(call)

    def refuses_everywhere(self) -> list[str]:
        readers = (
            ("replay", "pulled/small", "0", "--out", "again"),
            ("audit", "pulled/small"),
            ("show", "pulled/small", "0", "--picture", "history.png"),
            ("eval", "pulled/small", "--protocol", "digits-lt", "--features", "none"),
        )
        lines = [self.runs(*reader) for reader in readers]
        return [*lines, self.opens_in_python()]

    def _refused(self, *arguments: str) -> str:
        result = self.cli(*arguments)
        assert result.exit_code == 1, result.output
        told = [line for line in result.output.splitlines() if "images/s" not in line and "kB/s" not in line]
        assert len(told) == 1, result.output
        assert told[0].startswith("error: ")
        return told[0]

    def _guarded(self, call: Any) -> str:
        global _listening  # noqa: PLW0603 (an audit hook stays)
        _opened.clear()
        # A pipe that is opened is waited for without end.
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(60)
        _listening = True
        try:
            told: str = call()
        finally:
            _listening = False
            signal.alarm(0)
        home = os.path.realpath(self.home)
        outside = [path for path in _opened if (os.path.realpath(path) + "/").startswith(home + "/")]
        assert outside == []
        assert CANARY not in told
        return told


@pytest.fixture
def victim(tmp_path: Path, honest: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    victim = Victim(tmp_path, honest)
    monkeypatch.setenv("HOME", str(victim.home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return victim


LISTING = {"kind": "listing", "list": "list.txt", "root": "photos", "names": ["a", "b"]}
COCO = {"kind": "coco", "root": "coco", "images": "images", "annotations": "a.json"}
FORBIDDEN = [
    ("source.list", LISTING | {"list": "~/.cache/huggingface/token"}),
    ("source.root", LISTING | {"root": "/proc/self"}),
    ("source.names", LISTING | {"names": "/etc/passwd"}),
    ("source.names", LISTING | {"names": "../home/.cache/huggingface/token"}),
    ("source.root", {"kind": "folder", "root": ".."}),
    ("source.root", {"kind": "folder", "root": "a/../../home"}),
    ("source.root", {"kind": "folder", "root": "a\\..\\b"}),
    ("source.root", {"kind": "folder", "root": "a\nb"}),
    ("source.root", {"kind": "flowers102", "root": "~"}),
    ("source.root", {"kind": "voc", "root": "~nobody/x"}),
    ("source.root", {"kind": "coco", "root": "//home"}),
    ("source.images", COCO | {"images": "/home"}),
    ("source.annotations", COCO | {"annotations": "/proc/self/environ"}),
    ("source.id", {"kind": "hub", "id": "../cifar"}),
    ("source.id", {"kind": "hub", "id": "file:/etc/passwd"}),
    ("source.id", {"kind": "hub", "id": "s3://bucket/key"}),
    ("source.id", {"kind": "hub", "id": "https://example.com/x.parquet"}),
    ("source.id", {"kind": "hub", "id": "zip://x.csv::a.zip"}),
    ("source.id", {"kind": "hub", "id": "hf://datasets/a/b"}),
    *(
        ("source.id", {"kind": "hub", "id": name})
        for name in ("json", "csv", "text", "pandas", "imagefolder")
    ),
    ("source.revision", {"kind": "hub", "id": "a/b", "revision": "../../../../token"}),
    ("source.config", {"kind": "hub", "id": "a/b", "config": "x/y"}),
]


def some(every: Sequence[Any]) -> list[Any]:
    """One in five; all of them with `-m slow`."""
    rest = [pytest.param(*item, marks=pytest.mark.slow) for item in every]
    return [item if place % 5 == 0 else rest[place] for place, item in enumerate(every)]


@pytest.mark.parametrize(("key", "source"), some(FORBIDDEN))
def test_a_place_that_no_release_may_name_is_a_fault(
    victim: Victim, key: str, source: dict[str, Any]
) -> None:
    victim.receives(source=source)
    result = victim.cli("verify", "pulled/small")
    assert result.exit_code == 1
    assert f"pulled/small/recipe.yaml: {key}: " in result.output
    line = victim.runs("show", "pulled/small")
    assert line.startswith(f"error: pulled/small/recipe.yaml: {key}: ")
    assert line.endswith("; nothing was opened: ask whoever made the release")
    assert victim.opens_in_python() == line.removeprefix("error: ")


MODELS = [
    ("model.id", {"model": {"id": "/models/sd", "revision": "0" * 40}}),
    ("model.id", {"model": {"id": "~/models/sd", "revision": "0" * 64}}),
    ("model.id", {"model": {"id": "../sd", "revision": "0" * 64}}),
    ("model.sha256", {"model": {"id": "a/b"}}),
    ("model.revision", {"model": {"id": "a/b", "sha256": "0" * 64, "revision": "main"}}),
    ("model.mirrors", {"model": {"id": "a/b", "sha256": "0" * 64, "mirrors": ["c/d", "/models/sd"]}}),
    ("model.mirrors", {"model": {"id": "a/b", "sha256": "0" * 64, "mirrors": ["~/sd"]}}),
    ("model.mirrors", {"model": {"id": "a/b", "sha256": "0" * 64, "mirrors": ["c/../../d"]}}),
    ("model.mirrors", {"model": {"id": "a/b", "sha256": "0" * 64, "mirrors": ["https://host/sd"]}}),
    ("model.mirrors", {"model": {"id": "a/b", "sha256": "0" * 64, "mirrors": ["builtin:file://sd"]}}),
    ("model.revision", {"model": {"id": "a/b", "revision": "main"}}),
    ("checkpoint", {"checkpoint": "/dev/zero", "sha256": "0" * 64}),
    ("checkpoint", {"checkpoint": "~/.cache/huggingface/token"}),
    ("network", {"checkpoint": "x", "sha256": "0" * 64, "network": "local-dir:/home"}),
    ("sha256", {"checkpoint": "pipe"}),
    (
        "filters.prefer.classifier.checkpoint",
        {
            "filters": {
                "prefer": {"draws": 2, "classifier": {"network": "resnet18", "checkpoint": "/dev/zero"}}
            }
        },
    ),
]


@pytest.mark.parametrize(("key", "section"), some(MODELS[::-1]))
def test_a_model_or_classifier_that_no_release_may_name(
    victim: Victim, key: str, section: dict[str, Any]
) -> None:
    os.mkfifo(victim.here / "pipe")
    if "checkpoint" in section:
        classifier = {"network": "resnet18"} | section
        key, section = (
            f"filters.label_agreement.classifier.{key}",
            {"filters": {"label_agreement": {"classifier": classifier}}},
        )
    victim.receives(**section)
    result = victim.cli("verify", "pulled/small")
    assert f"pulled/small/recipe.yaml: {key}: " in result.output
    commands = (
        ("show", "pulled/small", "0"),
        ("diff", "pulled/small", "pulled/small"),
        ("replay", "pulled/small", "0"),
        ("audit", "pulled/small"),
        ("eval", "pulled/small", "--protocol", "digits-lt"),
    )
    for command in commands:
        assert victim.runs(*command).startswith(f"error: pulled/small/recipe.yaml: {key}: ")
    line = victim.runs("publish", "pulled/small", "lab/small", "--dry-run")
    assert f"recipe.yaml: {key}: " in line


TRAPS = {
    "a link to the secret": (LISTING | {"list": "link"}, "source.list: link leads out of the current folder"),
    "below a link": (LISTING | {"list": "up/.cache/huggingface/token"}, "leads out of the current folder"),
    "names in a link": (LISTING | {"names": "link"}, "source.names: link leads out of the current folder"),
    "a link to nothing": (LISTING | {"list": "up/nothing"}, "leads out of the current folder"),
    "the environment": (LISTING | {"list": "environment"}, "leads out of the current folder"),
    "a pipe": (LISTING | {"list": "pipe"}, "source.list: pipe is a pipe, a device or a socket"),
    "a pipe of names": (LISTING | {"names": "pipe"}, "source.names: pipe is a pipe, a device or a socket"),
    "a pipe as a folder": ({"kind": "folder", "root": "pipe"}, "is a pipe, a device or a socket"),
    "a pipe as a data set": (
        {"kind": "hub", "id": "pipe"},
        "source.id: ./pipe is a pipe, a device or a socket",
    ),
    "a linked folder": ({"kind": "folder", "root": "up"}, "source.root: up leads out of the current folder"),
    "linked images": ({"kind": "folder", "root": "linked"}, "links among the real images lead out"),
    "linked annotations": ({"kind": "coco", "root": "coco"}, "links among the real images lead out"),
    "piped annotations": (
        COCO | {"images": "photos", "annotations": "pipe"},
        "is a pipe, a device or a socket",
    ),
    "a list of secrets": (LISTING | {"list": "secrets.txt"}, "secrets.txt: line 1: is not `path label`"),
    "a secret label": (
        LISTING | {"list": "label.txt"},
        "label.txt: line 2: is not `path label` (if they are",
    ),
    "secret paths": (LISTING | {"list": "paths.txt"}, " real images "),
    "a long path": (LISTING | {"list": "long.txt"}, "cannot be read as real images of kind listing"),
    "secret names": (
        LISTING | {"list": "good.txt", "names": "secrets.txt", "subset": ["x"]},
        "cannot be read as real images of kind listing",
    ),
    "secret JSON": (
        COCO | {"images": "photos", "annotations": "secrets.json"},
        "cannot be read as real images of kind coco",
    ),
    "secret labels": (
        {"kind": "flowers102", "root": "flowers"},
        "cannot be read as real images of kind flow",
    ),
    "a secret table": ({"kind": "hub", "id": "./table"}, "cannot be read as real images of kind hub"),
    "a data set with others' files": (
        {"kind": "hub", "id": "./card"},
        "names files that are not the data set's",
    ),
    "a saved data set": ({"kind": "hub", "id": "./saved"}, "names files that are not the data set's own"),
    "a data set that is not here": ({"kind": "hub", "id": "cifar"}, "there is no file or folder ./cifar"),
    "a data set of the Hub": ({"kind": "hub", "id": "org/name"}, "source.id: org/name: cannot be"),
    "the release itself": (
        LISTING | {"list": "pulled/small/recipe.yaml"},
        "lies in the release itself, which holds no real images",
    ),
}


@pytest.fixture
def trapped(victim: Victim) -> Victim:
    """The current folder holds everything that a recipe could be baited with."""
    here = victim.here
    miniatures.photo(here / "photos" / "a" / "x.jpg", 1)
    (here / "link").symlink_to(victim.secret)
    (here / "up").symlink_to(victim.home)
    (here / "environment").symlink_to("/proc/self/environ")
    os.mkfifo(here / "pipe")
    (here / "linked" / "a").mkdir(parents=True)
    for name in ("x.jpg", "y.jpg"):
        (here / "linked" / "a" / name).symlink_to(victim.secret)
    (here / "coco" / "annotations").mkdir(parents=True)
    (here / "coco" / "annotations" / "instances_train2017.json").symlink_to(victim.secret)
    (here / "secrets.txt").write_text(f"{CANARY}\n{CANARY} 2\n")
    (here / "label.txt").write_text(f"a/x.jpg 0\nb {CANARY}\n")
    (here / "paths.txt").write_text(f"{CANARY}.jpg 0\n{CANARY}.png 0\n")
    (here / "long.txt").write_text(f"{CANARY * 40}/x.jpg 0\n")
    (here / "good.txt").write_text("a/x.jpg 0\n")
    (here / "secrets.json").write_text(json.dumps({"images": [], "annotations": [], CANARY: 1}))
    (here / "flowers").mkdir()
    (here / "flowers" / "imagelabels.mat").write_text(CANARY)
    (here / "table").mkdir()
    (here / "table" / "train.csv").write_text(f"image,{CANARY}\nx,{CANARY}\n")
    (here / "card").mkdir()
    (here / "card" / "train.csv").write_text("image,label\nx,0\n")
    header = {"configs": [{"config_name": "default", "data_files": str(victim.home / "*.csv")}]}
    (here / "card" / "README.md").write_text(f"---\n{yaml.safe_dump(header)}---\n")
    (victim.home / "x.csv").write_text(f"image,label\nx,{CANARY}\n")
    (here / "saved").mkdir()
    files = {"_data_files": [{"filename": str(victim.secret)}], "_split": "train"}
    (here / "saved" / "state.json").write_text(json.dumps(files))
    return victim


@pytest.mark.parametrize(("what",), some([(what,) for what in TRAPS]))
def test_what_a_release_may_not_read_is_not_read(trapped: Victim, what: str) -> None:
    source, reason = TRAPS[what]
    # Halves, for there must be images that score.
    trapped.receives_whole(source | {"halve": {"seed": 0}})
    told = trapped.cli("verify", "pulled/small")
    assert told.exit_code == 0, told.output
    for line in trapped.refuses_everywhere():
        assert reason in line, line
    assert not (trapped.here / "again").exists()
    assert not (trapped.here / "history.png").exists()
    assert not (trapped.release / "audit.json").exists()


def test_a_recipe_that_is_a_link_is_not_told(victim: Victim) -> None:
    (victim.home / "settings.yaml").write_text(f"{CANARY}: {CANARY}\nname: {CANARY}\n")
    recipe = victim.release / "recipe.yaml"
    recipe.unlink()
    recipe.symlink_to(victim.home / "settings.yaml")
    result = victim.cli("verify", "pulled/small")
    assert result.exit_code == 1
    assert CANARY not in result.output
    result = victim.cli("show", "pulled/small")
    assert "recipe.yaml: is a link to something else than the release's recipe" in result.output
    assert CANARY not in result.output
