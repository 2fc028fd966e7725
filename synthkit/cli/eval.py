"""`synthkit eval`: score a release."""

from __future__ import annotations

from pathlib import Path
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
from synthkit.errors import ScoreError
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.score import Score

SCORES = Path("scores")


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
    yes: Annotated[bool, typer.Option("--yes", help="Start even if it takes days on a CPU.")] = False,
) -> None:
    """Score a release: train classifiers on it and its real images, test them on other real images."""
    with user_errors():
        from synthkit.system.environment import choose_device
        from synthkit.system.files import check_file_places
        from synthkit.system.work_root import work_root
        from synthkit_eval.evaluate import Options, evaluate, evaluate_real_only
        from synthkit_eval.protocol import load_protocol, usual_protocol
        from synthkit_eval.score_files import write_score
        from synthkit_eval.training.distributed import join
        from synthkit_eval.training.real_images import open_release

        check_file_places(out, report)
        if out is not None and out.suffix != ".json":
            raise ScoreError(
                f"--out {out}: end its name in .json; the predictions go beside it, into .parquet"
            )
        places = [change for change in changes or () if change.startswith("source.")]
        settings = [change for change in changes or () if change not in places]
        with join(choose_device(device)) as (world, own_device):
            release = open_release(reference, places)
            manifest = release.manifest
            name = protocol or usual_protocol(manifest.name, manifest.source.shots)
            chosen = load_protocol(name, [*settings, *([f"features={features}"] if features else [])])
            options = Options(seeds, own_device, work_root(None), yes, tuple(settings))
            scored = (evaluate_real_only if real_only else evaluate)(release, chosen, options, world)
        if scored is None:
            return
        score = scored.score
        target = out or _target(score, _folder(load_protocol(name), chosen))
        write_score(scored, target)
        if report is not None:
            write_report(_metrics(score), report)
        _tell(score, target)


def _folder(protocol: Protocol, chosen: Protocol) -> Path:
    """Return scores/PROTOCOL, with a digest in the name if `--set` changed what is trained or tested."""
    same = protocol.digest == chosen.digest
    return SCORES / (protocol.name if same else f"{chosen.name}-{chosen.digest[:8]}")


def _target(score: Score, folder: Path) -> Path:
    """Return FOLDER/NAME.json, or a longer name if that file scores another version or other images."""
    if score.release is None:
        data = f"{score.data.training_digest[:8]}-{score.data.evaluation_digest[:8]}"
        return folder / f"real-only-{data}-{score.steps}.json"
    target = folder / f"{score.release.name}.json"
    if _replaces(score, target):
        return target
    return folder / f"{score.release.name}-{score.release.version}-{score.data.evaluation_digest[:8]}.json"


def _replaces(score: Score, target: Path) -> bool:
    """Return whether `target` may be overwritten: no score, or one of the same release and images."""
    from synthkit_eval.score_files import read_score

    try:
        before = read_score(target)
    except ScoreError:
        return True
    same = before.release is not None and before.release.version == score.release.version  # type: ignore[union-attr]
    return same and before.compares_with(score) and before.on_images_of(score)


def _metrics(score: Score) -> dict[str, object]:
    """Return the numbers that `dvc metrics` shows."""
    accuracy = {part: value for part, value in score.accuracy.model_dump().items() if value is not None}
    found: dict[str, object] = {"accuracy": accuracy, "loss": score.loss.model_dump()}
    if score.set_metrics is not None:
        measured = score.set_metrics.overall.model_dump(exclude={"real", "synthetic"}, exclude_none=True)
        found["set_metrics"] = measured
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tell(score: Score, target: Path) -> None:
    protocol = score.protocol
    second_stage = protocol.settings.get("decouple") or {}
    epochs = protocol.settings["epochs"] + second_stage.get("epochs", 0)
    print(
        printable(
            f"{score.name}, trained on {score.trained_on} images by {protocol.name} "
            f"({protocol.settings['network']}, {_count(epochs, 'epoch')}, "
            f"{_count(len(score.seeds), 'seed')}), tested on {score.data.evaluation_images:,} images"
        )
    )
    print("             accuracy   ± seeds   ± images")
    for part, value in score.accuracy:
        # Where every class has as many evaluation images, both are the same.
        if value is not None and (part != "class_mean" or value.mean != score.accuracy.overall.mean):
            seeds = "–" if value.ci95 is None else f"{value.ci95:.1%}"
            print(f"  {part:<10} {value.mean:8.1%}  {seeds:>8}  {value.images_ci95:9.1%}")
    if score.set_metrics is not None:
        sets = score.set_metrics.overall
        numbers = [("FID", sets.fid), ("KID", sets.kid), ("coverage", sets.coverage), ("Vendi", sets.vendi)]
        told = ", ".join(f"{name} {value:.4g}" for name, value in numbers if value is not None)
        print(printable(f"  {told} ({score.set_metrics.features})"))
        for note in score.set_metrics.notes:
            print(printable(f"  note: {note}"))
    print(printable(f"Score: {target}"))
