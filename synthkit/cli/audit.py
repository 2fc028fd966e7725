"""`synthkit audit`: a search for copies of real images in a release, and for near duplicates in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.shared import DeviceOption, FolderArgument, SetOption, app, user_errors
from synthkit.system.names import printable

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.inspection.audit_release import Audited
    from synthkit.release.audit import Duplicates

# How many classes the summary names.
_WORST = 5


@app.command(
    rich_help_panel=TRUST,
    epilog="Examples: `synthkit audit releases/digits-lt-augcond` · "
    "`synthkit audit RELEASE --similarity 0.95 --set source.root=/data/flowers`",
)
def audit(
    release: FolderArgument,
    similarity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="COSINE",
            help="Suspect pairs whose embeddings have at least this cosine similarity.",
        ),
    ] = 0.98,
    distance: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            metavar="BITS",
            help="Suspect pairs whose perceptual hashes differ in at most this many bits.",
        ),
    ] = 2,
    duplicate_similarity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="COSINE",
            help="Synthetic images of a class whose embeddings have at least this cosine similarity are near "
            "duplicates.",
        ),
    ] = 0.98,
    duplicate_distance: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            metavar="BITS",
            help="Synthetic images whose perceptual hashes differ in at most this many bits are near "
            "duplicates.",
        ),
    ] = 2,
    override: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Look for copies of real images and near duplicates in a release, and add the result to its card.

    It compares every synthetic image with the real ones that the release was made from, with those
    held out for scoring, and with the other synthetic ones: by the model's embeddings, by perceptual
    hashes and pixel by pixel. It adds audit.json and audit.png to the release.
    """
    with user_errors():
        from synthkit.inspection.audit_release import Wanted, audit_release
        from synthkit.release.likeness import Limits
        from synthkit.system.work_root import work_root

        limits = Wanted(
            copies=Limits(similarity, distance), duplicates=Limits(duplicate_similarity, duplicate_distance)
        )
        _print_audit(release, audit_release(release, override or (), device, limits, work_root(None)))


def _print_audit(release: Path, audited: Audited) -> None:
    found, digest = audited.found, audited.manifest.source.digest
    print("similarity  bits  suspected  synthetic  real")
    for pair in found.pairs[:10]:
        suspected = "exact" if pair.exact else "yes" if pair.suspected else "no"
        source = ", its source" if pair.source else ""
        line = f"{pair.similarity:10.3f}  {pair.distance:4}  {suspected:9}  {pair.key}  {pair.real}"
        print(printable(f"{line} ({pair.part}{source})"))
    median, real = found.synthetic_to_real.get("0.5"), found.real_to_real.get("0.5")
    print(
        f"compared with the {found.pool:,} real images that it was made from (digest {digest[:12]}, as its "
        f"manifest says) and with {found.held_out:,} held-out ones that are here"
    )
    print(f"median similarity to the nearest real image: {median}; of real images to each other: {real}")
    limits = found.limits
    print(
        f"suspected: a similarity of at least {limits.similarity:g}, or perceptual hashes that differ in at "
        f"most {limits.distance} bits"
    )
    _print_duplicates(audited.duplicates, found.images)
    print(
        f"{release}: {found.suspected:,} of {found.images:,} suspected copies, {found.exact:,} exact, "
        f"{found.suspected_of_held_out:,} nearest to a held-out image; "
        f"look at {release / 'audit.png'}"
    )
    if audited.lost_signature:
        print("The manifest states the audit now, so its signature was removed; sign it again")


def _print_duplicates(found: Duplicates, images: int) -> None:
    limits, share = found.limits, found.in_groups / images if images else 0
    groups = "1 group" if found.groups == 1 else f"{found.groups:,} groups"
    print(
        f"near duplicates: {found.in_groups:,} of {images:,} synthetic images ({share:.1%}), in {groups}; "
        f"{found.exact:,} have the pixels of another one, {found.perceptual:,} a perceptual hash within "
        f"{limits.distance} bits of its, {found.embedding:,} in their class a similarity of at least "
        f"{limits.similarity:g}"
    )
    worst = ", ".join(
        f"{item.class_name} {item.share:.1%} ({item.in_groups:,} of {item.images:,})"
        for item in found.classes[:_WORST]
    )
    if worst:
        more = len(found.classes) - _WORST
        others = f", and no larger share of {more:,} other(s)" if more > 0 else ""
        print(printable(f"near duplicates by class: {worst}{others}"))
