"""What a release tells of a classifier that guided its images: facts, in words, and what verifies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError
from synthkit.release.facts import FeedbackFacts
from synthkit.release.files import CLASSIFIER
from synthkit.release.manifest import leads_elsewhere
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest


def feedback_facts(sampler: Sampler) -> FeedbackFacts | None:
    """Return what the manifest says of a pinned recipe's `sampler.feedback`; None if it has none."""
    feedback = sampler.feedback
    if feedback is None:
        return None
    classifier = feedback.classifier
    return FeedbackFacts(
        criterion=feedback.criterion,
        scale=feedback.scale,
        every=feedback.every,
        network=classifier.network,
        steps=None if classifier.training is None else classifier.training.steps,
        sha256=classifier.sha256 or "",
    )


def told_feedback(facts: FeedbackFacts) -> str:
    """Return in words how a classifier guided."""
    what = "entropy" if facts.criterion == "entropy" else "loss"
    of = "a file" if facts.steps is None else f"{facts.steps:,} steps on the real images"
    often = "at every evaluation" if facts.every == 1 else f"at one of {facts.every} evaluations"
    return f"towards a higher {what} by a {facts.network} from {of}, scale {facts.scale:g}, {often}"


def find_classifier(release: Path, manifest: Manifest) -> Path:
    """Return the file of a release's classifier. Raises ReleaseError if it is not the one of its manifest."""
    path = release / CLASSIFIER
    if leads_elsewhere(release, manifest, CLASSIFIER):
        raise ReleaseError(f"{path}: is a link to something else than the manifest states")
    if not path.is_file():
        raise ReleaseError(f"{path}: is missing; run synthkit verify {release}")
    return path


def classifier_faults(path: Path, recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with the file of a release's classifier, by its recipe."""
    from safetensors import SafetensorError, safe_open

    feedback = recipe.sampler.feedback
    if feedback is not None and sha256_of(path) != feedback.classifier.sha256:
        yield "has not the SHA-256 of the classifier that the recipe names"
    try:
        with safe_open(path, framework="np") as opened:
            opened.keys()
    except (SafetensorError, ValueError):
        yield "is no safetensors file"
