"""Scores as `synthkit eval` writes them, made up, for the tests of what compares and draws them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from synthkit_eval.score import ClassScore, Epoch, Score
from synthkit_eval.score_detail import Detail
from synthkit_eval.score_files import Scored, write_score
from tests.conftest import Cli

CLASSES = 10
IMAGES = 2000


def mean_of(values: Sequence[float]) -> dict[str, Any]:
    spread = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else None
    return {"mean": sum(values) / len(values), "ci95": None if spread is None else float(spread)}


def accuracies(values: Sequence[float]) -> dict[str, Any]:
    """Of overall as given; many are two points better, few three points worse."""
    parts = {"overall": 0.0, "class_mean": 0.0, "many": 0.02, "medium": 0.0, "few": -0.03}
    return {
        part: {**mean_of([min(value + more, 1.0) for value in values]), "images_ci95": 0.012}
        for part, more in parts.items()
    }


def run(seed: int, overall: float, epochs: int) -> dict[str, Any]:
    """The epoch that counts is the last but one."""
    parts = {"overall": overall, "class_mean": overall, "many": overall, "medium": None, "few": None}
    return {"seed": seed, "epoch": epochs - 1, **parts, "seconds": 1.0}


def detail(made: Score) -> Detail:
    """Predictions with the accuracies of a score: each run is right about the first images."""
    data = made.data
    images = np.arange(data.evaluation_images)
    labels = (images % data.classes).astype(np.uint16)
    right = [images < round(run.overall * len(images)) for run in made.seeds]
    nothing = dict.fromkeys(("many", "medium", "few"))
    history = [
        Epoch(epoch=n, learning_rate=0.1, training_loss=0.5, loss=0.4, overall=0.1, class_mean=0.1, **nothing)
        for n in range(1, 6)
    ]
    classes = [
        {"label": label, "name": f"class {label}", "group": "many", "real": 9, "synthetic": 100}
        | {"evaluation": int((labels == label).sum()), "accuracy": made.accuracy.overall.model_dump()}
        for label in range(data.classes)
    ]
    for one in classes:
        one["accuracy"] = {key: one["accuracy"][key] for key in ("mean", "ci95")}
    return Detail(
        ids=tuple(f"test/{number:04d}" for number in images),
        labels=labels,
        predictions=np.where(right, labels, (labels + 1) % data.classes).astype(np.uint16),
        histories=(tuple(history),) * len(made.seeds),
        classes=tuple(ClassScore.model_validate(one) for one in classes),
    )


def set_score(fid: float, features: str, vendi: float | None) -> dict[str, Any]:
    nothing = ("kid", "precision", "recall", "density", "coverage", "vendi", "vendi_real")
    overall = {
        "real": 360,
        "synthetic": 1000,
        "fid": fid,
        "distance": None,
        "distance_real": None,
        **dict.fromkeys(nothing),
        "vendi": vendi,
    }
    return {
        "features": features,
        "dimensions": 64,
        "overall": overall,
        "many": None,
        "medium": None,
        "few": None,
        "notes": [],
    }


def score(
    values: Sequence[float],
    *,
    method: str | None = None,
    name: str | None = None,
    version: str = "1.0.0",
    guidance: float = 2.0,
    fid: float | None = None,
    vendi: float | None = None,
    features: str = "builtin:tiny-unclip-digits",
    steps: int = 900,
    shots: int | None = None,
    trial: int | None = None,
    protocol: str = "digits-lt",
    protocol_digest: str = "a" * 64,
    digest: str | None = None,
    settings: dict[str, Any] | None = None,
    changed: Sequence[str] = (),
    training: str = "b" * 64,
    evaluation: str = "c" * 64,
    classes: int = CLASSES,
    images: int = 1000,
    seed: int = 0,
    kin: str | None = None,
    data: str | None = None,
    operations: float | None = None,
    learning: float | None = None,
) -> Score:
    """A score with these overall accuracies of its seeds; without a method, of real images alone."""
    release = None
    if method is not None:
        release = {
            "name": name or f"digits-lt-{method}",
            "version": version,
            "recipe_digest": "d" * 64,
            "seal": "e" * 64,
            "method": method,
            "guidance_scale": guidance,
            "generator": "builtin:tiny-unclip-digits",
            "images": images,
            "seed": seed,
            "kin": kin or f"{method} {guidance} {images} {shots}",
            "shots": shots,
            "trial": trial,
            "operations": operations,
            "learning": learning,
        }
    # As many images are right as there can be, so that the predictions have the accuracies.
    values = [round(value * IMAGES) / IMAGES for value in values]
    return Score.model_validate(
        {
            "format_version": 2,
            "trained_on": "real" if method is None else "real and synthetic",
            "protocol": {
                "name": protocol,
                "version": 1,
                "digest": digest or protocol_digest,
                "kin": protocol_digest,
                "changed": list(changed),
                "settings": settings or {"epochs": 20},
            },
            "release": release,
            "data": {
                "training_digest": training,
                "training_images": 180,
                "evaluation_digest": evaluation,
                "evaluation_images": IMAGES,
                "classes": classes,
                "groups": "f" * 64,
                "kin": data or f"{training} {evaluation}",
            },
            "steps": steps,
            "accuracy": accuracies(values),
            "best": accuracies([min(value + 0.01, 1.0) for value in values]),
            "loss": mean_of(values),
            "seeds": [run(seed, value, 5) for seed, value in enumerate(values)],
            "set_metrics": None if fid is None else set_score(fid, features, vendi),
            "environment": {},
            "seconds": 3.0,
        }
    )


def put(folder: Path, stem: str, made: Score) -> Path:
    path = folder / f"{stem}.json"
    write_score(Scored(made, detail(made)), path)
    return path


REAL = (0.900, 0.905, 0.910, 0.895)
RANDOM = (0.930, 0.940, 0.935, 0.925)
MIXUP = (0.935, 0.950, 0.945, 0.930)
ECD = (0.962, 0.958, 0.960, 0.964)


def imagenet(**changes: Any) -> Score:
    facts = {
        "method": "dropout",
        "protocol": "imagenet-lt-90",
        "classes": 90,
        "fid": 21.0,
        "features": "inception",
    }
    return score(ECD, **{**facts, **changes})


def table(cli: Cli, *arguments: str | Path) -> list[dict[str, str]]:
    """What `--format csv` prints."""
    result = cli("compare", *arguments, "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def row(rows: list[dict[str, str]], name: str) -> dict[str, str]:
    (found,) = (row for row in rows if row["name"] == name)
    return found


def line(text: str, start: str, after: str = "") -> str:
    """The line that starts with a word, after another line does."""
    return next(one for one in text[text.index(after) :].splitlines() if one.startswith(start))
