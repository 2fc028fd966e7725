"""The weights of feature spaces: where they come from, and one line for whatever is wrong with them.

Weights are read as tensors and never unpickled.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from synthkit.errors import HubError, ScoreError
from synthkit.hub.cache import cached, fetch_model
from synthkit.hub.patience import safe_line
from synthkit.hub.repository import MODEL
from synthkit.system.files import sha256_of
from synthkit_eval.feature_names import NONE, OFFLINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def unavailable(spec: str, reason: str) -> ScoreError:
    """Return the error for a feature space that cannot be had; it says what works instead."""
    otherwise = f"`--features {OFFLINE}` works offline, `--features {NONE}` leaves the metrics out"
    return ScoreError(f"features {spec}: {reason}; {otherwise}")


@contextmanager
def loading(spec: str, otherwise: str) -> Iterator[None]:
    """Turn any error of a library that loads weights into a ScoreError that begins with `otherwise`."""
    try:
        yield
    except Exception as error:
        raise unavailable(spec, f"{otherwise}: {safe_line(error)}") from error


def check_complete(missing: Sequence[str]) -> None:
    """Raise ValueError if a network misses weights: libraries draw them at random, and hardly say so."""
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"it lacks {min(missing)}{others}, or has it in another size")


def content_of(spec: str, path: Path) -> str:
    """Return the first 12 digits of a file's SHA-256. Raises ScoreError if it cannot be read."""
    try:
        return sha256_of(path)[:12]
    except OSError as error:
        raise unavailable(spec, f"{path}: {error.strerror or 'cannot be read'}") from None


def fetch_weights(spec: str, repository: str, files: tuple[str, ...]) -> Path:
    """Return the snapshot of a model repository on the Hub; the folder's name is the commit.

    It holds the weights in safetensors and the other `files`; no more is downloaded. Raises ScoreError if
    they cannot be had.
    """
    # Large weights are split into files with names of their own.
    wanted = [*files, "model-*-of-*.safetensors", "model.safetensors.index.json"]
    try:
        folder = cached(repository, None, MODEL, wanted)
        if folder is None or not all((folder / file).is_file() for file in files):
            folder = fetch_model(repository, None, wanted)
    except HubError as error:
        raise unavailable(spec, str(error)) from None
    if not any(folder.glob("model*.safetensors")):
        raise unavailable(spec, f"{repository} has no weights in safetensors, and nothing else is read")
    return folder
