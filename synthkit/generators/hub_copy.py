"""A piece of a model in a repository of the Hub: looked at first, and downloaded if it is the one wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.generators.model_card import CARD, MAX_CARD, license_in
from synthkit.generators.model_files import INDEX, MAX_INDEX, no_index, read_index
from synthkit.hub.cache import cached, fetch, snapshots
from synthkit.hub.repository import MAIN, MODEL, Repository
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.model_pieces import Wanted


class HubCopy:
    """A revision of a repository that holds a piece. Creating it asks the Hub and downloads nothing to keep.

    Raises HubError if the repository cannot be had, and GeneratorError if it does not hold the piece.
    """

    def __init__(self, repo_id: str, revision: str | None, wanted: Wanted) -> None:
        self.name = repo_id
        self._repository, self._revision = Repository(repo_id, MODEL), revision or MAIN
        self.commit = self._repository.readable_commit_of(self._revision)
        self._there = self._repository.files(self.commit)
        self._index: dict[str, Any] | None = None
        self._files = wanted.files(self)

    @property
    def bytes(self) -> int:
        """The bytes of the piece's files."""
        return sum(self._there[file.path].bytes for file in self._files.values())

    @property
    def bytes_missing(self) -> int:
        """The bytes of those of the piece's files that are not in the client's cache."""
        here = next((folder for folder in snapshots(self.name, MODEL) if folder.name == self.commit), None)
        paths = [file.path for file in self._files.values()]
        missing = (path for path in paths if here is None or not (here / path).exists())
        return sum(self._there[path].bytes for path in missing)

    @property
    def license(self) -> str:
        """The licence that the repository's card, asked of the Hub, states; empty if it states none."""
        card = self._there.get(CARD)
        if card is None or card.bytes > MAX_CARD:
            return ""
        return license_in(self._repository.read(CARD, self.commit, card.bytes))

    def below(self, folder: str) -> list[str]:
        """Return the names of the files that lie directly in a folder; an empty text is the top."""
        start = f"{folder}/" if folder else ""
        rest = [path.removeprefix(start) for path in self._there if path.startswith(start)]
        return [name for name in rest if "/" not in name]

    def index(self) -> dict[str, Any]:
        """Return what its model_index.json says. Raises GeneratorError if there is none."""
        if self._index is None:
            file = self._there.get(INDEX)
            if file is None or file.bytes > MAX_INDEX:
                raise no_index(self.name)
            self._index = read_index(self._repository.read(INDEX, self.commit, file.bytes), self.name)
        return self._index

    def stated(self) -> dict[str, str]:
        """Return the SHA-256 of each file of the piece, as the Hub states it for large ones.

        They have the paths of the folder that a family loads from. The others, which lie in git itself, are
        downloaded.
        """
        return {
            path: self._there[file.path].sha256 or self._small(file.path)
            for path, file in self._files.items()
        }

    def download(self) -> Path:
        """Return the folder of the commit in the client's cache, with the piece's files and the card."""
        # First what is small: an interrupted download then lacks weights, which is seen without the Hub.
        paths = [file.path for file in self._files.values()]
        paths.sort(key=lambda path: (path != INDEX, self._there[path].bytes))
        card = self._there.get(CARD)
        if card is not None and card.bytes <= MAX_CARD:
            # The client resolves the revision with the first, which must be there.
            paths.insert(1, CARD)
        sizes = {path: self._there[path].bytes for path in paths}
        return fetch(self._repository, sizes, self._revision, self.commit)

    def _small(self, path: str) -> str:
        size = self._there[path].bytes
        return sha256_of(self._repository.download(path, self.commit, None, size))


def in_cache(repo_id: str, revision: str | None, sign: str) -> list[Path]:
    """Return the folder of a repository's revision in the client's cache; an empty list if there is none.

    `sign` is the path of a file that must be in it; it may still be an earlier download that was interrupted.
    Raises HubError for an impossible name.
    """
    folder = cached(repo_id, revision, MODEL, [sign])
    return [] if folder is None or not (folder / sign).is_file() else [folder]


def all_in_cache(repo_id: str, revision: str | None, sign: str) -> list[Path]:
    """Return what `in_cache` returns, and after it the folders of other revisions."""
    first = in_cache(repo_id, revision, sign)
    others = [folder for folder in snapshots(repo_id, MODEL) if (folder / sign).is_file()]
    return [*first, *(folder for folder in others if folder not in first)]
