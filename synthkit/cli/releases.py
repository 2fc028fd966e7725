"""Commands that start from a release: verify, show, diff, replay."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkit.cli.output import print_json
from synthkit.cli.shared import (
    DeviceOption,
    FolderArgument,
    ReleaseArgument,
    ReportOption,
    SetOption,
    app,
    user_errors,
    write_report,
)
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.inspection.audit_release import Audited
    from synthkit.inspection.replay import Replayed
    from synthkit.release.manifest import Manifest


@app.command(epilog="Example: `synthkit verify releases/digits-lt-augcond`")
def verify(
    reference: ReleaseArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image as well.")] = False,
    report: ReportOption = None,
) -> None:
    """Check every byte of a release, and that images, labels, records and manifest agree."""
    with user_errors():
        from synthkit.publish.pull import find_release
        from synthkit.release.folder import ReleaseFolder
        from synthkit.verification.faults import total
        from synthkit.verification.verify import verified

        release = find_release(reference)
        # Of a release on the Hub the place in the client's cache says nothing.
        where = release if Path(reference).exists() else Path(reference)
        with ReleaseFolder.at(release).opened() as manifest:
            faults = verified(release, manifest, deep=deep)
        for fault in faults:
            print(printable(f"{where / fault.path}: {fault.reason}"), file=sys.stderr)
        if faults:
            print(
                f"{where}: {total(faults)} fault(s); "
                + ("get it again, or build it with --fresh" if where == release else "ask its publisher"),
                file=sys.stderr,
            )
            raise typer.Exit(1)
        if report is not None:
            write_report(_verified(manifest), report)
        partial = f" (a preview of {manifest.partial.of:,})" if manifest.partial else ""
        print(
            f"{where}: {manifest.name} {manifest.version} is intact: {manifest.images:,} images{partial} "
            f"in {len(manifest.shards)} shard(s), {len(manifest.files)} files, {manifest.size / 1e6:,.1f} MB"
        )


@app.command(
    epilog="Examples: `synthkit show releases/digits-lt-augcond` · "
    "`synthkit show releases/digits-lt-augcond 000000003 --picture history.png`"
)
def show(
    reference: ReleaseArgument,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The key of an image.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the image's sources, its conditioning and itself side by side.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what a release is, or where one of its images comes from."""
    with user_errors():
        from synthkit.errors import ReleaseError
        from synthkit.inspection.show import as_text, history, summary
        from synthkit.publish.pull import find_release
        from synthkit.release.files import RECIPE
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.image import trace
        from synthkit.release.places import receive
        from synthkit.system.files import write_file

        release = find_release(reference, [RECIPE] if key is None else ())
        with ReleaseFolder.at(release).opened() as manifest:
            received = receive(release, manifest, override or ())
            traced = None if key is None else trace(release, manifest, key)
        if traced is None:
            if picture is not None:
                raise ReleaseError("--picture shows one image: name its key")
            if as_json:
                print_json(manifest.to_json().decode())
            else:
                print(printable(as_text(summary(manifest, received.recipe))))
            return
        if picture is not None:
            from synthkit.inspection.history_picture import history_picture

            write_file(picture, history_picture(received, traced))
        if as_json:
            print_json(traced.record.to_json().decode())
        else:
            print(printable(as_text(history(manifest, traced))))


@app.command(epilog="Example: `synthkit diff releases/digits-lt-augcond old/digits-lt-augcond --json`")
def diff(
    old: ReleaseArgument,
    new: ReleaseArgument,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what changed between two releases: recipe, versions, counts, images."""
    with user_errors():
        from synthkit.publish.pull import find_release
        from synthkit.release.diff import as_text, difference
        from synthkit.release.files import RECIPE, RECORDS
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.image import read_recipe

        one, other = (find_release(reference, [RECIPE, RECORDS]) for reference in (old, new))
        with ReleaseFolder.at(one).opened() as before, ReleaseFolder.at(other).opened() as after:
            found = difference((one, before, read_recipe(one)), (other, after, read_recipe(other)))
        print(json.dumps(found.to_json(), indent=2) if as_json else printable(as_text(found)))


@app.command(
    epilog="Examples: `synthkit replay releases/digits-lt-augcond 000000003` · "
    "`synthkit replay releases/digits-lt-augcond --sample 32` · "
    "`synthkit replay RELEASE 7 --set source.root=/data/flowers --out again`"
)
def replay(
    reference: ReleaseArgument,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Keys of images.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N images at random.", show_default=False)
    ] = None,
    override: SetOption = None,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the images there.", show_default=False)
    ] = None,
) -> None:
    """Make images of a release again and compare them, bit for bit.

    It takes the release, the real images that the records name, and the model. Records are made again
    too. Exits 1 if an image is not identical, or if its record says what is not so.
    """
    with user_errors():
        import random

        from synthkit.errors import ReleaseError
        from synthkit.inspection.replay import Replay
        from synthkit.publish.pull import find_release
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.image import trace
        from synthkit.release.places import receive
        from synthkit.release.records import key_of
        from synthkit.system.environment import check_device
        from synthkit.system.files import check_place, make_folder, write_file
        from synthkit.system.progress import progress

        if out is not None:
            check_place(out)
        check_device(device)
        release = find_release(reference)
        with ReleaseFolder.at(release).opened() as manifest:
            wanted = list(keys or [])
            if sample is not None:
                drawn = random.sample(range(manifest.images), min(sample, manifest.images))
                wanted += [key_of(index) for index in sorted(drawn)]
            if not wanted:
                raise ReleaseError("name keys, or give --sample N")
            traced = [trace(release, manifest, key) for key in wanted]
            received = receive(release, manifest, override or ())
        run = Replay(received, traced, device)
        with progress("replaying", len(traced)) as advance:
            done = list(run.run(advance))
        if out is not None:
            make_folder(out)
            for image in done:
                write_file(out / f"{image.key}.{manifest.extension}", image.image)
        _print_replayed(done, run.differences)


@app.command(
    epilog="Examples: `synthkit audit releases/digits-lt-augcond` · "
    "`synthkit audit RELEASE --similarity 0.95 --set source.root=/data/flowers`"
)
def audit(
    release: FolderArgument,
    similarity: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="COSINE", help="Cosine similarity from which on a pair is suspected."
        ),
    ] = 0.98,
    distance: Annotated[
        int,
        typer.Option(
            min=0, max=64, metavar="BITS", help="Bits in which the perceptual hashes of a pair may differ."
        ),
    ] = 2,
    override: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Look for copies of real images in a release, and put the result in its card.

    Compares every synthetic image with the real ones that it was made from and those held out, by the
    model's embeddings, perceptual and exact hashes. Adds audit.json and audit.png to the release.
    """
    with user_errors():
        from synthkit.inspection.audit_release import audit_release
        from synthkit.release.audit import Limits
        from synthkit.system.work_root import work_root

        limits = Limits(similarity, distance)
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
    print(
        f"{release}: {found.suspected:,} of {found.images:,} suspected copies, {found.exact:,} exact, "
        f"{found.suspected_of_held_out:,} nearest to a held-out image; "
        f"look at {release / 'audit.png'}"
    )


def _print_replayed(done: list[Replayed], differences: list[str]) -> None:
    for image in done:
        print(printable(f"{image.key}: {_replayed(image)}"))
    count = sum(image.identical and not image.false for image in done)
    print(f"{count:,} of {len(done):,} identical")
    if differences:
        print(f"this platform is another one: {', '.join(differences)}")
    if count < len(done):
        raise typer.Exit(1)


def _replayed(image: Replayed) -> str:
    """How an image made again compares, and what its record says that is false."""
    but = f", but {'; '.join(image.false)}" if image.false else ""
    if image.identical:
        return f"identical image{but}" if but else "identical"
    if image.largest == 0:
        return f"the same pixels in another file{but}"
    return (
        f"differs: PSNR {image.psnr:.1f} dB, {100 * image.share:.3g} % of values, "
        f"by at most {image.largest} grey levels{but.replace(', but', '; and', 1)}"
    )


def _verified(manifest: Manifest) -> dict[str, Any]:
    """What was found intact: numbers that `dvc metrics` shows, and the seal that stands for every byte."""
    return {
        "version": manifest.version,
        "images": manifest.images,
        "classes": len(manifest.classes),
        "shards": len(manifest.shards),
        "bytes": manifest.size,
        "seal": manifest.seal,
    }
