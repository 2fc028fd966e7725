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
    from collections.abc import Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.real_images import ScoredRelease

_DRAWN = ("name", "seed")


def kin_of_release(release: ScoredRelease) -> str:
    """Return a digest of a release's recipe and model without name, seed and choice of shots."""
    recipe = release.recipe
    feedback = recipe.sampler.feedback
    if feedback is not None and feedback.classifier.is_trained:
        # Its weights follow from the seed and the real images.
        any_weights = feedback.classifier.model_copy(update={"sha256": None})
        guided = feedback.model_copy(update={"classifier": any_weights})
        sampler = recipe.sampler.model_copy(update={"feedback": guided})
        recipe = recipe.model_copy(update={"sampler": sampler})
    fields = {key: value for key, value in fields_in_digest(recipe).items() if key not in _DRAWN}
    model = release.manifest.generator
    return _digest([fields, model.name, model.revision, _source(release)])


def method_of(recipe: Recipe) -> str:
    """Return how tables name what makes a recipe's images: its method, and guidance by a classifier."""
    feedback = recipe.sampler.feedback
    guided = "" if feedback is None or not feedback.scale else " + feedback"
    return f"{recipe.conditioning.method}{guided}"


def kin_of_images(release: ScoredRelease, protocol: Protocol, digests: Sequence[str]) -> str:
    """Return a digest of the data set that shots were chosen from, or else of the real images themselves.

    `digests` are those of the real images that train, that score, and that choose the epoch if any do.
    """
    if release.recipe.source.shots is None:
        return kin_of_all(digests)
    settings = protocol.settings()
    chosen_by = [settings["validation"]] if len(digests) > 2 else []
    return _digest([_source(release), settings["evaluation"], *chosen_by])


def kin_of_all(digests: Sequence[str]) -> str:
    """Return a digest of real images of which no shots were chosen."""
    return _digest(list(digests))


def _source(release: ScoredRelease) -> dict[str, Any]:
    """Return the fields of the source that say which images it has, of a path the last part."""
    source = release.recipe.source
    fields = source.model_dump(mode="json", exclude_defaults=True, exclude={"trial", "on_error"})
    places = {name: Path(str(fields[name])).name for name in source.PATHS if name in fields}
    classes = [item.name for item in release.manifest.classes]
    return {"kind": source.kind, **fields, **places, "classes": classes}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
