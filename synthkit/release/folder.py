"""A release folder on disk: locked while it is changed, replaced in one step, and repaired after a kill.

While the folder NAME is being changed, these lie beside it:

- `.NAME.lock`: held by the process that changes it.
- `.NAME.new`: the new release, being written.
- `.NAME.old`: the old release, between the two renames that put the new one in its place.
- `.NAME.trash`: the old release, being removed.

A kill or a power cut can leave any of them behind; the next command that changes the release cleans up.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from synthkit.errors import BuildError, ReleaseError
from synthkit.release.files import MANIFEST, SIGNATURE
from synthkit.release.manifest import Manifest, file_facts, read_manifest, unlisted
from synthkit.system.files import link, make_folder, naming_the_place, remove, sync_folder, sync_tree
from synthkit.system.locks import held, is_left

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LEFT = ("old", "new", "trash")
# How long to wait for the two renames of a replacement, which take microseconds, and for one that hangs.
_REPLACING_S = 0.2
_PATIENCE_S = 5.0


class ReleaseFolder:
    """The folder of a release, which may not exist yet; every command reads or changes it through this."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the release at a path that a user names, which may be a link or the current folder."""
        return cls(Path(os.path.realpath(path)) if path.is_symlink() or path.name in ("", "..") else path)

    @contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock on the release, after cleaning up what a kill left.

        Builds of parts take it `shared`. Raises BuildError, naming the process, if another holds the lock.
        """
        make_folder(self.path.parent)
        with held(self._beside("lock"), str(self.path), shared=shared):
            if not shared:
                self.restore()
            yield

    def restore(self) -> None:
        """Undo a replacement that was cut off between its two renames, and remove the remains of others.

        The caller must hold the lock.
        """
        old = self._beside("old")
        if os.path.lexists(old) and self._is_vacant():
            old.rename(self.path)
        for what in _LEFT:
            remove(self._beside(what))

    def is_settled(self) -> bool:
        """Return whether the last change of the release has ended and left nothing beside it."""
        left = any(os.path.lexists(self._beside(what)) for what in _LEFT)
        return not left and not is_left(self._beside("lock"))

    def is_here(self) -> bool:
        """Return whether the folder exists; a release that a kill left under `.NAME.old` is put back first.

        Raises BuildError if a process that is replacing it does not end within seconds.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not self.path.exists() and self._beside("old").exists():
            # A replacement is under way and over in a moment, or it was cut off.
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
        """Read the manifest. Raises ReleaseError if it is missing or not a manifest."""
        self.is_here()
        return read_manifest(self.path)

    @contextmanager
    def opened(self) -> Iterator[Manifest]:
        """Give the manifest to a reader without the lock, and check at the end that the release is the same.

        Raises ReleaseError if there is no release, or if it was replaced while it was read.
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
            # If the release was replaced, that explains files that are missing or do not fit.
            self._check_same(before, error)
            raise
        self._check_same(before, None)

    def check_own(self, manifest: Manifest) -> None:
        """Raise ReleaseError if the folder holds files of others, which replacing it would delete."""
        foreign = list(unlisted(self.path, manifest))
        if foreign:
            raise ReleaseError(
                f"{self.path}: holds files that are not the release's ({', '.join(foreign[:3])}); "
                "move them away, then run this again"
            )

    @contextmanager
    def replace(self) -> Iterator[Path]:
        """Give an empty folder, which takes the release's place if the block ends without an error.

        The caller must hold the lock.
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
        """Put a folder that lies beside the release in its place, and remove the old release.

        The folder's content is synced to disk before the renames, and the names after them.
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
            # Removing it may take long; under this name `restore` would not put it back.
            old.rename(trash)
            with suppress(OSError):
                remove(trash)

    def amend(self, before: Manifest, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Add files to the release or replace some, and seal it again: in one step, or not at all.

        `before` is the manifest that was read, `manifest` the new one, whose list of files and seal are made
        here. A signature over the old manifest is left out. The caller must hold the lock. Raises
        ReleaseError if the release has changed since `before` was read, or holds files of others.
        """
        self._check_unchanged(before)
        with self.replace() as new:
            kept = [file for file in manifest.files if file.path not in files]
            self._link(new, [file.path for file in kept])
            for name, content in files.items():
                (new / name).write_bytes(content)
            changed = [file_facts(new, new / name) for name in files]
            every = sorted([*kept, *changed], key=lambda file: file.path)
            (new / MANIFEST).write_bytes(manifest.model_copy(update={"files": every}).sealed().to_json())

    def add_signature(self, manifest: Manifest, signature: bytes) -> None:
        """Put a signature over the manifest into the release, in one step; every other file stays.

        The caller must hold the lock. Raises ReleaseError if the release has changed since its manifest was
        read, or holds files of others.
        """
        self._check_unchanged(manifest)
        with self.replace() as new:
            self._link(new, [MANIFEST, *(file.path for file in manifest.files)])
            (new / SIGNATURE).write_bytes(signature)

    def _check_unchanged(self, before: Manifest) -> None:
        if read_manifest(self.path) != before:
            raise ReleaseError(f"{self.path}: was replaced meanwhile; run the same command again")
        self.check_own(before)

    def _link(self, new: Path, names: Iterable[str]) -> None:
        """Give files of the release a second name below another folder."""
        for name in names:
            place = new / name
            place.parent.mkdir(parents=True, exist_ok=True)
            link(self.path / name, place)

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{what}")

    def _is_vacant(self) -> bool:
        """Return whether another folder can be renamed to this name without destroying anything."""
        if not os.path.lexists(self.path):
            return True
        return self.path.is_dir() and not self.path.is_symlink() and not any(self.path.iterdir())

    def _identity(self) -> tuple[int, ...] | None:
        """Return numbers that change when the folder or its manifest is replaced; None if there is none."""
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
