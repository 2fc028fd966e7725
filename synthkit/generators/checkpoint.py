"""Find a model's files, and which model exactly they are: built in, in a local folder, or on the Hub."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError, HubError
from synthkit.hub.answers import COMMIT
from synthkit.hub.cache import MODEL, cached, fetch_model
from synthkit.hub.client import is_repository_id
from synthkit.hub.patience import offline, other_hub
from synthkit.hub.repository import Repository
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from synthkit.recipe.schema import Model

BUILTIN = {
    "tiny-unclip-digits": Path(__file__).parent / "tiny_unclip_digits",
    "flat-colours": Path(__file__).parent / "flat_colours",
}

# The files of a diffusers pipeline with its weights in safetensors. No other file is downloaded or hashed.
FILES = ("*.json", "*.txt", "*.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can be loaded: its name and revision, as records state them, and its folder."""

    name: str
    revision: str
    folder: Path

    @property
    def size(self) -> int:
        """Bytes of its weights."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.safetensors"))


def locate(model: Model) -> Checkpoint:
    """Find the model that a recipe names.

    The revision of a local folder or a built-in model is the SHA-256 of its files, that of a Hub repository
    its commit. A repository that is not on this machine is downloaded. Raises GeneratorError if there is no
    such model, or if its revision is not the one that the recipe pins.
    """
    if model.id.startswith("builtin:"):
        return _pinned(model, _builtin(model.id))
    folder = _folder(model.id)
    if folder.is_dir():
        return _pinned(model, Checkpoint(folder.name, content_revision(folder), folder))
    if _may_be_on_the_hub(model):
        return _from_hub(model)
    raise GeneratorError(
        f"model.id: there is no folder {model.id}; name a folder, a Hub repository (organisation/name) "
        f"or a built-in model ({', '.join(f'builtin:{name}' for name in BUILTIN)})"
    )


def find_local(model: Model) -> Checkpoint | None:
    """Return the model if it is on this machine, else None; the network is not used."""
    if model.id.startswith("builtin:") or _folder(model.id).is_dir():
        return locate(model)
    folder = _cached(model) if _may_be_on_the_hub(model) else None
    return Checkpoint(model.id, folder.name, folder) if folder else None


def _folder(model_id: str) -> Path:
    """Return an absolute path, so that a folder has one name however it is spelt."""
    return Path(os.path.abspath(os.path.expanduser(model_id)))  # noqa: PTH100, PTH111 (links stay links)


def _may_be_on_the_hub(model: Model) -> bool:
    """Whether a model may be a Hub repository: it is not one if its revision is the content of a folder."""
    is_content = model.revision is not None and re.fullmatch(r"[0-9a-f]{64}", model.revision)
    return is_repository_id(model.id) and not is_content


def content_revision(folder: Path) -> str:
    """Return the SHA-256 over the relative names and contents of a model folder's files.

    Raises GeneratorError if a folder or a pipe has the name of a file.
    """
    digest = hashlib.sha256()
    files = sorted(path for pattern in FILES for path in folder.rglob(pattern))
    for path in files:
        if path.exists() and not path.is_file():
            raise GeneratorError(f"model.id: {path} is not a file, though its name is that of a model's file")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _builtin(name: str) -> Checkpoint:
    folder = BUILTIN.get(name.removeprefix("builtin:"))
    if folder is None:
        known = ", ".join(f"builtin:{name}" for name in BUILTIN)
        raise GeneratorError(f"model.id: there is no built-in model {name}; there is {known}")
    return Checkpoint(name, content_revision(folder), folder)


def _pinned(model: Model, checkpoint: Checkpoint) -> Checkpoint:
    if model.revision not in (None, checkpoint.revision):
        raise GeneratorError(
            f"model.revision: {model.id} is {checkpoint.revision} here, not {model.revision}: "
            "these are other weights; get those the recipe names, or drop model.revision"
        )
    return checkpoint


def _from_hub(model: Model) -> Checkpoint:
    pinned = model.revision and COMMIT.fullmatch(model.revision)
    folder = (_cached(model) if pinned else None) or _download(model)
    return Checkpoint(model.id, folder.name, folder)


def _cached(model: Model) -> Path | None:
    return cached(model.id, model.revision, MODEL, FILES)


def on_the_hub(model: Model) -> tuple[str, int]:
    """Return the commit of a Hub repository and the bytes to download; nothing is downloaded.

    Raises GeneratorError if the repository cannot be reached, or may not be read.
    """
    try:
        commit, sizes = Repository(model.id, MODEL).described(model.revision)
    except HubError as error:
        raise _hub_error(model, error) from error
    files = (path for path in sizes if any(fnmatch(path, pattern) for pattern in FILES))
    return commit, sum(sizes[path] for path in files)


def _download(model: Model) -> Path:
    try:
        if offline():
            raise HubError("HF_HUB_OFFLINE is set")
        return fetch_model(model.id, model.revision, FILES)
    except HubError as error:
        raise _hub_error(model, error) from error


def _hub_error(model: Model, error: HubError) -> GeneratorError:
    """Say why a repository cannot be downloaded, and what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    cause = error.__cause__
    if isinstance(cause, GatedRepoError):
        hint = "is gated: accept its terms on the Hub and log in with `hf auth login`"
    elif isinstance(cause, RepositoryNotFoundError):
        hint = (
            "is not on the Hub (withdrawn, renamed, or private and you are not logged in); "
            "point model.id at a copy or at a local folder"
        )
    elif isinstance(cause, RevisionNotFoundError):
        hint = f"has no revision {model.revision}; correct model.revision"
    elif cause is not None or offline():
        hint = (
            f"is not on this machine and the Hub cannot be reached ({_kind(cause)}{other_hub()}); "
            "go online once, or point model.id at a local folder"
        )
    else:
        hint = f"is not on this machine ({error}); point model.id at a local folder"
    return GeneratorError(f"model.id: {model.id} {hint}")


def _kind(cause: BaseException | None) -> str:
    return "HF_HUB_OFFLINE is set" if cause is None else type(cause.__cause__ or cause).__name__
