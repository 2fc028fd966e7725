"""Commands that write, and folders in which they are stopped, cut off or fail, again and again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.conftest import digests
from tests.helpers.warm import Warm
from tests.helpers.workers import flat_recipe

Command = tuple[str, ...]
BUILD: Command = ("build", "flat.yaml")
RELEASE = "releases/flat"
# Names that nothing may have once a command has completed what another left.
LEFT = (".tmp", ".draft", ".new", ".old", ".trash", ".arriving", ".incomplete")


@dataclass(frozen=True)
class Scene:
    """A command, what it makes, and the commands that have run before it."""

    name: str
    command: Command
    before: tuple[Command, ...] = ()
    makes: str = RELEASE


AUDIT: Command = ("audit", RELEASE)
PARTS = tuple((*BUILD, "--shards", f"{number}/2", "--out", f"node{number}") for number in (1, 2))
SCENES = {
    scene.name: scene
    for scene in (
        Scene("build", BUILD),
        Scene("summary", (*BUILD, "--set", "summary=Better words."), (BUILD,)),
        Scene("fresh", (*BUILD, "--fresh"), (BUILD,)),
        Scene("overwrite", (*BUILD, "--overwrite"), ((*BUILD, "--set", "seed=1"),)),
        Scene("part", (*BUILD, "--shards", "1/2"), (), ".synthkit/*/shards"),
        Scene("merge", ("merge", "flat.yaml", "node1", "node2"), PARTS),
        Scene("audit", AUDIT, (BUILD,)),
        Scene("audit-again", (*AUDIT, "--similarity", "0.5"), (BUILD, AUDIT)),
        Scene("replay", ("replay", RELEASE, "0", "7", "--out", "again"), (BUILD,), "again"),
        Scene("picture", ("show", RELEASE, "3", "--picture", "drawn/3.png"), (BUILD,), "drawn"),
        Scene("digest", ("digest", "flat.yaml", "--report", "reports/digest.json"), (), "reports"),
        Scene("init", ("init", "mine", "--set", "source.root=real"), (), "mine.yaml"),
    )
}


def made(folder: Path, what: str) -> dict[str, str]:
    """The SHA-256 of what a command makes: the files of a folder, or one file."""
    found = {name: digest for place in folder.glob(what) for name, digest in digests(place).items()}
    return found or {name: digest for name, digest in digests(folder).items() if name == what}


class Stage:
    """A folder in which a scene is about to begin, `begin` in its own."""

    def __init__(self, scene: Scene, folder: Path, warm: Warm) -> None:
        self.scene, self.folder, self._warm = scene, folder, warm
        self.begin = folder / "begin"

    @cached_property
    def before(self) -> dict[str, str]:
        """What lay there of what the command makes."""
        return made(self.begin, self.scene.makes)

    @cached_property
    def after(self) -> dict[str, str]:
        """What an undisturbed run makes."""
        undisturbed = self.copy("undisturbed")
        self.run(self.scene.command, undisturbed)
        return made(undisturbed, self.scene.makes)

    def copy(self, name: str) -> Path:
        """The folder again, to be used up."""
        return Path(shutil.copytree(self.begin, self.folder / name, symlinks=True))

    def run(self, command: Command, folder: Path, **faults: Any) -> str:
        """A command that must succeed; what it says."""
        code, told = self.ran(command, folder, **faults)
        assert code == 0, told
        return told

    def ran(self, command: Command, folder: Path, **faults: Any) -> tuple[int | None, str]:
        """The exit code of a command, and what it says."""
        if faults:
            faults |= {"root": str(folder), "out": str(folder.with_name(f"{folder.name}-traced"))}
        process = self._warm.start(*command, cwd=folder, faults=faults or None)
        said, told = process.communicate(timeout=600)
        shutil.rmtree(process.printed)
        return process.returncode, said + told

    def record(self, every: int = 1) -> list[dict[str, Any]]:
        """The calls of an undisturbed run, each with the copy that shows what a death at it leaves.

        Of every so many calls, and of those that change a release's name.
        """
        folder = self.copy("recorded")
        self.run(self.scene.command, folder, what="record", every=every)
        assert made(folder, self.scene.makes) == self.after
        calls: list[dict[str, Any]] = json.loads((self.folder / "recorded-traced/calls.json").read_text())
        for call in calls:
            call["state"] = self.folder / "recorded-traced" / call["state"]
        return calls

    def check_reader(self, state: Path) -> None:
        """What readers find is all of the old release or all of the new; other files are whole."""
        found = made(state, self.scene.makes)
        if self.scene.makes.startswith("releases/"):
            place = state / self.scene.makes
            old = place.with_name(f".{place.name}.old")
            found = digests(old) if old.exists() and not place.exists() else found
            assert found in (self.before, self.after), state
        for name, digest in found.items():
            assert name.endswith(".tmp") or digest in (self.before.get(name), self.after.get(name)), state

    def complete(self, folder: Path) -> None:
        """The same command again makes what an undisturbed one does, and leaves nothing else."""
        # A recipe that is there already is never written again.
        if self.scene.name != "init" or made(folder, self.scene.makes) != self.after:
            self.run(self.scene.command, folder)
        assert made(folder, self.scene.makes) == self.after, folder
        assert not [path for path in folder.rglob(".*") if path.suffix in LEFT]
        # Parts share theirs.
        assert self.scene.name == "part" or not list(folder.glob("releases/.*.lock"))


def flat_stage(scene: Scene, folder: Path, warm: Warm) -> Stage:
    """A recipe of twelve small images in two shards, after the commands before a scene."""
    stage = Stage(scene, folder, warm)
    stage.begin.mkdir(parents=True)
    recipe = flat_recipe(folder, size=16, shards=2)
    text = recipe.read_text().replace("80", "4").replace("shard_size: 120", "shard_size: 6")
    (stage.begin / "flat.yaml").write_text(text)
    # Once for all copies.
    (stage.begin / "real").symlink_to(folder / "real")
    (stage.begin / "drawn").mkdir()
    for command in scene.before:
        stage.run(command, stage.begin)
    return stage


def check_states(stage: Stage, calls: Sequence[dict[str, Any]]) -> list[Path]:
    """Look at every state as a reader does; returns the different ones."""
    for call in calls:
        stage.check_reader(call["state"])
    # Once the command has said that it is done, no power cut takes anything back.
    ends = [call["state"] for call in calls if call["what"] == "end"]
    assert len(ends) == 3
    assert all(made(state, stage.scene.makes) == stage.after for state in ends)
    return list(dict.fromkeys(call["state"] for call in calls))
