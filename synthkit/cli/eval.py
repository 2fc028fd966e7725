"""`synthkit eval`: score a release."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import SCORE
from synthkit.cli.shared import (
    DeviceOption,
    ReleaseArgument,
    app,
    user_errors,
    write_report,
)
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit_eval.score import Score


@app.command(
    rich_help_panel=SCORE,
    name="eval",
    epilog="Example: `synthkit eval releases/digits-lt-augcond --protocol digits-lt --seeds 5`",
)
def evaluate(
    reference: ReleaseArgument,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="PROTOCOL",
            help="How to train and test: the name of a protocol (eval/protocols) or a file. Default: "
            "chosen by the release's name.",
            show_default=False,
            autocompletion=completion.protocols,
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, max=1000, metavar="N", help="Number of training runs; their seeds are 0 to N-1."),
    ] = 3,
    real_only: Annotated[
        bool, typer.Option("--real-only", help="Train on its real images alone, for as many steps.")
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            help="Feature space of FID and the other set metrics: builtin:…, inception, timm:NAME, "
            "clip:REPOSITORY, none. Default: the protocol's.",
            metavar="SPACE",
            show_default=False,
            autocompletion=completion.feature_spaces,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change the protocol (network=resnet18), or say where the real images are (source.root=…). "
            "Repeatable.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The score file. Default: scores/PROTOCOL/NAME.json.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the numbers that `dvc metrics` shows, as JSON.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also keep the trained networks, of the epoch that is reported: "
            "DIR/NAME-seed-N.safetensors.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start even if it takes days on a CPU.")] = False,
) -> None:
    """Score a release: train classifiers on it and its real images, test them on other real images."""
    with user_errors():
        from synthkit.system.files import check_file_places
        from synthkit_eval.score_release import Wanted, score_release
        from synthkit_eval.told_score import told

        check_file_places(report)
        wanted = Wanted(seeds, protocol, real_only, features, tuple(changes or ()), device, out, yes, weights)
        kept = score_release(reference, wanted)
        if kept is None:
            return
        if report is not None:
            write_report(_metrics(kept.scored.score), report)
        print(told(kept.scored.score))
        print(printable(f"Score: {kept.path}"))
        for line in kept.networks:
            print(printable(line))


def _metrics(score: Score) -> dict[str, object]:
    """Return the numbers that `dvc metrics` shows."""
    accuracy = {part: value for part, value in score.accuracy.model_dump().items() if value is not None}
    found: dict[str, object] = {"accuracy": accuracy, "loss": score.loss.model_dump()}
    if score.set_metrics is not None:
        measured = score.set_metrics.overall.model_dump(exclude={"real", "synthetic"}, exclude_none=True)
        found["set_metrics"] = measured
    return found
