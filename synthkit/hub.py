"""Releases on the Hugging Face Hub."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from synthkit.errors import ReleaseError

_REFERENCE = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})@([\w./-]{1,100})")


def find_release(reference: str) -> Path:
    """The folder of a release: a path, or `organisation/name@v1.0.0`, which is downloaded.

    The copy lies in the Hub client's cache. Raises ReleaseError if there is no such release.
    """
    path = Path(reference)
    if path.exists():
        return path
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ReleaseError(
            f"{reference}: there is no such folder; name a release folder, or one on the Hub as "
            "organisation/name@v1.0.0"
        )
    return _download(*found.groups())


def _download(repository: str, revision: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    where = f"{repository}@{revision}"
    try:
        return Path(huggingface_hub.snapshot_download(repository, repo_type="dataset", revision=revision))
    except GatedRepoError:
        hint = "is gated: accept its terms on the Hub and log in with `hf auth login`"
    except RepositoryNotFoundError:
        hint = "is not on the Hub, or private and you are not logged in (`hf auth login`)"
    except RevisionNotFoundError:
        hint = f"the data set has no version {revision}"
    except Exception as error:
        # Without a connection the client lets its HTTP library's own errors through.
        hint = f"is not on this machine and the Hub cannot be reached ({type(error).__name__})"
    raise ReleaseError(f"{where}: {hint}")
