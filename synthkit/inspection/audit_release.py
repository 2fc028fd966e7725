"""Audit a release, and write what was found into it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import SourceError
from synthkit.generators import choose_device_for, load
from synthkit.inspection.audit import Real, audit, look_at_real, synthetic_images
from synthkit.inspection.audit_picture import picture
from synthkit.inspection.near_duplicates import SyntheticViews, describe, find_groups
from synthkit.inspection.recorded_model import find_checkpoint
from synthkit.release.audit import (
    PICTURED,
    PICTURED_MEMBERS,
    Audit,
    Duplicates,
    Part,
    facts_of,
    pictured_groups,
)
from synthkit.release.card import render_card
from synthkit.release.croissant import render_croissant
from synthkit.release.files import AUDIT, AUDIT_PICTURE, CARD, CROISSANT
from synthkit.release.folder import ReleaseFolder
from synthkit.release.image import read_image
from synthkit.release.places import errors_without_content, receive
from synthkit.release.real_images import find_source, open_place, read_place
from synthkit.release.records import key_of
from synthkit.release.signature import read_signature
from synthkit.sources import held_out
from synthkit.system.environment import check_device
from synthkit.system.progress import progress
from synthkit.system.work_root import WORK_FOLDER
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.release.likeness import Limits
    from synthkit.release.manifest import Manifest
    from synthkit.release.places import Received
    from synthkit.sources.pool import RealImages


class Wanted(NamedTuple):
    """From which limits on an image is suspected to copy a real one, and two are near duplicates."""

    copies: Limits
    duplicates: Limits


class Audited(NamedTuple):
    """What an audit found, the manifest of the release it was found in, and whether that lost a signature."""

    found: Audit
    duplicates: Duplicates
    manifest: Manifest
    lost_signature: bool


def audit_release(
    path: Path, overrides: Sequence[str], device: str, limits: Wanted, work_root: Path
) -> Audited:
    """Compare a release with its real images and with itself; write audit.json, audit.png and the card.

    The release is locked meanwhile. Raises SourceError if the real images are not here,
    ReleaseError if others are or the release is not intact, GeneratorError if the model is not here.
    """
    check_device(device)
    release = ReleaseFolder.at(path)
    # Raises if this is not a release: locking writes files.
    release.manifest()
    with release.locked():
        manifest = release.manifest()
        release.check_own(manifest)
        received = receive(release.path, manifest, overrides)
        recipe, checkpoint = received.recipe, find_checkpoint(received)
        device = choose_device_for(checkpoint, recipe.model.dtype, device)
        # An audit writes a new card and manifest, which would cover up what is damaged.
        refuse_damaged(release.path, manifest, f"it is not audited: run synthkit verify {release.path}")
        images = _read_real(received, _outside(release.path, work_root))
        real, found, duplicates = _compare(received, checkpoint, images, device, limits)
        lost_signature = read_signature(release.path) is not None
        # Format 1 has no place for groups: they are told, and not written.
        whole = found if manifest.format_version == 1 else replace(found, duplicates=duplicates)
        _write(release, manifest, real, whole)
    return Audited(found, duplicates, manifest, lost_signature)


def _outside(release: Path, work_root: Path) -> Path:
    """Return the work root, but one beside the release if it would lie inside the release."""
    inside = work_root.resolve().is_relative_to(release.resolve())
    return release.resolve().parent / WORK_FOLDER if inside else work_root


def _read_real(received: Received, work_root: Path) -> dict[Part, RealImages]:
    """Read the pool that the release was made from, and the held-out images if they are here."""
    place, pool = find_source(received, work_root)
    images: dict[Part, RealImages] = {"pool": pool}
    try:
        scoring = place.of(held_out(place.source))
        with errors_without_content(scoring.source):
            open_place(scoring)
    except SourceError:
        return images
    with errors_without_content(scoring.source):
        images["held out"] = read_place(scoring, "reading held-out images", work_root)
    return images


def _compare(
    received: Received,
    checkpoint: Checkpoint,
    images: dict[Part, RealImages],
    device: str,
    limits: Wanted,
) -> tuple[Real, Audit, Duplicates]:
    """Compare synthetic images with real ones and with each other; embeddings wait beside the release."""
    release, manifest, recipe = received.folder, received.manifest, received.recipe
    batch_size = recipe.sampler.batch_size
    generator = load(checkpoint, recipe, device)
    with progress("embedding real images", sum(len(part.listing) for part in images.values())) as advance:
        real = look_at_real(images, generator, batch_size, advance)
    counts = [item.synthetic for item in manifest.classes]
    with SyntheticViews(release.resolve().parent, counts, generator.embedding_shape[-1]) as seen:
        with progress("comparing", manifest.images) as advance:
            synthetic = synthetic_images(release, manifest, batch_size)
            found = audit(synthetic, real, generator, limits.copies, seen, advance)
        with progress("looking for near duplicates", manifest.images) as advance:
            groups = find_groups(seen, limits.duplicates, advance)
        names = [item.name for item in manifest.classes]
        return real, found, describe(groups, seen.labels, names, limits.duplicates)


def _write(release: ReleaseFolder, manifest: Manifest, real: Real, found: Audit) -> None:
    audited = manifest.model_copy(update={"audit": facts_of(found)})
    example = read_image(release.path, manifest, key_of(0)).record.to_row()
    files = {
        AUDIT: found.to_bytes(),
        AUDIT_PICTURE: _picture(release.path, manifest, real, found),
        CARD: render_card(audited, example).encode(),
        CROISSANT: render_croissant(audited),
    }
    release.amend(manifest, audited, files)


def _picture(release: Path, manifest: Manifest, real: Real, found: Audit) -> bytes:
    pairs, groups = found.pairs[:PICTURED], pictured_groups(found)
    shown = [key for group in groups for key in [*group.members][:PICTURED_MEMBERS]]
    keys = dict.fromkeys([*(pair.key for pair in pairs), *shown])
    synthetic = {key: read_image(release, manifest, key).pixels() for key in keys}
    return picture(pairs, groups, synthetic, {f"{pair.part}/{pair.real}": real.load(pair) for pair in pairs})
