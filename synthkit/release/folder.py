"""A release folder on a disk: who works on it, how it is replaced in one step, and found again after a kill.

Beside the folder NAME lie, while it is changed: `.NAME.lock`, held by who changes it; `.NAME.new`, what is
being written; `.NAME.old`, what it replaces, between two renames; `.NAME.trash`, what was replaced. Whatever
a kill or a power cut leaves of them, the next command that changes the release sets right.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from synthkit.errors import BuildError, ReleaseError
from synthkit.release.files import MANIFEST
from synthkit.release.manifest import Manifest, file_facts, read_manifest, unlisted
from synthkit.system.files import link, make_folder, naming_the_place, remove, sync_folder, sync_tree
from synthkit.system.locks import held, is_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEFT = ("old", "new", "trash")
# How long the two renames of a replacement may take; they take microseconds.
_REPLACING_S = 0.2
_PATIENCE_S = 5.0


class ReleaseFolder:
    """The folder of a release, which need not be there yet: the only way to read or change one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The release that a user names: where a link leads, or the current folder."""
        return cls(Path(os.path.realpath(path)) if path.is_symlink() or path.name in ("", "..") else path)

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Be the only one to change the release; builds of parts share this with each other.

        What a kill left is set right first. Raises BuildError, naming the process, if another has it.
        """
        make_folder(self.path.parent)
        with held(self._beside("lock"), str(self.path), shared=shared):
            if not shared:
                self.restore()
            yield

    def restore(self) -> None:
        """Undo a replacement that was cut off between its two renames, and remove what is left of others.

        For who holds the lock.
        """
        old = self._beside("old")
        if os.path.lexists(old) and self._is_vacant():
            old.rename(self.path)
        for what in _LEFT:
            remove(self._beside(what))

    def is_settled(self) -> bool:
        """Whether nothing lies beside the release that who changes it would have removed."""
        left = any(os.path.lexists(self._beside(what)) for what in _LEFT)
        return not left and not is_left(self._beside("lock"))

    def is_here(self) -> bool:
        """Whether there is such a folder; one whose name a kill took away gets it back.

        Raises BuildError if a process that replaces it does not come to an end.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not self.path.exists() and self._beside("old").exists():
            # A replacement is under way: it is over at once, or was cut off.
            time.sleep(_REPLACING_S)
            if self.path.exists():
                break
            try:
                with self.locked():
                    pass
            except BuildError:
                if time.monotonic() > deadline:
                    raise
            except OSError as error:
                raise ReleaseError(
                    f"{self.path}: its replacement was cut off, and {self._beside('old')}, where it lies, "
                    f"cannot be renamed here: {error.strerror}"
                ) from None
        return self.path.exists()

    def manifest(self) -> Manifest:
        """The manifest. Raises ReleaseError if there is none, or it is not one."""
        self.is_here()
        return read_manifest(self.path)

    @contextmanager
    def opened(self) -> Iterator[Manifest]:
        """The manifest, for who reads the release without a lock: as long as it takes, it must stay the same.

        Raises ReleaseError if there is no release, or if it was replaced meanwhile.
        """
        while True:
            self.is_here()
            before = self._identity()
            try:
                manifest = read_manifest(self.path)
            except ReleaseError:
                if self._identity() == before:
                    raise
            else:
                break
        try:
            yield manifest
        except Exception as error:
            # Files that went, or do not fit, say only that.
            self._check_same(before, error)
            raise
        self._check_same(before, None)

    def check_own(self, manifest: Manifest) -> None:
        """Raise ReleaseError if the folder holds files that are not the release's, which would be lost."""
        foreign = list(unlisted(self.path, manifest))
        if foreign:
            raise ReleaseError(
                f"{self.path}: holds files that are not the release's ({', '.join(foreign[:3])}); "
                "move them away, then run this again"
            )

    @contextmanager
    def replace(self) -> Iterator[Path]:
        """An empty folder, which takes the release's place when the block ends without an error.

        For who holds the lock.
        """
        new = self._beside("new")
        remove(new)
        new.mkdir()
        try:
            with naming_the_place(self.path):
                yield new
                self.put(new)
        except BaseException:
            with suppress(OSError):
                remove(new)
            raise

    def put(self, new: Path) -> None:
        """Give the release's place to a folder that lies beside it; what was there is removed.

        Everything in it is on the disk before, and its name after.
        """
        sync_tree(new)
        old, trash = self._beside("old"), self._beside("trash")
        if os.path.lexists(self.path):
            self.path.rename(old)
        try:
            new.rename(self.path)
        except BaseException:
            if os.path.lexists(old):
                old.rename(self.path)
            raise
        sync_folder(self.path.parent)
        if os.path.lexists(old):
            # Under a name that `restore` does not bring back, however long removing it takes.
            old.rename(trash)
            with suppress(OSError):
                remove(trash)

    def amend(self, before: Manifest, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Add files to the release, or replace some, and seal it again; in one step, or not at all.

        For who holds the lock. Raises ReleaseError if the release is not the one of `before` any more, or
        holds files that are not its own.
        """
        if read_manifest(self.path) != before:
            raise ReleaseError(f"{self.path}: was replaced meanwhile; run the same command again")
        self.check_own(before)
        with self.replace() as new:
            kept = [file for file in manifest.files if file.path not in files]
            for file in kept:
                place = new / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                link(self.path / file.path, place)
            for name, content in files.items():
                (new / name).write_bytes(content)
            changed = [file_facts(new, new / name) for name in files]
            every = sorted([*kept, *changed], key=lambda file: file.path)
            (new / MANIFEST).write_bytes(manifest.model_copy(update={"files": every}).sealed().to_json())

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{what}")

    def _is_vacant(self) -> bool:
        """Whether nothing is there that renaming a folder to this name would destroy."""
        if not os.path.lexists(self.path):
            return True
        return self.path.is_dir() and not self.path.is_symlink() and not any(self.path.iterdir())

    def _identity(self) -> tuple[int, ...] | None:
        """What another folder in this place would not have in common with this one."""
        try:
            folder, manifest = self.path.stat(), (self.path / MANIFEST).stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        return folder.st_dev, folder.st_ino, manifest.st_ino, manifest.st_mtime_ns, manifest.st_size

    def _check_same(self, before: tuple[int, ...] | None, error: Exception | None) -> None:
        if self._identity() != before:
            raise ReleaseError(
                f"{self.path}: was replaced while it was read; run the same command again"
            ) from error
