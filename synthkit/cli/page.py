"""`synthkit page`: a release as one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.shared import ReleaseArgument, SetOption, app, user_errors
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.page.scored import ScoreTold
    from synthkit.release.manifest import Manifest


@app.command(
    rich_help_panel=TRUST,
    epilog="Examples: `synthkit page releases/digits-lt-augcond` · "
    "`synthkit page releases/digits-lt-augcond --score scores/digits-lt-augcond.json`",
)
def page(
    reference: ReleaseArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the page there. Default: NAME.html, here.", show_default=False
        ),
    ] = None,
    score: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Show this score of the release, and what it gained over the real-only scores beside it. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, metavar="N", help="Which images of each class are shown.")
    ] = 0,
    override: SetOption = None,
) -> None:
    """Write a page about a release: images beside their real sources, histories, numbers, recipe, scores.

    It is one HTML file of at most 15 MB, for any browser: no network, no server, nothing beside it.
    The same release gives the same page.
    """
    with user_errors():
        from synthkit.page.release import release_page
        from synthkit.publish.pull import find_release
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.places import receive
        from synthkit.system.files import write_file
        from synthkit.system.progress import data_size

        release = find_release(reference)
        with ReleaseFolder.at(release).opened() as manifest:
            target = _target(out, release, manifest)
            scores = _scores(score or (), manifest)
            content = release_page(receive(release, manifest, override or ()), seed, scores)
        write_file(target, content)
        print(printable(f"{target}: {data_size(len(content))}; open it in a browser"))


def _target(out: Path | None, release: Path, manifest: Manifest) -> Path:
    """Return where the page is written. Raises ReleaseError or OSError if it cannot be."""
    from synthkit.errors import ReleaseError
    from synthkit.system.files import check_file_places

    preview = "-preview" if manifest.partial else ""
    target = Path(f"{manifest.name}{preview}.html") if out is None else out
    if not target.parent.is_dir():
        raise ReleaseError(f"{target}: there is no folder {target.parent}; make it, or choose another --out")
    if target.resolve().is_relative_to(release.resolve()):
        raise ReleaseError(
            f"{target}: lies inside the release, which holds no files but its own; choose another --out"
        )
    check_file_places(target)
    return target


def _scores(files: Sequence[Path], manifest: Manifest) -> list[ScoreTold]:
    if not files:
        return []
    from synthkit_eval.page import scores_of_release

    return scores_of_release(files, manifest)
