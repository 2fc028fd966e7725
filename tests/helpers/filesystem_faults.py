"""Every call of a process that changes files below a folder, numbered: where it can die, and what is left.

`record` copies the folder before each call, as it would be found if the process died there:

* `kill`: as it is; no `finally` runs, nothing that is buffered is written.
* `cut`: the power went. Of every file whose content was written since its last fsync nothing is left.
* `undone`: as `cut`, and every name that was made, changed or removed since the last fsync of its folder is
  as it was before.

`fail` makes one call an OSError, `interrupt` a Ctrl-C. SQLite's own files are not looked at.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("kill", "cut", "undone")


@dataclass
class Name:
    """A change to the names in folders that can be undone as long as no fsync followed."""

    what: str
    path: str
    old: str = ""
    victim: str = ""
    folder: int = 0


class Disk:
    """What of a folder has reached the disk: contents by inode, names by the folders they are in."""

    def __init__(self, root: Path, grave: Path) -> None:
        self.root, self.grave = root, grave
        self.dirty: set[int] = set()
        self.names: list[Name] = []
        self._buried = 0

    def wrote(self, descriptor: int) -> None:
        self.dirty.add(os.fstat(descriptor).st_ino)

    def synced(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self.dirty.discard(found.st_ino)
        if stat.S_ISDIR(found.st_mode):
            self._synced_names(found.st_ino)

    def _synced_names(self, folder: int) -> None:
        kept: list[Name] = []
        for name in self.names:
            if name.folder != folder:
                kept.append(name)
            elif name.what == "rmdir":
                # What was in a folder that is gone for good is gone with it.
                kept = [other for other in kept if not other.path.startswith(f"{name.path}/")]
            elif name.what == "rename":
                # Its making cannot be undone any more under the name it had.
                kept = [other for other in kept if other.path != name.old]
        self.names = kept

    def changed(self, what: str, path: str, old: str = "", victim: str = "") -> None:
        self.names.append(Name(what, path, old, victim, Path(path).parent.stat().st_ino))

    def bury(self, path: str) -> str:
        """Keep what a call is about to remove or to replace; empty if there is nothing."""
        if not os.path.lexists(path) or (os.path.isdir(path) and not os.path.islink(path)):
            return ""
        self._buried += 1
        place = str(self.grave / str(self._buried))
        LINK(path, place, follow_symlinks=False)
        return place

    def copy(self, to: Path, kind: str) -> None:
        """The folder as it is found after the process died."""
        copies: dict[int, str] = {}
        self._copy(str(self.root), str(to), kind, copies)
        if kind == "undone":
            for name in reversed(self.names):
                self._undo(name, to)

    def _copy(self, source: str, target: str, kind: str, copies: dict[int, str]) -> None:
        MKDIR(target)
        for entry in os.scandir(source):
            place = f"{target}/{entry.name}"
            inode = entry.inode()
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                if not entry.name.startswith("printed-"):
                    self._copy(entry.path, place, kind, copies)
            elif inode in copies:
                LINK(copies[inode], place)
            else:
                copies[inode] = place
                shutil.copy2(entry.path, place)
                if kind != "kill" and inode in self.dirty:
                    os.truncate(place, 0)

    def _undo(self, name: Name, to: Path) -> None:
        path, old = (
            to / Path(place).relative_to(self.root) if place else to for place in (name.path, name.old)
        )
        if name.what == "rename":
            RENAME(path, old)
        elif name.what == "mkdir":
            shutil.rmtree(path)
        elif name.what == "rmdir":
            MKDIR(path)
        elif name.what == "make":
            UNLINK(path)
        if name.victim:
            shutil.copy2(name.victim, path, follow_symlinks=False)
            if os.lstat(name.victim).st_ino in self.dirty and not path.is_symlink():
                os.truncate(path, 0)


class Tracer:
    """Wraps the calls of this process; `before` is called with the number of each, and what it is."""

    def __init__(self, root: Path, disk: Disk, before: Callable[[int, str, str], None]) -> None:
        self.root, self.disk, self._before = str(root), disk, before
        self.calls = 0
        self._lock = threading.RLock()
        self._busy: int | None = None

    @contextmanager
    def step(self, what: str, path: str) -> Iterator[None]:
        """One call at a time, so that what is copied is what a call finds."""
        with self._lock:
            self.calls += 1
            with self.not_looking():
                self._before(self.calls, what, os.path.relpath(path, self.root))
            yield

    @contextmanager
    def not_looking(self) -> Iterator[None]:
        """The calls of this thread are the test's own."""
        self._busy = threading.get_ident()
        try:
            yield
        finally:
            self._busy = None

    def place(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The folder, or an absolute path below it; None for what is none of ours."""
        if isinstance(path, int):
            absolute = os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")
        else:
            base = os.getcwd() if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
            absolute = os.path.normpath(os.path.join(base, os.fsdecode(path)))
        inside = f"{absolute}/".startswith(f"{self.root}/") and "/printed-" not in absolute
        return absolute if inside and self._busy != threading.get_ident() else None


MKDIR, RENAME, LINK, UNLINK = os.mkdir, os.rename, os.link, os.unlink


def install(tracer: Tracer) -> None:
    """Wrap whatever changes a file or a name, in this process, for good."""
    _wrap_names(tracer)
    _wrap_contents(tracer)
    _wrap_open(tracer)


def _wrap_names(tracer: Tracer) -> None:
    disk, rmdir, symlink = tracer.disk, os.rmdir, os.symlink

    def moved(source: Any, target: Any) -> None:
        old, new = tracer.place(source), tracer.place(target)
        if new is None or old is None:
            RENAME(source, target)
            return
        with tracer.step("rename", new):
            victim = disk.bury(new)
            RENAME(source, target)
            disk.changed("rename", new, old, victim)

    def made(what: str, call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any, dir_fd: int | None = None, **options: Any) -> None:
            new = tracer.place(arguments[0 if what == "mkdir" else 1], dir_fd)
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            if new is None:
                call(*arguments, **options)
                return
            with tracer.step(call.__name__, new):
                call(*arguments, **options)
                disk.changed(what, new)

        return wrapped

    def gone(what: str, call: Callable[..., None]) -> Callable[..., None]:
        def wrapped(path: Any, *, dir_fd: int | None = None) -> None:
            old = tracer.place(path, dir_fd)
            if old is None:
                call(path, dir_fd=dir_fd)
                return
            with tracer.step(what, old):
                victim = disk.bury(old)
                call(path, dir_fd=dir_fd)
                disk.changed(what, old, victim=victim)

        return wrapped

    os.rename = os.replace = moved  # type: ignore[assignment]
    os.mkdir = made("mkdir", MKDIR)  # type: ignore[assignment]
    os.link = made("make", LINK)  # type: ignore[assignment]
    os.symlink = made("make", symlink)  # type: ignore[assignment]
    os.unlink = os.remove = gone("unlink", UNLINK)  # type: ignore[assignment]
    os.rmdir = gone("rmdir", rmdir)  # type: ignore[assignment]


def _wrap_contents(tracer: Tracer) -> None:
    fsync, write, sendfile = os.fsync, os.write, os.sendfile

    def synced(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        path = tracer.place(descriptor)
        if path is None:
            fsync(descriptor)
            return
        with tracer.step("fsync", path):
            fsync(descriptor)
            tracer.disk.synced(descriptor)

    def written(descriptor: int, content: Any) -> int:
        path = tracer.place(descriptor)
        if path is None:
            return write(descriptor, content)
        with tracer.step("write", path):
            tracer.disk.wrote(descriptor)
            return write(descriptor, content)

    def sent(target: int, *rest: Any, **options: Any) -> int:
        path = tracer.place(target)
        if path is None:
            return sendfile(target, *rest, **options)
        with tracer.step("write", path):
            tracer.disk.wrote(target)
            return sendfile(target, *rest, **options)

    os.fsync, os.write, os.sendfile = synced, written, sent  # type: ignore[assignment]


def _wrap_open(tracer: Tracer) -> None:
    plain_open, os_open = io.open, os.open

    class Raw(io.FileIO):
        """A file without a buffer, whose every write is a call."""

        def write(self, content: Any, /) -> int:
            path = tracer.place(self.fileno())
            if path is None:
                return super().write(content)
            with tracer.step("write", path):
                tracer.disk.wrote(self.fileno())
                return super().write(content)

        def truncate(self, size: int | None = None, /) -> int:
            path = tracer.place(self.fileno())
            if path is None:
                return super().truncate(size)
            with tracer.step("truncate", path):
                tracer.disk.wrote(self.fileno())
                return super().truncate(size)

    @contextmanager
    def opening(path: str, *, emptied: bool) -> Iterator[None]:
        with tracer.step("open", path):
            new = not os.path.lexists(path)
            if not new and emptied:
                tracer.disk.dirty.add(os.stat(path).st_ino)
            yield
            if new:
                tracer.disk.changed("make", path)

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = None if isinstance(file, int) or not set(mode) & set("wax+") else tracer.place(file)
        if path is None:
            return plain_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        with opening(path, emptied="w" in mode):
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline)

    def os_opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = tracer.place(path, dir_fd) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else None
        if place is None or flags & os.O_TMPFILE == os.O_TMPFILE:
            return os_open(path, flags, mode, dir_fd=dir_fd)
        with opening(place, emptied=bool(flags & os.O_TRUNC)):
            return os_open(path, flags, mode, dir_fd=dir_fd)

    io.open = builtins.open = opened  # type: ignore[assignment]
    os.open = os_opened


class Recorder:
    """Copies what is left at a call into `out/CALL-KIND`, equal ones once.

    Of every so many calls, and of all that change a name in the folder of releases.
    """

    def __init__(self, root: Path, out: Path, every: int) -> None:
        self.out, self._every = out, every
        (out / "grave").mkdir()
        self.disk = Disk(root, out / "grave")
        self.found: list[dict[str, Any]] = []
        self._known: dict[str, str] = {}

    def before(self, number: int, what: str, path: str) -> None:
        names = what in ("rename", "rmdir") and path.startswith("releases/") and path.count("/") == 1
        if number % self._every and not names and what != "end":
            return
        state = ""
        for kind in KINDS:
            if not state or (kind == "cut" and self.disk.dirty) or (kind == "undone" and self.disk.names):
                state = self._keep(number, kind)
            self.found.append({"call": number, "what": what, "path": path, "kind": kind, "state": state})

    def _keep(self, number: int, kind: str) -> str:
        """The first name of a state, by which its copy is found."""
        place = self.out / f"{number:04d}-{kind}"
        self.disk.copy(place, kind)
        known = self._known.setdefault(digest_of(place), place.name)
        if known != place.name:
            shutil.rmtree(place)
        return known

    def finish(self, calls: int) -> None:
        self.before(calls + 1, "end", "")
        (self.out / "calls.json").write_text(json.dumps(self.found))


def digest_of(folder: Path) -> str:
    """A state: every name below a folder, and the content of every file."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = b"" if path.is_symlink() or path.is_dir() else path.read_bytes()
        # Numbers of processes, and times.
        if path.suffix in (".lock", ".metadata") or path.name == "build.jsonl":
            content = b""
        digest.update(f"{path.relative_to(folder)} {path.is_dir()} {len(content)} ".encode() + content)
    return digest.hexdigest()


def begin(how: dict[str, Any]) -> Callable[[], None]:
    """Trace this process from here on, as a test asked; returns what is to be called at its end."""
    root = Path(how["root"])
    Path(how["out"]).mkdir()
    if how["what"] == "record":
        recorder = Recorder(root, Path(how["out"]), how["every"])
        tracer = Tracer(root, recorder.disk, recorder.before)
        install(tracer)

        def finish() -> None:
            with tracer.not_looking():
                recorder.finish(tracer.calls)

        return finish

    def act(number: int, what: str, path: str) -> None:
        if number != how["call"]:
            return
        if how["what"] == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise OSError(how["errno"], os.strerror(how["errno"]))

    install(Tracer(root, Disk(root, Path(how["out"])), act))
    return lambda: None
