"""The work folder of a build: finished shards, drafts of others, a log, and locks.

Only finished shards and drafts carry work from one run to the next. The next run removes everything else that
a kill leaves.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.builder.drafts import draft_path
from synthkit.builder.embeddings import remove_half_written
from synthkit.builder.options import LOG, WHOLE
from synthkit.builder.store import mark_of, work_name
from synthkit.errors import BuildError
from synthkit.release.files import shard_name
from synthkit.release.shards import finished, is_intact, records_path, sidecar_path
from synthkit.system.files import make_folder
from synthkit.system.locks import held, try_lock
from synthkit.system.stopping import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Part
    from synthkit.release.shards import Origin, ShardFacts

# How long a batch may take of workers whose build was killed.
_OLD_WORKERS_S = 900
# A network file system may show a file that another node wrote as late as this.
_UNSEEN_S = 90


class Workspace:
    """The work folder of one build; a ShardStore.

    `part` says which of the build's shards this process is to make.
    """

    def __init__(self, root: Path, inputs: Inputs, part: Part = WHOLE) -> None:
        self.root = root
        self.folder = root / work_name(inputs)
        self.shards = self.folder / "shards"
        self.part = part
        self._container = inputs.recipe.output.container
        self.numbers: Sequence[int] = part.shards(inputs.plan)

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def place(self) -> str:
        """The folder of shards, as an absolute path."""
        return str(self.shards.absolute())

    @contextmanager
    def opened(self, *, fresh: bool) -> Iterator[None]:
        """Be the only build of these shards for the length of a block; what a kill left is removed.

        With `fresh`, finished shards are removed first; other parts' work is not touched. Raises BuildError
        if another process builds the same part, or if workers of a killed build do not end.
        """
        make_folder(self.folder)
        with self._locked():
            with self._without_old_workers():
                self._prepare(fresh=fresh)
            yield

    def name(self, number: int) -> str:
        """Return the file name of a shard."""
        return shard_name(number, self._container)

    def finished(self) -> dict[int, ShardFacts]:
        """Return the finished shards of this part, by number."""
        found = ((number, finished(self.shards, self.name(number))) for number in self.numbers)
        return {number: facts for number, facts in found if facts is not None}

    def intact(self) -> dict[int, ShardFacts]:
        """Return the finished shards, without those whose content changed, which are removed.

        Bits rot, and files get edited.
        """
        found = self.finished()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            checked = pool.map(lambda facts: is_intact(self.shards, facts), found.values())
            for number, intact in list(zip(found, checked, strict=True)):
                if not intact:
                    self._unmake(number)
                    del found[number]
        return found

    @contextmanager
    def marked(self) -> Iterator[str]:
        """Keep a small file among the shards for the length of a block; yields its name."""
        mark = self.shards / mark_of(self.part)
        mark.touch()
        try:
            yield mark.name
        finally:
            mark.unlink(missing_ok=True)

    def settle(self) -> None:
        """Wait until every shard is seen here, then remove what lost workers left half-written.

        A network disk shows the shards of other nodes after a while. Raises BuildError if some do not appear.
        """
        deadline = time.monotonic() + _UNSEEN_S
        while len(self.finished()) < len(self.numbers):
            if time.monotonic() > deadline:
                missing = len(self.numbers) - len(self.finished())
                raise BuildError(
                    f"{self.shards}: {missing:,} shards that were made do not appear here; if they are gone, "
                    "run this again"
                )
            time.sleep(0.5)
        self._tidy()

    def log(self, event: Mapping[str, Any]) -> None:
        """Append to the build log: times, device and rates, which no release holds."""
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def settled(self, origin: Origin) -> Path:
        """Return the folder for embeddings of finished images that are computed in an environment."""
        text = json.dumps(origin.environment, sort_keys=True)
        return self.folder / f"embeddings-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def workers_lock(self) -> Path:
        """The file that a worker process of this part locks as long as it lives: it can outlive its build."""
        return self.folder / f"workers-{self.part.number}-of-{self.part.of}.lock"

    def _prepare(self, *, fresh: bool) -> None:
        if fresh and self.part == WHOLE:
            shutil.rmtree(self.folder, ignore_errors=True)
        make_folder(self.shards)
        for number in self.numbers if fresh else ():
            self._unmake(number)
        self._tidy()

    def _tidy(self) -> None:
        """Remove half-written files, and drafts of finished shards; those of this part's shards alone."""
        mine = {Path(self.name(number)).stem for number in self.numbers}
        for leftover in self.folder.rglob(".*.tmp"):
            name = leftover.name.removeprefix(".").split(".")[0]
            if self.part == WHOLE or name in mine:
                leftover.unlink(missing_ok=True)
        for draft in self.shards.glob("*.draft"):
            if draft.stem in mine and finished(self.shards, f"{draft.stem}.{self._container}") is not None:
                draft.unlink(missing_ok=True)
        remove_half_written(self.root)

    def _unmake(self, number: int) -> None:
        """Remove a shard; the sidecar, which makes it finished, goes first."""
        shard = self.shards / self.name(number)
        for path in (sidecar_path(shard), shard, records_path(shard), draft_path(self.shards, shard.name)):
            path.unlink(missing_ok=True)

    def _locked(self) -> AbstractContextManager[None]:
        """Hold the lock of this part. A build of the whole holds the lock of its release already."""
        if self.part == WHOLE:
            return nullcontext()
        lock = self.folder / f"part-{self.part.number}-of-{self.part.of}.lock"
        return held(lock, f"{self.folder}: part {self.part}")

    @contextmanager
    def _without_old_workers(self) -> Iterator[None]:
        """Wait for workers of a killed build, which outlive it by a batch. Raises BuildError if they stay."""
        # For the whole, the workers of every part.
        others = self.folder.glob("workers-*.lock") if self.part == WHOLE else ()
        with ExitStack() as locks:
            for path in sorted({self.workers_lock, *others}):
                self._wait_for(locks.enter_context(path.open("a")).fileno())
            yield

    def _wait_for(self, descriptor: int) -> None:
        began, told = time.monotonic(), False
        while not try_lock(descriptor):
            waited = time.monotonic() - began
            if waited > _OLD_WORKERS_S:
                raise BuildError(
                    f"{self.folder}: workers of an earlier build are still at work after {_OLD_WORKERS_S} s; "
                    "end those processes, then run this again"
                )
            if waited > 1 and not told:
                told = True
                say("waiting for workers of an earlier build, which finish their batch")
            time.sleep(0.05)
