"""`synthkit replay`: make images of a release again and compare them."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.shared import DeviceOption, ReleaseArgument, SetOption, app, user_errors
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.inspection.replay import Replayed


@app.command(
    rich_help_panel=TRUST,
    epilog="Examples: `synthkit replay releases/digits-lt-augcond 000000003` · "
    "`synthkit replay releases/digits-lt-augcond --sample 32` · "
    "`synthkit replay RELEASE 7 --set source.root=/data/flowers --out again`",
)
def replay(
    reference: ReleaseArgument,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY...", help="Keys of images.", show_default=False)
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take N images at random.", show_default=False)
    ] = None,
    override: SetOption = None,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the images there.", show_default=False)
    ] = None,
) -> None:
    """Make images of a release again and compare them, and their records, bit for bit.

    It needs the real images that the records name, and the model. It exits with 1 if an image differs
    or its record is wrong.
    """
    with user_errors():
        import random

        from synthkit.errors import ReleaseError
        from synthkit.inspection.replay import Replay
        from synthkit.publish.pull import find_release
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.image import read_image
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
            traced = [read_image(release, manifest, key) for key in wanted]
            received = receive(release, manifest, override or ())
        run = Replay(received, traced, device)
        with progress("replaying", len(traced)) as advance:
            done = list(run.run(advance))
        if out is not None:
            make_folder(out)
            for image in done:
                write_file(out / f"{image.key}.{manifest.extension}", image.image)
        _print_replayed(done, run.differences)
        if run.prompts_are_recorded:
            print(
                "the captions are not here, so prompts were taken from the records; "
                "--set captions.file=… checks them"
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
    """Say how the image made again compares, and which fields of its record are wrong."""
    but = f", but {'; '.join(image.false)}" if image.false else ""
    if image.identical:
        return f"identical image{but}" if but else "identical"
    if image.largest == 0:
        return f"the same pixels in another file{but}"
    return (
        f"differs: PSNR {image.psnr:.1f} dB, {100 * image.share:.3g} % of values, "
        f"by at most {image.largest} grey levels{but.replace(', but', '; and', 1)}"
    )
