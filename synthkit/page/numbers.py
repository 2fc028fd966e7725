"""The numbers of all images of a release: read from the table of records, and counted in histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError
from synthkit.release import scores
from synthkit.release.record_table import RecordTables
from synthkit.release.records import KINDS, Provenance, Provenance2

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from synthkit.release.places import Received

# What each number is called, by its name in a record. A similarity is a cosine, from -1 to 1.
TITLES = {
    "lam": "λ, the share of the first real image",
    "scale": "Weight of the image against the text",
    "strength": "Strength, how much the real image was noised",
    "similarity": "Similarity to the mean of its class's real images",
    scores.COPY: "Similarity to the nearest real image",
    scores.REPEAT: "Similarity to the nearest image before it",
    scores.PROBABILITY: "Probability of its class, by the classifier",
    scores.RANK: "Rank of its class, by the classifier",
    scores.DEVIATION: "Standard deviation of its pixels",
    "attempt": "Which draw was kept",
}
# Records count draws from 0, people from 1.
DRAW = "attempt"
_WHOLE = (DRAW, scores.RANK)
_BINS = 24
# The drawing of a histogram, in pixels.
WIDE, HIGH = 360, 120


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the table of records holds of N images: `labels` (N,), and columns (N,) by the names in TITLES."""

    labels: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


class Bar(NamedTuple):
    """A bar of a histogram: which values it counts, of how many images, and where it is drawn."""

    what: str
    images: int
    x: float
    y: float
    width: float
    height: float


class Histogram(NamedTuple):
    """A histogram of all images, `least` and `most` at the ends of its axis."""

    title: str
    least: str
    most: str
    bars: list[Bar]


def read_numbers(received: Received) -> Numbers:
    """Read the columns of numbers, shard by shard, and no image.

    Raises ReleaseError if the table is damaged, or has other numbers of images than the manifest.
    """
    release, manifest = received.folder, received.manifest
    form = manifest.format_version
    fields = [name for name in _fields(manifest.method) if name in KINDS[form].__struct_fields__]
    judged = scores.measured(received.recipe.filters) if issubclass(KINDS[form], Provenance2) else ()
    names = ["label", *fields, *(["scores"] if judged else [])]
    labels: list[NDArray[np.int64]] = []
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in (*fields, *judged)}
    for part in RecordTables(release, manifest).parts(names):
        # By way of lists: Arrow's own way to NumPy imports pandas, which takes longer than all else here.
        labels.append(np.array(part["label"].to_pylist(), dtype=np.int64))
        for name in fields:
            columns[name].append(np.array(part[name].to_pylist(), dtype=np.float64) + (name == DRAW))
        if judged:
            for name, values in _scores(part["scores"], judged).items():
                columns[name].append(values)
    found = Numbers(np.concatenate(labels), {key: np.concatenate(values) for key, values in columns.items()})
    _check_counts(received, found.labels)
    return found


def numbers_of(record: Provenance) -> dict[str, float]:
    """Return the numbers of one record, by the names in TITLES."""
    found = {name: getattr(record, name) for name in _fields(record.method) if hasattr(record, name)}
    if isinstance(record, Provenance2):
        found |= {item.name: item.value for item in record.scores if item.name in TITLES}
    # A stranger's table may hold what JSON has no word for.
    return {name: float(value) + (name == DRAW) for name, value in found.items() if np.isfinite(value)}


def histograms(numbers: Numbers) -> list[Histogram]:
    """Return a histogram of each column whose values differ."""
    drawn = {name: values[np.isfinite(values)] for name, values in numbers.columns.items()}
    return [_histogram(name, values) for name, values in drawn.items() if len(values) and np.ptp(values) > 0]


def _fields(method: str) -> list[str]:
    """Return the fields of a record that say something of an image made by a method."""
    told = ["scale", "strength", "similarity", "attempt"]
    return ["lam", *told] if METHODS[method].sources == 2 else told


def _scores(column: pa.ChunkedArray, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return the scores of quality gates by name; NaN where an image lacks one."""
    rows: list[list[dict[str, Any]]] = column.to_pylist()
    found = [{item["name"]: item["value"] for item in row} for row in rows]
    return {name: np.array([row.get(name, np.nan) for row in found]) for name in names}


def _check_counts(received: Received, labels: NDArray[np.int64]) -> None:
    """Raise ReleaseError unless the table has as many images of each class as the manifest says."""
    stated = [item.synthetic for item in received.manifest.classes]
    inside = not len(labels) or (labels.min() >= 0 and labels.max() < len(stated))
    if not inside or np.bincount(labels, minlength=len(stated)).tolist() != stated:
        raise ReleaseError(
            f"{received.folder}: its records have other numbers of images of each class than its manifest; "
            f"run synthkit verify {received.folder}"
        )


def _histogram(name: str, values: NDArray[np.float64]) -> Histogram:
    if name in _WHOLE:
        counts, edges = _of_whole(values)
    else:
        low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (values.min(), values.max())
        # A share that stays in a small part of 0 to 1 would be a single bar.
        if np.ptp(values) < 0.25:
            low, high = float(values.min()), float(values.max())
        counts, ends = np.histogram(values, _BINS, (low, high))
        edges = ends.tolist()
    most, width = max(int(counts.max()), 1), WIDE / len(counts)
    bars = []
    for place, count in enumerate(counts.tolist()):
        height = HIGH * count / most if count else 0.0
        # A few among a million are still to be seen.
        height = max(height, 1.0) if count else 0.0
        bars.append(
            Bar(
                what=_between(edges, place),
                images=count,
                x=round(place * width, 2),
                y=round(HIGH - height, 2),
                width=round(width - 1.5, 2),
                height=round(height, 2),
            )
        )
    return Histogram(TITLES[name], _number(edges[0]), _last(edges), bars)


def _of_whole(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[Any]]:
    """Return how often each whole number occurs; many different ones are counted in stretches."""
    low, high = int(values.min()), int(values.max())
    if high - low < 2 * _BINS:
        counts = np.bincount(values.astype(np.int64) - low, minlength=high - low + 1)
        return counts, list(range(low, high + 1))
    found, edges = np.histogram(values, _BINS)
    return found, edges.tolist()


def _between(edges: Sequence[Any], place: int) -> str:
    if place + 1 == len(edges) or isinstance(edges[place], int):
        return _number(edges[place])
    return f"{_number(edges[place])} to {_number(edges[place + 1])}"


def _last(edges: Sequence[Any]) -> str:
    return _number(edges[-1])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
