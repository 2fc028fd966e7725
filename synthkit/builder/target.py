"""The release folder that a build fills: whether it is there already, may be replaced, and is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.builder.finish import write_into
from synthkit.builder.growth import check_earlier
from synthkit.builder.store import check_alike
from synthkit.errors import BuildError, ReleaseError
from synthkit.release.files import FILES, MANIFEST, RECIPE, is_table
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import read_manifest, unlisted
from synthkit.release.signature import read_signature
from synthkit.system.files import sha256_of
from synthkit.system.stopping import say

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.builder.workspace import Workspace
    from synthkit.release.manifest import Manifest

_NAMES = frozenset(file.name for file in FILES)


class Target(ReleaseFolder):
    """The release folder of a build's inputs, to be treated by its options."""

    def __init__(self, inputs: Inputs, options: Options) -> None:
        super().__init__(options.release(inputs.recipe.name))
        self._inputs, self._options = inputs, options

    def is_current(self) -> bool:
        """Return whether the folder holds this very release: same digest, same card facts, sizes as stated.

        Not so while anything of a replacement lies beside it, and never if all is to be made afresh.
        """
        inputs = self._inputs
        if self._options.fresh:
            return False
        try:
            manifest = read_manifest(self.path)
            recipe_yaml = (self.path / RECIPE).read_bytes()
            sizes = all((self.path / file.path).stat().st_size == file.bytes for file in manifest.files)
        except (ReleaseError, OSError):
            return False
        if not self.is_settled():
            return False
        same = (manifest.recipe_digest, manifest.images) == (inputs.digest, len(inputs.plan))
        kind = (manifest.partial is not None) is inputs.preview
        return same and kind and sizes and recipe_yaml == inputs.recipe_yaml

    def check_replaceable(self, work: Workspace) -> None:
        """Raise BuildError if the folder holds anything that this recipe did not make, unless it may be lost.

        Previews may always be replaced by previews, and so may what a power cut left of this very build.
        """
        if self._options.overwrite:
            return
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_dir()):
            raise BuildError(f"{self.path}: is not a folder; move it away, or choose another --out")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        try:
            manifest = read_manifest(self.path)
        except ReleaseError as error:
            if self._lost_power(work):
                return
            raise BuildError(
                f"{error}; move it away, choose another --out, or replace it with --overwrite"
            ) from None
        if manifest.recipe_digest != self._inputs.digest and (
            manifest.partial is None or not self._inputs.preview
        ):
            self._check_grows(manifest)
        foreign = list(unlisted(self.path, manifest))
        if foreign:
            raise BuildError(
                f"{self.path}: holds files that are not the release's ({', '.join(foreign[:3])}); "
                "move them away, or lose them with --overwrite"
            )

    def _check_grows(self, manifest: Manifest) -> None:
        """Raise BuildError unless the release in the folder is an earlier version of this one."""
        inputs = self._inputs
        if inputs.recipe.grown:
            check_earlier(inputs, self.path, manifest)
            return
        hint = ""
        if manifest.generation_digest == inputs.generation_digest and manifest.partial is None:
            later = bool(manifest.grown)
            hint = (
                "it is a later version, which grew: take its recipe.yaml; or "
                if later
                else "to keep its images and add to them, run synthkit grow with the recipe; or "
            )
        raise BuildError(
            f"{self.path}: was built from another recipe (digest {manifest.recipe_digest[:12]}, version "
            f"{manifest.version}; this one is {inputs.digest[:12]}); {hint}change the recipe's name, choose "
            "another --out, or replace it with --overwrite"
        )

    def write(self, work: Workspace) -> None:
        """Write the release from finished shards beside its place, then put it there in one step.

        Raises BuildError if the shards were made in different environments, or if somebody put files there
        while they were made.
        """
        finished = work.finished()
        check_alike(self._inputs.plan.blocks, finished)
        self.check_replaceable(work)
        signed = read_signature(self.path) is not None
        with self.replace() as new:
            write_into(new, self._inputs, work.shards, list(finished.values()))
        if signed:
            say(f"{self.path}: was signed; the release that took its place is not")

    def _lost_power(self, work: Workspace) -> bool:
        """Whether a power cut left the folder, under a synthkit that did not yet wait for the disk.

        It then has a release's files alone, its manifest is empty, its shards are empty or this build's.
        """
        if not _is_blank(self.path / MANIFEST):
            return False
        shards = {f"data/{shard.name}": shard.sha256 for shard in work.finished().values()}
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            if path.is_dir() or name in _NAMES or is_table(name):
                continue
            if name not in shards or not (_is_blank(path) or sha256_of(path) == shards[name]):
                return False
        return True


def _is_blank(path: Path) -> bool:
    """Whether a file is empty, or holds zeros: so a disk shows a file whose content never reached it."""
    try:
        with path.open("rb") as stream:
            return not stream.read(1 << 16).strip(b"\0")
    except OSError:
        return False
