"""Which releases, and which real images, differ only in what was drawn at random.

Scores of such kin are draws of one thing: `compare` puts them together and tells how far apart they are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.recipe.digest import fields_in_digest

if TYPE_CHECKING:
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.real_images import RealData, ScoredRelease

_DRAWN = ("name", "seed")


def kin_of_release(release: ScoredRelease) -> str:
    """Return a digest of a release's recipe and model without name, seed and choice of shots."""
    fields = {key: value for key, value in fields_in_digest(release.recipe).items() if key not in _DRAWN}
    model = release.manifest.generator
    return _digest([fields, model.name, model.revision, _source(release)])


def kin_of_images(release: ScoredRelease, protocol: Protocol, data: RealData) -> str:
    """Return a digest of the data set that shots were chosen from, or else of the real images themselves."""
    if release.recipe.source.shots is None:
        return _digest(data.digests)
    settings = protocol.settings()
    chosen_by = [] if data.validation is None else [settings["validation"]]
    return _digest([_source(release), settings["evaluation"], *chosen_by])


def _source(release: ScoredRelease) -> dict[str, Any]:
    """Return the fields of the source that say which images it has, of a path the last part."""
    source = release.recipe.source
    fields = source.model_dump(mode="json", exclude_defaults=True, exclude={"trial", "on_error"})
    places = {name: Path(str(fields[name])).name for name in source.PATHS if name in fields}
    classes = [item.name for item in release.manifest.classes]
    return {"kind": source.kind, **fields, **places, "classes": classes}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
