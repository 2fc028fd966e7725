"""The work folder of a build: finished shards, one embeddings file, a log, and a lock.

Nothing in it but finished shards is a state: whatever else a kill leaves is removed by the next run.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synthkit.environment import changed
from synthkit.errors import BuildError
from synthkit.shards import finished, is_intact, shard_name, sidecar_path, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe import Recipe
    from synthkit.shards import ShardFacts

WORK_FOLDER = ".synthkit"
LOG = "build.jsonl"
_ENVIRONMENT = "environment.json"


class Workspace:
    """The work folder of one build, named for the release and the recipe's digest."""

    def __init__(self, root: Path, name: str, digest: str, *, limit: int | None) -> None:
        preview = "" if limit is None else f"-first-{limit}"
        self.folder = root / f"{name}-{digest[:12]}{preview}"
        self.shards = self.folder / "shards"
        self.embeddings = self.folder / "embeddings.npy"

    def open(self, *, fresh: bool) -> None:
        """Make the folder ready, clean after a kill."""
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.shards.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink()

    def finished(self, shards: int) -> dict[int, ShardFacts]:
        """The shards that are whole, by number."""
        found = ((shard, finished(self.shards, shard_name(shard, shards))) for shard in range(shards))
        return {shard: facts for shard, facts in found if facts is not None}

    def log(self, event: Mapping[str, Any]) -> None:
        """Append to the build log: times, device and rates, which no release holds."""
        with (self.folder / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 3), **event}) + "\n")

    def intact(self, shards: int) -> dict[int, ShardFacts]:
        """The finished shards, after unmaking those whose content changed: bits rot, files get edited."""
        found = self.finished(shards)
        for shard, facts in list(found.items()):
            if not is_intact(self.shards, facts):
                sidecar_path(self.shards / facts.name).unlink()
                del found[shard]
        return found

    def environment(self) -> dict[str, str]:
        """The environment that the finished shards were made in. Raises BuildError if it is damaged."""
        path = self.folder / _ENVIRONMENT
        try:
            return {str(key): str(value) for key, value in json.loads(path.read_bytes()).items()}
        except (OSError, ValueError, AttributeError):
            raise BuildError(f"{path}: is damaged; start again with --fresh") from None

    def begin(self, now: Mapping[str, str]) -> None:
        """Record the environment before shards are made in it.

        Raises BuildError when finished shards were made in another one: they are not mixed.
        """
        path = self.folder / _ENVIRONMENT
        differences = changed(self.environment(), now) if path.exists() else ["begun now"]
        if differences and any(self.shards.glob("*.tar")):
            raise BuildError(
                f"{self.folder}: was begun in another environment ({', '.join(differences)}), which can "
                "change bits; go on there, or start again here with --fresh"
            )
        if differences:
            self.embeddings.unlink(missing_ok=True)
            write_atomically(path, json.dumps(now, indent=1).encode())


@contextmanager
def locked(release: Path) -> Iterator[None]:
    """Hold the only build of a release; the kernel lets go of it when a process dies."""
    release.parent.mkdir(parents=True, exist_ok=True)
    with release.with_name(f".{release.name}.lock").open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            other = stream.read().strip() or "unknown"
            raise BuildError(
                f"{release}: process {other} is at work on it; wait for it to end, then run this again"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def rate_key(recipe: Recipe, checkpoint: Checkpoint) -> dict[str, Any]:
    """What decides how fast images are made and how large they are."""
    sampler = recipe.sampler
    return {
        "model": [checkpoint.name, checkpoint.revision, recipe.model.dtype],
        "sampler": [sampler.scheduler, sampler.steps, sampler.guidance_scale > 1, sampler.batch_size],
        "output": recipe.output.model_dump(exclude={"shard_size"}),
    }


def last_rate(root: Path, key: Mapping[str, Any]) -> dict[str, float] | None:
    """Images per second and bytes per image of the last logged build with the same model and sampler."""
    best: dict[str, Any] | None = None
    for log in root.glob(f"*/{LOG}"):
        for event in _events(log):
            same = event.get("event") == "generated" and event.get("key") == dict(key)
            if same and (best is None or event["time"] > best["time"]):
                best = event
    if best is None:
        return None
    return {name: best[name] for name in ("images_per_second", "bytes_per_image")}


def _events(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
