"""Whether a score is of the release on the Hub that it is named by: opened there, and compared.

The manifest and the recipe are fetched, and no image: the seal of the manifest stands for every byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import HubError, RecipeError, ReleaseError, SignatureError, one_line
from synthkit.hub.patience import endpoint
from synthkit.publish.pull import fetch_release
from synthkit.recipe.portable import unportable
from synthkit.release.files import RECIPE
from synthkit.release.folder import ReleaseFolder
from synthkit.release.places import receive
from synthkit.verification.manifest import against_recipe
from synthkit_eval.evaluate import groups_digest, release_facts
from synthkit_eval.kin import kin_of_images
from synthkit_eval.leaderboard.consistent import stated_protocol
from synthkit_eval.score import ReleaseFacts
from synthkit_eval.training.real_images import ScoredRelease
from synthkit_eval.training.synthetic_images import used_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit_eval.score_files import Scored

# Answers of a Hub that has no such release, or does not show it.
_NOT_THERE = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Opened:
    """A release on the Hub that was opened, and its commit."""

    reference: str
    release: ScoredRelease

    @property
    def commit(self) -> str:
        """The commit that the revision stands for."""
        return self.release.folder.name

    @property
    def address(self) -> str:
        """The address of its page at that commit."""
        return f"{endpoint()}/datasets/{self.reference.partition('@')[0]}/tree/{self.commit}"


def open_on_hub(reference: str) -> Opened:
    """Open a release on the Hub. Raises ReleaseError if there is none, or one that does not verify so far.

    Raises HubError if the Hub cannot be asked: that says nothing about the release.
    """
    try:
        folder = fetch_release(reference, [RECIPE])
        with ReleaseFolder.at(folder).opened() as manifest:
            opened = Opened(reference, ScoredRelease(reference, receive(folder, manifest)))
        fault = next(_manifest_faults(opened.release), None)
    except HubError as error:
        response = getattr(error.__cause__, "response", None)
        if error.__cause__ is not None and getattr(response, "status_code", None) not in _NOT_THERE:
            raise
        raise ReleaseError(_told(error)) from None
    except (ReleaseError, RecipeError, SignatureError) as error:
        raise ReleaseError(_told(error)) from None
    if fault is not None:
        raise ReleaseError(f"{reference}: {fault}")
    return opened


def release_fault(scored: Scored, opened: Opened) -> str | None:
    """Return the first thing that a score says otherwise than its release; None if there is none."""
    return next((f"{opened.reference}: {fault}" for fault in _score_faults(scored, opened.release)), None)


def _told(error: Exception) -> str:
    return one_line(error, longest=400)


def _manifest_faults(release: ScoredRelease) -> Iterator[str]:
    manifest, recipe = release.manifest, release.recipe
    if manifest.partial is not None:
        yield "is a preview, which is not scored"
    if manifest.seal != manifest.sealed().seal:
        yield "its manifest was edited: its seal does not fit"
    if any(unportable(recipe)):
        yield "its recipe names what no release may"
    source, model = manifest.source, manifest.generator
    digest = recipe.digest(
        listing_digest=source.digest, model=model.name, revision=model.revision, form=manifest.format_version
    )
    if digest != manifest.recipe_digest:
        yield "its recipe does not give the digest in its manifest"
    for fault in against_recipe(manifest, recipe):
        yield f"its manifest {fault}"


def _score_faults(scored: Scored, release: ScoredRelease) -> Iterator[str]:
    score, detail = scored
    manifest, stated, data = release.manifest, score.release, score.data
    protocol = stated_protocol(score)
    used = None
    if stated is not None:
        if stated.seal != manifest.seal:
            # Publishing gives a release another card and another seal; its finished trainings are used again.
            yield (
                f"has the seal {manifest.seal[:12]}, the score is of a release with {stated.seal[:12]}; "
                f"score it as it is on the Hub: `synthkit eval {release.reference}`"
            )
        used = used_of(manifest, protocol.batches.synthetic_per_class)
        wanted = release_facts(release, sum(used))
        for name in ReleaseFacts.model_fields:
            if not _same(getattr(wanted, name), getattr(stated, name), name):
                yield f"the score says {name} is {getattr(stated, name)}, it is {getattr(wanted, name)}"
    if data.training_digest != manifest.source.digest:
        yield "was made from other real images than the score was trained on"
    classes = [(item.label, item.name, item.group, item.real) for item in manifest.classes]
    if [(item.label, item.name, item.group, item.real) for item in detail.classes] != classes:
        yield "has other classes than the score"
    if groups_digest(manifest.classes) != data.groups:
        yield "has other groups of classes than the score"
    if used is not None and [item.synthetic for item in detail.classes] != list(used):
        yield "has not as many images of each class as the score says"
    digests = [data.training_digest, data.evaluation_digest, data.validation_digest]
    if data.kin != kin_of_images(release, protocol, [d for d in digests if d]):
        yield "was made from another data set, or other shots of it, than the score says (data.kin)"


def _same(wanted: object, stated: object, name: str) -> bool:
    if stated is None and not ReleaseFacts.model_fields[name].is_required():
        # A field that came after the score was made.
        return True
    if isinstance(wanted, float) and isinstance(stated, float):
        return math.isclose(wanted, stated, rel_tol=1e-9)
    return wanted == stated
