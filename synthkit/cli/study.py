"""`synthkit study`: make and score all releases of a study."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from synthkit.cli.help import SCORE
from synthkit.cli.shared import DeviceOption, app, user_errors
from synthkit.system.names import printable

_MOST_WORKERS = 1024


@app.command(
    rich_help_panel=SCORE,
    epilog="Examples: `synthkit study study.yaml --workers 2` · "
    "`synthkit compare scores.parquet --contrasts study.yaml`",
)
def study(
    file: Annotated[
        Path,
        typer.Argument(metavar="STUDY", help="The study: recipes, what varies, protocol, contrasts (YAML)."),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the study. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The Parquet file of all scores. Default: scores.parquet beside the study.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=_MOST_WORKERS, metavar="N", help="Number of processes that share the work."),
    ] = 1,
    device: DeviceOption = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="List the releases, and make nothing.")] = False,
) -> None:
    """Make every release of a study, score each, and keep all scores in one file.

    Stop it at any time (Ctrl-C): the same command goes on. Releases, trainings and finished scores are in
    .synthkit/studies.
    """
    with user_errors():
        from synthkit.errors import ScoreError
        from synthkit.system.files import check_file_places
        from synthkit.system.work_root import work_root
        from synthkit_eval.score_files import TABLE
        from synthkit_eval.study.file import load_study
        from synthkit_eval.study.run import Options, run_study
        from synthkit_eval.study.tasks import plan_of, tasks_of

        target = out or file.parent / f"scores{TABLE}"
        if target.suffix != TABLE:
            raise ScoreError(f"--out {target}: end its name in {TABLE}")
        loaded = load_study(file, changes)
        tasks = tasks_of(loaded, file, device)
        if plan:
            for line in plan_of(tasks):
                print(printable(line))
            return
        check_file_places(target)
        folder = work_root(None) / "studies" / loaded.name
        count = run_study(tasks, target, Options(folder, min(workers, os.cpu_count() or 1), device))
        print(printable(f"{target}: {count} scores of {len(tasks)} releases and sets of real images"))
