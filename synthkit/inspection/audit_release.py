"""Audit a release, and write what was found into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import SourceError
from synthkit.generators import choose_device_for, load
from synthkit.generators.checkpoint import locate
from synthkit.inspection.audit import Real, audit, look_at_real, picture, synthetic_images
from synthkit.release.audit import PICTURED, Audit, Part, facts_of
from synthkit.release.card import render_card
from synthkit.release.files import AUDIT, AUDIT_PICTURE, CARD
from synthkit.release.folder import ReleaseFolder
from synthkit.release.image import read_image
from synthkit.release.places import errors_without_content, find_model, receive
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


class Audited(NamedTuple):
    """What an audit found, the manifest of the release it was found in, and whether that lost a signature."""

    found: Audit
    manifest: Manifest
    lost_signature: bool


def audit_release(
    path: Path, overrides: Sequence[str], device: str, limits: Limits, work_root: Path
) -> Audited:
    """Compare a release with its real images; write audit.json, audit.png and the number in the card.

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
        recipe, checkpoint = received.recipe, locate(find_model(received))
        device = choose_device_for(checkpoint, recipe.model.dtype, device)
        # An audit writes a new card and manifest, which would cover up what is damaged.
        refuse_damaged(release.path, manifest, f"it is not audited: run synthkit verify {release.path}")
        images = _read_real(received, _outside(release.path, work_root))
        real, found = _compare(received, checkpoint, images, device, limits)
        lost_signature = read_signature(release.path) is not None
        _write(release, manifest, real, found)
    return Audited(found, manifest, lost_signature)


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
    limits: Limits,
) -> tuple[Real, Audit]:
    release, manifest, recipe = received.folder, received.manifest, received.recipe
    batch_size = recipe.sampler.batch_size
    generator = load(checkpoint, recipe, device)
    with progress("embedding real images", sum(len(part.listing) for part in images.values())) as advance:
        real = look_at_real(images, generator, batch_size, advance)
    with progress("comparing", manifest.images) as advance:
        synthetic = synthetic_images(release, manifest, batch_size)
        return real, audit(synthetic, real, generator, limits, advance)


def _write(release: ReleaseFolder, manifest: Manifest, real: Real, found: Audit) -> None:
    audited = manifest.model_copy(update={"audit": facts_of(found)})
    example = read_image(release.path, manifest, key_of(0)).record.to_row()
    files = {
        AUDIT: found.to_bytes(),
        AUDIT_PICTURE: _picture(release.path, manifest, real, found),
        CARD: render_card(audited, example).encode(),
    }
    release.amend(manifest, audited, files)


def _picture(release: Path, manifest: Manifest, real: Real, found: Audit) -> bytes:
    pairs = found.pairs[:PICTURED]
    synthetic = {pair.key: read_image(release, manifest, pair.key).pixels() for pair in pairs}
    return picture(pairs, synthetic, {f"{pair.part}/{pair.real}": real.load(pair) for pair in pairs})
