"""The checks that releases made by a family must pass: `BUILDS`, each a function of a `BuildCase`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from synthkit.builder.engines.job import Job
from synthkit.builder.engines.local import devices_for
from synthkit.builder.inputs import read_inputs
from synthkit.builder.make import learn_missing, make_release
from synthkit.builder.options import WHOLE, Options
from synthkit.builder.ready import Setup, ready
from synthkit.builder.workspace import Workspace
from synthkit.conformance.case import ConformanceError
from synthkit.inspection.replay import Replay
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.release.places import receive
from synthkit.release.records import key_of
from synthkit.system.environment import describe_all
from synthkit.system.files import sha256_of
from synthkit.system.stopping import Stopped
from synthkit.verification.verify import verify_release

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.recipe.schema import Recipe


class BuildCase:
    """A recipe that is built in several ways, each in a folder of its own below `folder`.

    The recipe makes few images, in two shards or more, of two batches or more each, so that a build can be
    shared and stopped.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: str = "auto") -> None:
        self.recipe, self.folder, self.device = recipe, folder, device

    def options(self, name: str, workers: int = 1) -> Options:
        """Return how one of the releases is built."""
        return Options(out=self.folder / name, device=self.device, workers=workers)

    @cached_property
    def whole(self) -> Path:
        """The release, made by one worker that nobody stops."""
        return make_release(self.recipe, self.options("whole")).release

    def begin(self, name: str) -> None:
        """Make the first batch of a release as a build does that is then told to stop."""
        options = self.options(name)
        inputs = read_inputs(self.recipe, options.work_root, device=self.device)
        inputs = learn_missing(inputs, options)
        work = Workspace(options.work_root, inputs, WHOLE)
        job = Job(inputs, work, tuple(work.numbers), ())
        (device,) = devices_for(inputs, options)
        with work.opened(fresh=False):
            setup = Setup(inputs, job.origin(describe_all([device])), work.shards, options.work_root)
            try:
                ready(setup, device, _StopsAtOnce()).build(0, _StopsAtOnce())
            except Stopped:
                return
        raise ConformanceError(
            "the first shard of the recipe is one batch, so a build cannot be stopped within it: raise "
            "output.shard_size or lower sampler.batch_size"
        )


class _StopsAtOnce:
    """An observer that wants a stop after the first batch."""

    stopping = True

    def embedded(self, images: int, total: int) -> None: ...

    def kept(self, images: int) -> None: ...

    def made(self, images: int) -> None: ...

    def alive(self) -> None: ...


def verified(case: BuildCase) -> None:
    """Check that a release is whole and that its records follow from the recipe."""
    faults = verify_release(case.whole, read_manifest(case.whole), lambda count: None, deep=True)
    if faults:
        raise ConformanceError(f"verify finds {len(faults)} fault(s): {faults[0]}")


def shared(case: BuildCase) -> None:
    """Check that two workers make the same bytes as one."""
    _same(case.whole, make_release(case.recipe, case.options("shared", workers=2)).release, "by two workers")


def resumed(case: BuildCase) -> None:
    """Check that a build that was stopped within a shard, and goes on, makes the same bytes."""
    case.begin("resumed")
    release = make_release(case.recipe, case.options("resumed")).release
    _same(case.whole, release, "by a build that was stopped and went on")


def replayed(case: BuildCase) -> None:
    """Check that every image is made again from its record alone."""
    manifest = read_manifest(case.whole)
    stored = [read_image(case.whole, manifest, key_of(index)) for index in range(manifest.images)]
    # The recipe of a release names no folder of this machine.
    places = [f"{field}.id={piece.id}" for field, piece in case.recipe.model.pieces.items()]
    run = Replay(receive(case.whole, manifest, places), stored, case.device)
    for image in run.run(lambda count: None):
        if not image.identical or image.false:
            raise ConformanceError(f"image {image.key}, made again from its record, is another one")


BUILDS = (verified, shared, resumed, replayed)


def _same(one: Path, other: Path, how: str) -> None:
    """Raise ConformanceError unless two releases have the same files."""
    names = sorted({file.relative_to(root).as_posix() for root in (one, other) for file in _files(root)})
    for name in names:
        pair = (one / name, other / name)
        if not all(file.is_file() for file in pair) or len({sha256_of(file) for file in pair}) > 1:
            raise ConformanceError(f"{name} of a release made {how} is another than by one worker")


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
