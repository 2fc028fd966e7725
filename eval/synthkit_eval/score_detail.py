"""What a score holds of each class, run, epoch and image: one row of a Parquet table.

A table has a row for each score, with the score itself as JSON. So one file can keep all scores of a study,
and equal columns (the images' ids) take next to no room in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit_eval.score import ClassScore, Epoch

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from synthkit_eval.score import Score


@dataclass(frozen=True, slots=True)
class Detail:
    """The detail of a score with S runs on N evaluation images.

    `ids` and `labels` (N,) are the images, `predictions` (S, N) the class that each run found in them in the
    epoch that counts, `histories` the epochs of each run, `classes` every class.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.uint16]
    predictions: NDArray[np.uint16]
    histories: tuple[tuple[Epoch, ...], ...]
    classes: tuple[ClassScore, ...]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each run is right about each image: (S, N)."""
        return np.asarray(self.predictions == self.labels)


def schema() -> pa.Schema:
    """Return the schema of the table."""
    import pyarrow as pa

    numbers = [(name, pa.float64()) for name in Epoch.model_fields if name != "epoch"]
    run = pa.struct(
        [
            ("predictions", pa.list_(pa.uint16())),
            ("history", pa.list_(pa.struct([("epoch", pa.int32()), *numbers]))),
        ]
    )
    counts = [(name, pa.int32()) for name in ("label", "real", "synthetic", "evaluation")]
    of_class = pa.struct(
        [
            *counts,
            ("name", pa.string()),
            ("group", pa.string()),
            ("accuracy", pa.struct([("mean", pa.float64()), ("ci95", pa.float64())])),
        ]
    )
    return pa.schema(
        [
            ("score", pa.string()),
            ("ids", pa.list_(pa.string())),
            ("labels", pa.list_(pa.uint16())),
            ("classes", pa.list_(of_class)),
            ("runs", pa.list_(run)),
        ]
    )


def row_of(score: Score, detail: Detail) -> dict[str, Any]:
    """Return the row of a score."""
    runs = [
        {"predictions": predictions, "history": [epoch.model_dump() for epoch in history]}
        for predictions, history in zip(detail.predictions, detail.histories, strict=True)
    ]
    return {
        "score": score.model_dump_json(),
        "ids": detail.ids,
        "labels": detail.labels,
        "classes": [item.model_dump() for item in detail.classes],
        "runs": runs,
    }


def detail_of(row: dict[str, Any], score: Score) -> Detail:
    """Return the detail in the row of a score. Raises ValueError if it is not that score's."""
    images = score.data.evaluation_images
    detail = Detail(
        ids=tuple(row["ids"]),
        labels=np.asarray(row["labels"], dtype=np.uint16),
        predictions=np.asarray([run["predictions"] for run in row["runs"]], dtype=np.uint16),
        histories=tuple(tuple(Epoch(**epoch) for epoch in run["history"]) for run in row["runs"]),
        classes=tuple(ClassScore(**item) for item in row["classes"]),
    )
    shapes = (len(detail.ids), detail.labels.shape, detail.predictions.shape)
    if shapes != (images, (images,), (len(score.seeds), images)) or len(set(detail.ids)) != images:
        raise ValueError("it does not hold the predictions of every run for every evaluation image")
    if not np.allclose(detail.right.mean(axis=1), [run.overall for run in score.seeds], rtol=0, atol=1e-9):
        raise ValueError("its predictions do not have the accuracies of the score")
    count = len(detail.classes)
    if count != score.data.classes or [item.label for item in detail.classes] != list(range(count)):
        raise ValueError("it does not hold every class")
    if not set(detail.labels.tolist()) <= set(range(count)):
        raise ValueError("it has labels outside the classes")
    return detail
