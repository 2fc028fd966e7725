"""`synthkit page`: a release, a recipe, or scores side by side, as one HTML file to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import TRUST
from synthkit.cli.shared import app, user_errors
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.page.scored import ScoreTold
    from synthkit.release.manifest import Manifest

_YAML = (".yaml", ".yml")
_SCORES = (".json", ".parquet")
# What every page has among its first bytes.
_PAGE, _HEAD = b'<meta name="generator" content="synthkit ', 4_000


@app.command(
    rich_help_panel=TRUST,
    epilog="Examples: `synthkit page releases/digits-lt-augcond` · "
    "`synthkit page releases/digits-lt-augcond --score scores/digits-lt-augcond.json` · "
    "`synthkit page recipes/digits_lt_ecd.yaml` · `synthkit page study.yaml`",
)
def page(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RELEASE|RECIPE|SCORE…|STUDY",
            help="A release folder, or organisation/name@v1.0.0 on the Hub; a recipe, before it is built; "
            "score files, or folders of them; or the file of a study that was made.",
            show_default=False,
            autocompletion=completion.releases,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the page there. Default: NAME.html of a release or study, NAME-recipe.html of a "
            "recipe, NAME-scores.html of scores in NAME, else scores.html; here. Of files that exist, only "
            "pages are replaced.",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Of a release: show this score of it, and what it gained over the real-only scores beside "
            "it. Repeatable.",
            show_default=False,
        ),
    ] = None,
    contrasts: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDY",
            help="Of scores: test the contrasts that this study's file fixed beforehand apart from others.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="N",
            help="Of a release or recipe: which images of each class are shown. Default: 0.",
            show_default=False,
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Of a recipe: change a field, as for a build. Of a release: say where its real images are "
            "here, e.g. source.root=data. Repeatable.",
        ),
    ] = None,
) -> None:
    """Write a page to look at: about a release, a recipe before its build, or scores side by side.

    A release: images beside their real sources, histories, numbers, recipe, scores. A recipe: what would be
    made, what it takes, and what a few images would be made from; no model is loaded. Scores: what is shown
    and what is not, differences with intervals, what each class gained, all plots with their numbers. It is
    one HTML file of at most 15 MB, for any browser: no network, no server, nothing beside it.
    """
    with user_errors():
        from synthkit.errors import RecipeError, ReleaseError, ScoreError
        from synthkit.system.files import write_file
        from synthkit.system.progress import data_size

        if _is_recipe(what):
            if score or contrasts is not None:
                raise RecipeError("--score and --contrasts: are for the pages of releases and scores")
            target, content = _page_of_recipe(Path(what[0]), out, seed or 0, override or ())
        elif _are_scores(what):
            _refuse_releases(what)
            if score or override:
                raise ScoreError("--score and --set: are for the page of a release")
            if seed is not None:
                raise ScoreError("--seed: chooses images, and the page of scores has none; leave it out")
            target, content = _page_of_scores(what, out, contrasts)
        else:
            if contrasts is not None:
                raise ReleaseError("--contrasts: is for the page of scores")
            if _holds_nothing(Path(what[0])):
                raise ReleaseError(
                    f"{what[0]}: holds neither a release (it has no manifest.json) nor scores; `synthkit "
                    "build` makes releases, `synthkit eval` scores"
                )
            target, content = _page_of_release(what[0], out, score or (), seed or 0, override or ())
        write_file(target, content)
        print(printable(f"{target}: {data_size(len(content))}; open it in a browser"))


def _is_recipe(what: Sequence[str]) -> bool:
    """Return whether one recipe is named: a YAML file that is no study, which has `grids`."""
    from synthkit.recipe.load import content_of

    path = Path(what[0])
    return len(what) == 1 and path.suffix.lower() in _YAML and "grids" not in content_of(path)


def _are_scores(what: Sequence[str]) -> bool:
    """Return whether scores or a study are named: anything but one release or recipe."""
    path = Path(what[0])
    if len(what) > 1 or path.suffix.lower() in (*_YAML, *_SCORES):
        return True
    return path.is_dir() and not _is_release(path) and any(map(_may_hold_scores, path.rglob("*")))


def _is_release(folder: Path) -> bool:
    """Return whether a folder is a release, or was one: one without a manifest is told so."""
    from synthkit.release.files import CROISSANT, MANIFEST

    return (folder / MANIFEST).exists() or (folder / CROISSANT).exists()


def _holds_nothing(path: Path) -> bool:
    return path.is_dir() and not _is_release(path)


def _may_hold_scores(path: Path) -> bool:
    return path.suffix.lower() in _SCORES


def _refuse_releases(what: Sequence[str]) -> None:
    """Raise ScoreError if one of several arguments is a release: its page shows scores by --score."""
    from synthkit.errors import ScoreError

    for one in what:
        if _is_release(Path(one)):
            raise ScoreError(
                f"{one}: is a release, and a page is of one release or of scores; that of a release shows "
                f"scores that --score names: synthkit page {one} --score FILE"
            )


def _page_of_release(
    reference: str, out: Path | None, scores: Sequence[Path], seed: int, override: Sequence[str]
) -> tuple[Path, bytes]:
    """Return where the page of a release is written, and its content."""
    from synthkit.errors import ReleaseError
    from synthkit.page.release import release_page
    from synthkit.publish.pull import find_release
    from synthkit.release.folder import ReleaseFolder
    from synthkit.release.places import receive

    release = find_release(reference)
    with ReleaseFolder.at(release).opened() as manifest:
        preview = "-preview" if manifest.partial else ""
        target = _target(out, f"{manifest.name}{preview}.html")
        if target.resolve().is_relative_to(release.resolve()):
            raise ReleaseError(
                f"{target}: lies inside the release, which holds no files but its own; choose another --out"
            )
        told = scores_told(scores, manifest)
        return target, release_page(receive(release, manifest, override), seed, told)


def _page_of_recipe(path: Path, out: Path | None, seed: int, override: Sequence[str]) -> tuple[Path, bytes]:
    """Return where the page of a recipe is written, and its content."""
    from synthkit.page.recipe import Given, recipe_page
    from synthkit.recipe.load import files_of, load, text_of
    from synthkit.system.work_root import work_root

    recipe = load(path, override)
    target = _target(out, f"{recipe.name}-recipe.html")
    given = Given(text_of(path), path, override, extends=bool(files_of(path)[1:]))
    return target, recipe_page(recipe, given, work_root(None), seed)


def _page_of_scores(what: Sequence[str], out: Path | None, contrasts: Path | None) -> tuple[Path, bytes]:
    """Return where the page of scores, or of a study, is written, and its content."""
    from synthkit.errors import ScoreError
    from synthkit_eval.comparison.differences import compare_scores
    from synthkit_eval.comparison.find import find_scores
    from synthkit_eval.comparison.published import load_tables
    from synthkit_eval.comparison.scores_page import scores_page
    from synthkit_eval.study.file import load_study

    study = load_study(Path(what[0])) if Path(what[0]).suffix.lower() in _YAML else None
    if study is not None:
        if len(what) > 1 or contrasts is not None:
            raise ScoreError(f"{what[0]}: a study has its own scores and contrasts; give it alone")
        made = Path(what[0]).with_name("scores.parquet")
        if not made.is_file():
            raise ScoreError(f"{made}: is missing; make it with: synthkit study {what[0]}")
        what, contrasts = [str(made)], Path(what[0])
    target = _target(out, _name_of_scores(what) if study is None else f"{study.name}.html")
    fixed = load_study(contrasts).contrasts if contrasts else []
    tables, found = load_tables(), find_scores(what)
    title = study.name if study else Path(what[0]).stem if len(what) == 1 else "Scores"
    sections = compare_scores(found.files, tables, fixed)
    for line in found.skipped:
        typer.echo(printable(line), err=True)
    return target, scores_page(title, study.summary if study else "", sections, tables)


def _name_of_scores(what: Sequence[str]) -> str:
    """Return the name of a page of scores: after the folder or file that they are in, if it is one."""
    place = Path(what[0]).resolve()
    if place.is_file():
        # A study calls its file so.
        place = place.parent if place.stem == "scores" else place.with_suffix("")
    return "scores.html" if len(what) > 1 or place.name in ("", "scores") else f"{place.name}-scores.html"


def _target(out: Path | None, default: str) -> Path:
    """Return where a page is written. Raises ReleaseError or OSError if it cannot be.

    A file that is there and that no page is, is not replaced.
    """
    from synthkit.errors import ReleaseError
    from synthkit.system.files import check_file_places

    target = Path(default) if out is None else out
    if not target.parent.is_dir():
        raise ReleaseError(f"{target}: there is no folder {target.parent}; make it, or choose another --out")
    check_file_places(target)
    if target.is_file() and _PAGE not in _beginning(target):
        raise ReleaseError(f"{target}: is there, and is not a page of synthkit; choose another --out")
    return target


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_HEAD)


def scores_told(files: Sequence[Path], manifest: Manifest) -> list[ScoreTold]:
    """Return score files of a release as its page tells them. Raises ScoreError if one is of another."""
    if not files:
        return []
    from synthkit_eval.page import scores_of_release

    return scores_of_release(files, manifest)
