"""Finished shards in a folder of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.release.shards import adopt, read_sidecar

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.release.shards import ShardFacts


class FolderShards:
    """The shards in one folder, which need not exist; what `RemoteShards` is for an address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def below(self, name: str) -> FolderShards:
        """Return the shards in a folder below this one."""
        return FolderShards(self.folder / name)

    def listed(self) -> dict[str, int]:
        """Return the size in bytes of every file of a shard by name, without links that lead nowhere."""
        files = (path for path in self.folder.glob("train-*") if path.is_file())
        return {path.name: path.stat().st_size for path in files}

    def sidecars(self) -> dict[str, ShardFacts | None]:
        """Read every sidecar; return what it states by its name, None for one that is damaged."""
        return {path.name: read_sidecar(path) for path in self.folder.glob("train-*.json")}

    def fetch(self, facts: ShardFacts, folder: Path) -> None:
        """Bring a shard into another folder: the same files where the disk allows it, or copies."""
        adopt(self.folder, facts, folder)
