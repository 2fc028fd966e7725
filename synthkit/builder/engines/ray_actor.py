"""An actor of a Ray cluster: it makes the shards that it is told to make, with what its own node has.

It reads the real images and plans by itself, and refuses to work if the digest is not that of the build. All
but finished shards it keeps in a scratch folder of its node, which can be deleted at any time.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthkit.builder.guiding import FOLDER as CLASSIFIERS
from synthkit.builder.guiding import ClassifierStore
from synthkit.builder.inputs import read_inputs
from synthkit.builder.remote_shards import RemoteShards, is_url
from synthkit.builder.tokens import using
from synthkit.builder.workspace import Workspace
from synthkit.errors import BuildError, SynthkitError
from synthkit.recipe.schema import Recipe
from synthkit.release.learned_tokens import read_tokens
from synthkit.release.shards import Origin, finished, records_path, sidecar_path
from synthkit.system.environment import NO_DEVICE, choose_device, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.shard import ShardBuilder


@dataclass(frozen=True, slots=True)
class Orders:
    """What an actor is told first: the recipe as JSON, and the digest and environment that must come of it.

    `place` receives the shards: a folder that all nodes share, or an address. A file `mark` lies in it.
    `tokens` is the file of learned tokens, `classifier` that of the weights that guide, each empty if there
    is none.
    """

    recipe: str
    limit: int | None
    digest: str
    environment: dict[str, str]
    place: str
    mark: str
    tokens: bytes
    classifier: bytes


class Pulse(NamedTuple):
    """How an actor goes on: its counts of images, and the seconds since its last sign of life (`quiet`)."""

    embedded: int
    to_embed: int
    shard: int | None
    kept: int
    made: int
    quiet: float


class _Observer:
    """Counts images, for `pulse` to report."""

    stopping = False

    def __init__(self) -> None:
        self._embedded, self._to_embed, self._kept, self._made = 0, 0, 0, 0
        self._shard: int | None = None
        self._last = float("inf")

    def begin(self, shard: int | None) -> None:
        """Begin a shard, or to get ready: from now on, signs of life are due."""
        self._shard, self._kept, self._made = shard, 0, 0
        self.alive()

    def rest(self) -> None:
        """Rest: no signs of life are due."""
        self._last = float("inf")

    def embedded(self, images: int, total: int) -> None:
        self._embedded, self._to_embed = self._embedded + images, total
        self.alive()

    def kept(self, images: int) -> None:
        self._kept += images
        self.alive()

    def made(self, images: int) -> None:
        self._made += images
        self.alive()

    def alive(self) -> None:
        self._last = time.monotonic()

    def pulse(self) -> Pulse:
        quiet = max(0.0, time.monotonic() - self._last)
        return Pulse(self._embedded, self._to_embed, self._shard, self._kept, self._made, quiet)


class Actor:
    """Holds the model of one device. `pulse` is answered in a thread of its own."""

    def __init__(self, folder: str, device: str) -> None:
        # Relative paths of a recipe mean those where the build was started, if this node has them.
        with suppress(OSError):
            os.chdir(folder)
        self._device = device
        self._observer = _Observer()

    def hello(self) -> tuple[str, dict[str, str]]:
        """Return the node's name and its environment."""
        with _plainly():
            # Raises BuildError for a GPU that Ray counts and torch cannot use.
            device = NO_DEVICE if self._device == NO_DEVICE else choose_device(self._device)
            return platform.node(), describe(device)

    def prepare(self, orders: Orders) -> None:
        """Get ready to build. Raises BuildError if this node would make something else, or elsewhere."""
        with _plainly():
            root = scratch()
            recipe = Recipe.model_validate_json(orders.recipe)
            if orders.classifier:
                ClassifierStore(root / CLASSIFIERS).put(orders.classifier)
            inputs = read_inputs(recipe, root, limit=orders.limit)
            _check_same(inputs, orders)
            inputs = _with_tokens(inputs, orders, root)
            self._remote = RemoteShards(orders.place) if is_url(orders.place) else None
            _check_place(orders, self._remote)
            self._builder = self._ready(inputs, orders, root)

    def _ready(self, inputs: Inputs, orders: Orders, root: Path) -> ShardBuilder:
        from synthkit.builder.ready import Setup, ready

        work = Workspace(root, inputs)
        folder = Path(orders.place) if self._remote is None else _own_folder(work.folder)
        origin = Origin(inputs.generation_digest, orders.environment)
        work.folder.mkdir(parents=True, exist_ok=True)
        self._observer.begin(None)
        try:
            return ready(Setup(inputs, origin, folder, root), self._device, self._observer)
        finally:
            self._observer.rest()

    def build(self, shard: int) -> None:
        """Make one shard and put it in its place."""
        with _plainly():
            self._observer.begin(shard)
            try:
                self._builder.build(shard, self._observer)
                if self._remote is not None:
                    self._deliver(self._remote, shard)
            finally:
                self._observer.rest()

    def _deliver(self, remote: RemoteShards, shard: int) -> None:
        folder, name = self._builder.folder, self._builder.name(shard)
        facts = finished(folder, name)
        if facts is None:
            raise BuildError(f"{folder / name}: was removed by somebody while it was being delivered")
        remote.deliver(folder, facts, self._observer.alive)
        made = folder / name
        for path in (sidecar_path(made), made, records_path(made)):
            path.unlink(missing_ok=True)

    def pulse(self) -> Pulse:
        """Report how it goes on."""
        return self._observer.pulse()


def _with_tokens(inputs: Inputs, orders: Orders, root: Path) -> Inputs:
    """Return inputs with the tokens that the starting machine has found or learned."""
    if not orders.tokens:
        return inputs
    with tempfile.NamedTemporaryFile(dir=root, suffix=".safetensors") as stream:
        stream.write(orders.tokens)
        stream.flush()
        return using(inputs, read_tokens(Path(stream.name)))


def scratch() -> Path:
    """Make this user's scratch folder on this node. Raises BuildError if it belongs to another user."""
    folder = Path(tempfile.gettempdir()) / f"synthkit-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise BuildError(f"{folder}: belongs to somebody else; set TMPDIR on this node to another folder")
    return folder


def _own_folder(work: Path) -> Path:
    """Make the folder in which this process makes shards; remove those of processes that have ended."""
    for other in work.glob("shards-*"):
        number = re.fullmatch(r"shards-(\d+)", other.name)
        if number and not _lives(int(number[1])):
            shutil.rmtree(other, ignore_errors=True)
    folder = work / f"shards-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _lives(number: int) -> bool:
    """Return whether a process of this number runs, of whichever user."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_same(inputs: Inputs, orders: Orders) -> None:
    if inputs.digest != orders.digest:
        raise BuildError(
            f"has other real images or another model than where the build was started (digest "
            f"{inputs.digest[:12]}, not {orders.digest[:12]}); every node needs the same"
        )


def _check_place(orders: Orders, remote: RemoteShards | None) -> None:
    mark = Path(orders.place) / orders.mark
    if not (mark.exists() if remote is None else remote.has(orders.mark)):
        raise BuildError(
            f"{orders.place}: is not the same place here as where the build was started; --out must be a "
            "folder that all nodes share, or an address that all reach (s3://…)"
        )


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn errors into BuildErrors that name the node, and that the driver can unpickle."""
    try:
        yield
    except SynthkitError as error:
        raise BuildError(f"node {platform.node()}: {error}") from None
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise BuildError(f"node {platform.node()}: {error.strerror or error}{place}") from None
