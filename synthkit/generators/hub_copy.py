"""A model in a repository of the Hub: looked at first, and downloaded if it is the one that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.generators.model_card import CARD, MAX_CARD
from synthkit.generators.model_files import INDEX, MAX_INDEX, files_of, no_index, read_index
from synthkit.hub.cache import MODEL, cached, fetch, snapshots
from synthkit.hub.repository import MAIN, Repository
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path


class HubCopy:
    """A revision of a repository that holds a model. Creating it asks the Hub and downloads nothing to keep.

    Raises HubError if the repository cannot be had, and GeneratorError if it holds no model.
    """

    def __init__(self, repo_id: str, revision: str | None) -> None:
        self._repository, self._revision = Repository(repo_id, MODEL), revision or MAIN
        self.commit = self._repository.commit_of(self._revision)
        self._there = self._repository.files(self.commit)
        index = self._there.get(INDEX)
        if index is None or index.bytes > MAX_INDEX:
            raise no_index(repo_id)
        content = self._repository.read(INDEX, self.commit, index.bytes)
        self._files = files_of(read_index(content, repo_id), self._there)

    @property
    def bytes(self) -> int:
        """The bytes of the model's files."""
        return sum(self._there[path].bytes for path in self._files)

    def stated(self) -> dict[str, str]:
        """Return the SHA-256 of each of the model's files, as the Hub states it for large ones.

        The others, which lie in git itself, are downloaded.
        """
        return {path: self._there[path].sha256 or self._small(path) for path in self._files}

    def download(self) -> Path:
        """Return the folder of the commit in the client's cache, with the model's files and its card."""
        # First what is small: an interrupted download then lacks weights, which is seen without the Hub.
        paths = sorted(self._files, key=lambda path: (path != INDEX, self._there[path].bytes))
        card = self._there.get(CARD)
        if card is not None and card.bytes <= MAX_CARD:
            paths.insert(1, CARD)
        sizes = {path: self._there[path].bytes for path in paths}
        return fetch(self._repository, sizes, self._revision, self.commit)

    def _small(self, path: str) -> str:
        size = self._there[path].bytes
        return sha256_of(self._repository.download(path, self.commit, None, size))


def in_cache(repo_id: str, revision: str | None) -> list[Path]:
    """Return the folder of a repository's revision in the client's cache; an empty list if there is none.

    It may be an earlier download that was interrupted. Raises HubError for an impossible name.
    """
    folder = cached(repo_id, revision, MODEL, [INDEX])
    return [] if folder is None else [folder]


def all_in_cache(repo_id: str, revision: str | None) -> list[Path]:
    """Return what `in_cache` returns, and after it the folders of other revisions."""
    first = in_cache(repo_id, revision)
    return [*first, *(folder for folder in snapshots(repo_id, MODEL) if folder not in first)]
