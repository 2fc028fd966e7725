"""Addresses of repositories and files on the Hub, as they stand in cards and metadata."""

from __future__ import annotations

import re
from urllib.parse import quote

HUB = "https://huggingface.co"

# What the Hub allows as a name. Anything else in a manifest is not put into an address.
_REPOSITORY = re.compile(r"[0-9A-Za-z_.-]{1,96}/[0-9A-Za-z_.-]{1,96}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_repository(name: str) -> bool:
    """Return whether a text has the form of a repository's name: organisation/name."""
    return _REPOSITORY.fullmatch(name) is not None


def account_url(repo_id: str) -> str:
    """Return the address of the account that a repository belongs to."""
    return f"{HUB}/{repo_id.partition('/')[0]}"


def dataset_url(repo_id: str) -> str:
    """Return the address of a data set."""
    return f"{HUB}/datasets/{repo_id}"


def page_space(repo_id: str) -> str:
    """Return the Space in which the page of a data set's newest release stands."""
    return f"{repo_id}-page"


def space_url(space: str) -> str:
    """Return the address of a Space."""
    return f"{HUB}/spaces/{space}"


def model_url(repository: str, revision: str, file: str = "") -> str:
    """Return the address of a model at a commit, or of a file in it; empty if that is not on the Hub."""
    if not is_repository(repository) or not _COMMIT.fullmatch(revision):
        return ""
    return f"{HUB}/{repository}/{'blob' if file else 'tree'}/{revision}" + (f"/{quote(file)}" if file else "")
