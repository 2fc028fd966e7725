"""The work folder of a build: finished shards, drafts of others, one embeddings file, a log, and locks.

Nothing in it but finished shards is a state: whatever else a kill leaves is removed by the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from synthkit.builder.drafts import draft_path
from synthkit.builder.options import LOG, WHOLE
from synthkit.errors import BuildError
from synthkit.release.files import shard_name
from synthkit.release.shards import Origin, finished, is_intact, records_path, sidecar_path
from synthkit.system.environment import changed
from synthkit.system.files import make_folder
from synthkit.system.locks import held, is_left, try_lock
from synthkit.system.stopping import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from synthkit.builder.options import Part
    from synthkit.release.shards import ShardFacts

_EMBEDDINGS = "embeddings-"
# How long a batch of workers that lost their build may take.
_PATIENCE_S = 900


class Workspace:
    """The work folder of one build, named for the release and the recipe's digest.

    `shards` is how many the whole build has; `part` says which of them are this process's to make.
    """

    def __init__(
        self, root: Path, name: str, digest: str, shards: int, *, limit: int | None = None, part: Part = WHOLE
    ) -> None:
        preview = "" if limit is None else f"-first-{limit}"
        self.digest = digest
        self.part = part
        self.folder = root / f"{name}-{digest[:12]}{preview}"
        self.shards = self.folder / "shards"
        self.numbers = part.shards(shards)
        self._count = shards

    def open(self, *, fresh: bool) -> None:
        """Make the folder ready, clean after a kill; other parts' work is not touched."""
        if fresh and self.part == WHOLE:
            shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.shards)
        for number in self.numbers if fresh else ():
            self._unmake(number)
        self._tidy()

    def _tidy(self) -> None:
        """Remove half-written files and the drafts of finished shards: of the own ones alone.

        Embeddings are everybody's: those go that nobody is writing.
        """
        mine = {self.name(number).removesuffix(".tar") for number in self.numbers}
        for leftover in self.folder.rglob(".*.tmp"):
            name = leftover.name.removeprefix(".").split(".")[0]
            if self.part == WHOLE or name in mine or (name.startswith(_EMBEDDINGS) and is_left(leftover)):
                leftover.unlink(missing_ok=True)
        for draft in self.shards.glob("*.draft"):
            if draft.stem in mine and finished(self.shards, f"{draft.stem}.tar") is not None:
                draft.unlink(missing_ok=True)

    def name(self, number: int) -> str:
        """The file name of a shard."""
        return shard_name(number, self._count)

    def finished(self) -> dict[int, ShardFacts]:
        """The shards of this part that are whole, by number."""
        found = ((number, finished(self.shards, self.name(number))) for number in self.numbers)
        return {number: facts for number, facts in found if facts is not None}

    def intact(self) -> dict[int, ShardFacts]:
        """The finished shards, after unmaking those whose content changed: bits rot, files get edited."""
        found = self.finished()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            checked = pool.map(lambda facts: is_intact(self.shards, facts), found.values())
            for number, intact in list(zip(found, checked, strict=True)):
                if not intact:
                    self._unmake(number)
                    del found[number]
        return found

    def _unmake(self, number: int) -> None:
        """What makes a shard finished goes first."""
        tar = self.shards / self.name(number)
        for path in (sidecar_path(tar), tar, records_path(tar), draft_path(self.shards, tar.name)):
            path.unlink(missing_ok=True)

    def log(self, event: Mapping[str, Any]) -> None:
        """Append to the build log: times, device and rates, which no release holds."""
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def origin(self, environment: Mapping[str, str], done: Iterable[ShardFacts]) -> Origin:
        """Where shards that are made now will come from.

        Raises BuildError when finished ones were made in another environment: they are not mixed.
        """
        return one_origin(str(self.folder), Origin(self.digest, dict(environment)), done)

    def embeddings(self, origin: Origin) -> Path:
        """The file of embeddings as they are in an environment."""
        text = json.dumps(origin.environment, sort_keys=True)
        return self.folder / f"{_EMBEDDINGS}{hashlib.sha256(text.encode()).hexdigest()[:12]}.npy"

    @property
    def workers_lock(self) -> Path:
        """Held by every worker process of this part, also by those that outlive the process they work for."""
        return self.folder / f"workers-{self.part.number}-of-{self.part.of}.lock"

    def workers_locks(self) -> list[Path]:
        """Those of all who may be at work on the same shards: for the whole, the workers of every part."""
        others = self.folder.glob("workers-*.lock") if self.part == WHOLE else ()
        return sorted({self.workers_lock, *others})


def one_origin(place: str, origin: Origin, done: Iterable[ShardFacts]) -> Origin:
    """The origin. Raises BuildError when a place's finished shards were made in another environment."""
    for facts in done:
        differences = changed(facts.origin.environment, origin.environment)
        if differences:
            raise BuildError(
                f"{place}: was begun in another environment ({', '.join(differences)}), which can "
                "change bits; go on there, or start again here with --fresh"
            )
    return origin


def check_alike(shards: Iterable[ShardFacts]) -> None:
    """Raise BuildError if shards were made in different environments: no release mixes them."""
    first: ShardFacts | None = None
    for shard in shards:
        first = first or shard
        differences = changed(first.origin.environment, shard.origin.environment)
        if differences:
            raise BuildError(
                f"{first.name} and {shard.name} were made in different environments "
                f"({', '.join(differences)}), which can change bits: make all of them in one"
            )


@contextmanager
def when_alone(workspace: Workspace) -> Iterator[None]:
    """Wait for workers of an earlier build, which outlive it by a batch. Raises BuildError if they stay."""
    make_folder(workspace.folder)
    with ExitStack() as held:
        for path in workspace.workers_locks():
            _wait_for(held.enter_context(path.open("a")).fileno(), workspace)
        yield


def _wait_for(descriptor: int, workspace: Workspace) -> None:
    began, told = time.monotonic(), False
    while not try_lock(descriptor):
        waited = time.monotonic() - began
        if waited > _PATIENCE_S:
            raise BuildError(
                f"{workspace.folder}: workers of an earlier build are still at work after {_PATIENCE_S} s; "
                "end those processes, then run this again"
            )
        if waited > 1 and not told:
            told = True
            say("waiting for workers of an earlier build, which finish their batch")
        time.sleep(0.05)


@contextmanager
def locked_part(workspace: Workspace) -> Iterator[None]:
    """Hold the only build of a part of one."""
    make_folder(workspace.folder)
    name = f"part-{workspace.part.number}-of-{workspace.part.of}.lock"
    with held(workspace.folder / name, f"{workspace.folder}: part {workspace.part}"):
        yield
