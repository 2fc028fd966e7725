"""`synthkit audit`: audits a release, and writes what was found into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from synthkit.audit import Audit, Limits, Pair, audit, count_real, picture, read_real, synthetic_images
from synthkit.card import render_card
from synthkit.environment import choose_device
from synthkit.errors import ReleaseError
from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.manifest import AuditFacts
from synthkit.progress import progress
from synthkit.records import key_of
from synthkit.release import CARD, amend
from synthkit.sources import held_out, open_source
from synthkit.sources.protocol import load_image
from synthkit.trace import read_recipe, trace
from synthkit.verify import verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.manifest import Manifest
    from synthkit.recipe import Recipe

PICTURED = 16


def audit_release(
    release: Path, manifest: Manifest, overrides: Sequence[str], device: str, limits: Limits
) -> Audit:
    """Compare a release with its real images, and put audit.json, audit.png and the number in its card.

    Raises ReleaseError if the release is not intact, SourceError if the real images are not here,
    GeneratorError if the model is not.
    """
    recipe = read_recipe(release, overrides)
    _check_intact(release, manifest)
    batch_size = recipe.sampler.batch_size
    generator = load(
        locate(recipe.model),
        dtype=recipe.model.dtype,
        sampler=recipe.sampler,
        device=choose_device(device),
        arithmetic=recipe.arithmetic,
    )
    with progress("reading real images", count_real(recipe.source)) as advance:
        real = read_real(recipe, generator, batch_size, advance)
    with progress("comparing", manifest.images) as advance:
        images = synthetic_images(release, manifest, batch_size)
        found = audit(images, real, generator, limits, advance)
    _write(release, manifest, recipe, found)
    return found


def _check_intact(release: Path, manifest: Manifest) -> None:
    """A number in the card, and a new seal, are for a release that is what it says."""
    faults = verified(release, manifest)
    if faults:
        raise ReleaseError(
            f"{release}: {faults[0].path}: {faults[0].reason}; it is not audited: "
            f"run synthkit verify {release}"
        )


def _write(release: Path, manifest: Manifest, recipe: Recipe, found: Audit) -> None:
    facts = AuditFacts(
        images=found.images,
        pool=found.pool,
        held_out=found.held_out,
        similarity=found.limits.similarity,
        distance=found.limits.distance,
        suspected=found.suspected,
        suspected_of_held_out=found.suspected_of_held_out,
        exact=found.exact,
    )
    audited = manifest.model_copy(update={"audit": facts})
    example = trace(release, manifest, key_of(0)).record.to_row()
    files = {
        "audit.json": json.dumps(found.to_json(), indent=2, ensure_ascii=False).encode() + b"\n",
        "audit.png": _picture(release, manifest, recipe, found.pairs[:PICTURED]),
        CARD: render_card(audited, example).encode(),
    }
    amend(release, audited, files)


def _picture(release: Path, manifest: Manifest, recipe: Recipe, pairs: Sequence[Pair]) -> bytes:
    images = {pair.key: trace(release, manifest, pair.key).pixels() for pair in pairs}
    sources = {"pool": open_source(recipe.source)}
    if any(pair.part == "held out" for pair in pairs):
        sources["held out"] = open_source(held_out(recipe.source))
    real = {
        f"{pair.part}/{pair.real}": load_image(
            sources[pair.part], sources[pair.part].listing.ids.index(pair.real)
        )
        for pair in pairs
    }
    return picture(pairs, images, real)
