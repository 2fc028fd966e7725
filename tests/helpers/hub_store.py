"""What a Hub in memory keeps: repositories, their commits, branches, tags and large files."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

DATE = "2026-01-01T00:00:00.000Z"
LARGE = 10 * 2**20

_LFS_SUFFIXES = (
    "7z arrow bin bz2 ckpt gz h5 lz4 msgpack npy npz onnx parquet pickle pkl pt pth safetensors tar.* tar "
    "tflite tgz wasm xz zip zst flac mp3 ogg wav bmp gif png tiff jpg jpeg webp mp4 webm"
)
GITATTRIBUTES = "".join(
    f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _LFS_SUFFIXES.split()
)


class HubError(Exception):
    """An answer that is an error: the Hub says it in the body and, with a code, in `X-Error-*` headers."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


def not_found(kind: str, name: str) -> HubError:
    """404 with one of the codes by which clients tell what is missing."""
    codes = {"repository": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}
    messages = {
        "repository": "Repository not found",
        "revision": f"Invalid rev id: {name}",
        "entry": f"Entry not found: {name}",
    }
    return HubError(404, messages[kind], codes[kind])


def git_blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a commit: in git itself, or a pointer there and its content among the large files."""

    content: bytes
    sha256: str | None = None

    @cached_property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    @cached_property
    def blob_id(self) -> str:
        return git_blob_id(self.content if self.sha256 is None else self.pointer)

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def etag(self) -> str:
        return self.sha256 or self.blob_id


@dataclass(frozen=True)
class Commit:
    """A commit as git has it: a tree that never changes, its parent, its message."""

    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    files: Mapping[str, File]

    def folder(self, path: str) -> dict[str, File]:
        """The files under a folder; all of them under the empty path."""
        if not path:
            return dict(self.files)
        found = {name: file for name, file in self.files.items() if name.startswith(f"{path}/")}
        if not found:
            raise not_found("entry", path)
        return found

    def tree_id(self, path: str) -> str:
        names = "".join(f"{name}{file.blob_id}" for name, file in sorted(self.folder(path).items()))
        return git_blob_id(names.encode())

    def is_lfs(self, path: str, size: int, sample: bytes) -> bool:
        """Whether the Hub wants a new file as a large one: by `.gitattributes`, by size, or as not text."""
        if size == 0:
            return False
        return size > LARGE or b"\0" in sample or self._tracked(path)

    def _tracked(self, path: str) -> bool:
        tracked = False
        attributes = self.files.get(".gitattributes", File(b"")).content.decode()
        for line in attributes.splitlines():
            pattern, *values = line.split() or [""]
            name = path if "/" in pattern else path.rsplit("/", 1)[-1]
            if fnmatch.fnmatchcase(name, pattern):
                tracked = "filter=lfs" in values
        return tracked


class TagMade(NamedTuple):
    """A tag that was created, and the commit it was given."""

    repo_id: str
    tag: str
    commit: str


@dataclass
class Repository:
    """One repository, a git one on the Hub: branches and tags point to commits.

    Commits stay whatever points to them. A new repository has one, of the `.gitattributes` that the Hub
    puts there. Large files are kept for each repository: what another one has must be sent again.
    """

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    history: dict[str, Commit] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)  # by SHA-256: what was uploaded, committed or not

    def __post_init__(self) -> None:
        self.add({".gitattributes": File(GITATTRIBUTES.encode())}, "initial commit")

    def begin_with(self, files: Mapping[str, bytes]) -> None:
        """Have more files in the first commit, of a repository that has no other."""
        attributes = self.head("main").files
        self.history.clear()
        self.branches.clear()
        self.add({**attributes, **{path: File(content) for path, content in files.items()}}, "initial commit")

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a full commit id."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name) or revision
        if sha not in self.history:
            raise not_found("revision", revision)
        return self.history[sha]

    def head(self, branch: str) -> Commit:
        if branch not in self.branches:
            raise not_found("revision", branch)
        return self.history[self.branches[branch]]

    def add(
        self,
        files: Mapping[str, File],
        title: str,
        message: str = "",
        author: str = "ada",
        branch: str = "main",
    ) -> Commit:
        """Make a commit of these files and move the branch to it."""
        parent = self.branches.get(branch)
        described = [self.id, str(parent), title, message, str(len(self.history))]
        described += [f"{path} {file.blob_id}" for path, file in sorted(files.items())]
        sha = hashlib.sha1("\n".join(described).encode(), usedforsecurity=False).hexdigest()
        self.history[sha] = Commit(sha, parent, title, message, author, dict(files))
        self.branches[branch] = sha
        return self.history[sha]

    def log(self, revision: str = "main") -> list[Commit]:
        """The commits that lead to a revision, newest first."""
        found: list[Commit] = [self.at(revision)]
        while found[-1].parent is not None:
            found.append(self.history[found[-1].parent])
        return found

    def tag(self, name: str, revision: str) -> str:
        if name in self.tags:
            raise HubError(409, f"Tag reference exists already: refs/tags/{name}")
        self.tags[name] = self.at(revision).sha
        return self.tags[name]

    def keep(self, content: bytes, sha256: str) -> None:
        """Take in a large file, if it is what it is said to be."""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise HubError(400, f"The content received is not that of sha256:{sha256}")
        self.large[sha256] = content

    def made(self, path: str, content: bytes) -> File:
        """A file as it would lie in the repository had it been pushed to main."""
        if not self.head("main").is_lfs(path, len(content), content[:512]):
            return File(content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.large[sha256] = content
        return File(content, sha256)


class Store:
    """All repositories of a Hub, and every tag that was ever made; one that exists is never moved (409)."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tag_log: list[TagMade] = []

    def get(self, kind: str, repo_id: str) -> Repository:
        """Raises 404 RepoNotFound."""
        if (kind, repo_id) not in self.repositories:
            raise not_found("repository", repo_id)
        return self.repositories[kind, repo_id]

    def create(self, kind: str, repo_id: str, private: bool = False) -> Repository:
        if (kind, repo_id) in self.repositories:
            raise HubError(409, f"You already created this {kind} repo: {repo_id}")
        repository = self.repositories[kind, repo_id] = Repository(kind, repo_id, private)
        return repository

    def remove(self, kind: str, repo_id: str) -> None:
        del self.repositories[kind, repo_id]

    def push(self, repository: Repository, files: Mapping[str, bytes | None], title: str) -> str:
        """Commit to main: None deletes."""
        tree = dict(repository.head("main").files)
        for path, content in files.items():
            if content is None:
                del tree[path]
            else:
                tree[path] = repository.made(path, content)
        return repository.add(tree, title or "Update").sha

    def tag(self, repository: Repository, name: str, revision: str) -> None:
        self.tag_log.append(TagMade(repository.id, name, repository.tag(name, revision)))
