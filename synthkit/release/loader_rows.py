"""Rows of data sets in a training loop: image and label, and the first rows of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# Loaded by `synthkit.training` alone.
from torch.utils.data import Dataset, IterableDataset, Subset  # noqa: TID253

from synthkit.release.loader_images import encoded, rows_of, undecoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_IMAGE = ("png", "jpg", "webp", "image", "img")
LABEL = ("cls", "label")


def image_and_label(row: Any) -> tuple[Any, int]:
    """Return the image of a row, as it came, and its label. Raises ValueError if it has no such columns."""
    image, label = _columns(row) if isinstance(row, Mapping) else row[:2]
    return image, int(label)


def _columns(row: Mapping[str, Any]) -> tuple[Any, Any]:
    image = next((encoded(row, name) for name in _IMAGE if name in row), None)
    label = next((row[name] for name in LABEL if name in row), None)
    if image is None or label is None:
        raise ValueError(
            f"a row has {', '.join(row)}: it needs one of {', '.join(_IMAGE)} and of {', '.join(LABEL)}"
        )
    return image, label


def is_stream(dataset: Any) -> bool:
    """Return whether a data set can only be read from its beginning."""
    kind = type(dataset)
    # PyTorch's base class has a __getitem__ that only raises an error.
    by_number = getattr(kind, "__getitem__", Dataset.__getitem__) is not Dataset.__getitem__
    sized = hasattr(kind, "__len__") or not hasattr(kind, "__iter__")
    return isinstance(dataset, IterableDataset) or not (by_number and sized)


def first_of_each_class(dataset: Any, count: int) -> Any:
    """Return a data set or stream of the first `count` rows of each class, of a class with fewer all.

    The labels of a map-style data set are read at once, those of a stream as its rows come. Raises ValueError
    if `count` is below 1, or if it is more than a map-style data set has of any class.
    """
    if count < 1:
        raise ValueError(f"synthetic_per_class: is {count}; it must be at least 1")
    if is_stream(dataset):
        return _FirstOfEachClass(dataset, count)
    seen: Counter[int] = Counter()
    chosen = []
    for place, label in enumerate(_labels(dataset)):
        seen[label] += 1
        if seen[label] <= count:
            chosen.append(place)
    most = max(seen.values(), default=0)
    if seen and count > most:
        raise ValueError(f"synthetic_per_class: is {count}, but there are {most} images of a class at most")
    return Subset(undecoded(dataset), chosen)


def _labels(dataset: Any) -> Iterator[int]:
    features = getattr(dataset, "features", None)
    column = next((name for name in LABEL if isinstance(features, Mapping) and name in features), None)
    if column is not None:
        yield from map(int, dataset[column])
        return
    rows = undecoded(dataset)
    for place in range(len(rows)):
        yield image_and_label(rows[place])[1]


class _FirstOfEachClass(IterableDataset[Any]):
    """The first rows of each class in a stream; to be read by one process, for only that sees all rows."""

    def __init__(self, stream: Iterable[Any], count: int) -> None:
        self._stream, self._count = stream, count

    def __iter__(self) -> Iterator[Any]:
        seen: Counter[int] = Counter()
        for row in rows_of(self._stream):
            label = image_and_label(row)[1]
            seen[label] += 1
            if seen[label] <= self._count:
                yield row
