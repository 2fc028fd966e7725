"""What `verify` derives of a release of format 1: the card's front matter, the structure of croissant.json.

synthkit 0.1 wrote them. Nothing writes them any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.release.croissant import structure
from synthkit.release.front_matter import front_matter
from synthkit.release.hub_address import dataset_url

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest

# What the front matter had no field for.
_LATER = ("task_ids", "source_datasets")


def front_matter_1(manifest: Manifest) -> dict[str, Any]:
    """Return the front matter of a card of format 1."""
    return {name: value for name, value in front_matter(manifest).items() if name not in _LATER}


def croissant_1(manifest: Manifest) -> dict[str, Any]:
    """Return what programs act on in a croissant.json of format 1, which gave the licence as a word."""
    return {
        "@type": "sc:Dataset",
        "name": manifest.name,
        "version": manifest.version,
        "license": manifest.license,
        **({"url": dataset_url(manifest.repo_id)} if manifest.repo_id else {}),
        **structure(manifest),
    }
