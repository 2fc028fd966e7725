"""Shards at an address (s3://…, gs://…, hf://…, file://…): whatever fsspec can write to.

Such a store shows an object only when it is whole. The sidecar is written last, as on a disk, so a shard is
finished when its sidecar is there.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from synthkit.errors import BuildError, SynthkitError, one_line
from synthkit.release.shards import ShardFacts, receive, records_path, sidecar_path
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
_PASSWORD = re.compile(r"://[^/?#@\[]*:(?!\d*/)[^@]*@")
# The packages that fsspec needs for the protocols of stores.
_PACKAGES = {
    **{"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"},
    **{"az": "adlfs", "oci": "ocifs", "oss": "ossfs", "tos": "tosfs", "lakefs": "lakefs-spec"},
    **{"sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "webdav": "webdav4"},
    **{"box": "boxfs", "dropbox": "dropboxdrivefs", "root": "fsspec-xrootd"},
}
_AT_ONCE = 16


def is_url(text: str) -> bool:
    """Return whether a text is an address (`s3://…`) and no path."""
    return _URL.match(text) is not None


def refuse_password(url: str) -> None:
    """Raise BuildError, without naming the address, if it holds a password.

    Addresses are printed and sent to other nodes.
    """
    if _PASSWORD.search(url):
        raise BuildError(
            "an address with a password in it (user:password@…) is refused, since addresses are printed and "
            "sent to other nodes: leave the password out, and give it in the store's own configuration or "
            "environment (fsspec reads FSSPEC_FTP_PASSWORD, for one)"
        )


class RemoteShards:
    """The shards at one address; the folder need not exist yet.

    Everything raises BuildError, in one line, if the address cannot be had: it holds a password, the
    package for its protocol is missing, nobody is there, or access is denied.
    """

    def __init__(self, url: str) -> None:
        refuse_password(url)
        self.url = url.rstrip("/")
        self._system, self._root = _open(self.url)

    def __str__(self) -> str:
        return self.url

    def below(self, name: str) -> RemoteShards:
        """Return the shards at an address below this one."""
        return RemoteShards(f"{self.url}/{name}")

    def listed(self) -> dict[str, int]:
        """Return the size in bytes of every file there, by name; none if there is no such folder."""
        with _told(self.url, "read"):
            self._system.invalidate_cache()
            try:
                entries = self._system.ls(self._root, detail=True)
            except FileNotFoundError:
                return {}
            return {entry["name"].rpartition("/")[2]: int(entry["size"] or 0) for entry in entries}

    def sidecars(self) -> dict[str, ShardFacts | None]:
        """Read every sidecar; return what it states by its name, None for one that is damaged."""
        names = [name for name in self.listed() if name.startswith("train-") and name.endswith(".json")]
        with _told(self.url, "read"), ThreadPoolExecutor(_AT_ONCE) as pool:
            contents = pool.map(lambda name: self._system.cat_file(self._at(name)), names)
            return {name: _facts(content) for name, content in zip(names, contents, strict=True)}

    def finished(self) -> dict[str, ShardFacts]:
        """Return the finished shards by name: those whose files have the sizes that their sidecars state."""
        sizes = self.listed()
        found = (facts for facts in self.sidecars().values() if facts is not None)
        return {facts.name: facts for facts in found if is_whole(facts, sizes)}

    def deliver(self, folder: Path, facts: ShardFacts, alive: Callable[[], None]) -> None:
        """Send a finished shard from a folder there, its sidecar last, and call `alive` as it goes on."""
        shard = folder / facts.name
        with _told(f"{self.url}/{facts.name}", "written"):
            self._system.makedirs(self._root, exist_ok=True)
            for path in (shard, records_path(shard), sidecar_path(shard)):
                self._system.put_file(str(path), self._at(path.name), callback=_signs_of_life(alive))
                self._system.invalidate_cache()
                size = self._system.info(self._at(path.name))["size"]
                if size != path.stat().st_size:
                    raise OSError(f"{size} of {path.stat().st_size} bytes of {path.name} arrived")

    def fetch(self, facts: ShardFacts, folder: Path) -> None:
        """Bring a shard into a folder. Raises BuildError also if its content is not what its sidecar says."""
        hashes = {facts.name: facts.sha256, records_path(folder / facts.name).name: facts.records_sha256}

        def bring(name: str, target: Path) -> None:
            with _told(f"{self.url}/{name}", "read"):
                self._system.get_file(self._at(name), str(target))
            if name in hashes and sha256_of(target) != hashes[name]:
                raise BuildError(
                    f"{self.url}/{name}: is not what its sidecar says; remove it, and make it again"
                )

        receive(facts, folder, bring)

    def unmake(self, name: str) -> None:
        """Remove a shard; the sidecar, which makes it finished, goes first."""
        shard = Path(name)
        with _told(self.url, "written"):
            for file in (sidecar_path(shard), shard, records_path(shard)):
                self.remove(file.name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with _told(f"{self.url}/{name}", "removed"):
            if self._system.exists(self._at(name)):
                self._system.rm_file(self._at(name))

    @contextmanager
    def marked(self, mark: str) -> Iterator[None]:
        """Keep a small file there for the length of a block: others see by it that it is the same place."""
        with _told(self.url, "written"):
            self._system.makedirs(self._root, exist_ok=True)
            self._system.pipe_file(self._at(mark), b"synthkit")
        try:
            yield
        finally:
            with _told(self.url, "written"):
                self._system.rm_file(self._at(mark))

    def has(self, name: str) -> bool:
        """Return whether a file is there."""
        with _told(self.url, "read"):
            self._system.invalidate_cache()
            return bool(self._system.exists(self._at(name)))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def is_whole(facts: ShardFacts, sizes: dict[str, int]) -> bool:
    """Return whether `sizes`, of all files of a place by name, has a shard's files as its sidecar states."""
    records = records_path(Path(facts.name))
    return (sizes.get(facts.name), sizes.get(records.name)) == (facts.bytes, facts.records_bytes)


def _open(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.partition("://")[0]
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        raise BuildError(
            f"{url}: " + (f"needs a package: pip install {package}" if package else str(error))
        ) from None
    except ValueError as error:
        raise BuildError(
            f"{url}: {error}; s3://, gs://, hf://datasets/ and file:// are known, among others"
        ) from None
    except Exception as error:
        raise BuildError(f"{url}: cannot be reached: {_reason(error)}") from None
    return system, root.rstrip("/")


@contextmanager
def _told(place: str, done: str) -> Iterator[None]:
    """Turn any error inside the block, of whatever class a store raises, into a BuildError of one line."""
    try:
        yield
    except SynthkitError:
        raise
    except Exception as error:
        raise BuildError(f"{place}: cannot be {done}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    kind, text = type(error).__name__, one_line(error, longest=None)
    return kind if text == kind else f"{kind}: {text}"


def _facts(content: bytes) -> ShardFacts | None:
    try:
        return msgspec.json.decode(content, type=ShardFacts)
    except ValueError:
        return None


def _signs_of_life(alive: Callable[[], None]) -> Any:
    from fsspec.callbacks import Callback

    class SignsOfLife(Callback):  # type: ignore[misc]
        def call(self, *arguments: Any, **options: Any) -> None:
            alive()

    return SignsOfLife()
