"""The columns of a data set of `datasets`: the one of images and the one of labels, checked and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from synthkit.recipe.families import HubSourceConfig

# Usual names of columns of labels.
_LABELS = ("label", "labels", "class", "category", "target", "fine_label", "label_name", "class_name", "y")


def check_columns(dataset: Any, config: HubSourceConfig) -> None:
    """Raise SourceError if a column that a recipe names is missing; it lists those that could be meant."""
    for field, likely in (("image", _images_in(dataset)), ("label", _labels_in(dataset))):
        column = getattr(config, field)
        if column not in dataset.column_names:
            meant = f"; set source.{field} to {' or '.join(likely)}" if likely else _no_labels(dataset, field)
            raise SourceError(
                f"source.{field}: {config.id} has no column {column!r}; it has "
                f"{', '.join(dataset.column_names)}{meant}"
            )


def undecoded(dataset: Any, config: HubSourceConfig) -> Any:
    """Return the data set with the column of images alone, called `image`, and its images not decoded.

    A cell is bytes or {bytes, path}. Raises SourceError if the column holds neither images nor bytes, nor
    {bytes, path} as pandas writes them.
    """
    import datasets

    kind = dataset.features[config.image]
    only = dataset.select_columns([config.image])
    if config.image != "image":
        only = only.rename_column(config.image, "image")
    if isinstance(kind, datasets.Image):
        return only.cast_column("image", datasets.Image(decode=False))
    if _holds_files(kind):
        return only
    images = _images_in(dataset)
    known = f"; columns of images: {', '.join(images)}" if images else ""
    raise SourceError(
        f"source.image: column {config.image!r} of {config.id} holds no images but {_told(kind)}{known}"
    )


def labels_of(dataset: Any, config: HubSourceConfig) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the class names and the (N,) int32 labels.

    The classes are those of a ClassLabel, else the column's values in order: names, whole numbers (pandas
    writes them as 1.0), or true and false. Raises SourceError for other values and for gaps.
    """
    import datasets

    where = f"source.label: column {config.label!r} of {config.id}"
    column = _plain(dataset.select_columns([config.label]).with_format("arrow")[:].column(0), where)
    kind = dataset.features[config.label]
    if isinstance(kind, datasets.ClassLabel) and kind.names:
        labels = column.to_numpy().astype(np.int32)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(kind.names):
            raise SourceError(
                f"{where} has labels from {labels.min()} to {labels.max()}; is this split labelled?"
            )
        return tuple(kind.names), labels
    values, labels = np.unique(column.to_numpy(zero_copy_only=False), return_inverse=True)
    return tuple(str(value) for value in values), labels.astype(np.int32)


def _plain(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Return a column of names, whole numbers or booleans. Raises SourceError for others and for gaps."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = column.null_count
    if types.is_floating(column.type):
        missing += pc.sum(pc.is_nan(column)).as_py() or 0
    if missing:
        raise SourceError(f"{where} has {missing:,} rows without a label; leave those rows out")
    if types.is_floating(column.type) and pc.all(pc.equal(column, pc.round(column))).as_py():
        return column.cast(pa.int64())
    known = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)
    if not any(fits(column.type) for fits in known):
        lists = types.is_list(column.type) or types.is_large_list(column.type)
        advice = "; an image has one label" if lists else ""
        raise SourceError(f"{where} holds neither whole numbers nor names but {column.type}{advice}")
    return column


def _holds_files(kind: Any) -> bool:
    """Return whether a feature holds the content of files: bytes, or a struct with `bytes`."""
    if isinstance(kind, dict):
        return "bytes" in kind and set(kind) <= {"bytes", "path"} and _holds_files(kind["bytes"])
    return getattr(kind, "dtype", None) in ("binary", "large_binary")


def _images_in(dataset: Any) -> list[str]:
    import datasets

    return [
        name
        for name, kind in dataset.features.items()
        if isinstance(kind, datasets.Image) or _holds_files(kind)
    ]


def _labels_in(dataset: Any) -> list[str]:
    import datasets

    features = dataset.features.items()
    named = [name for name, kind in features if isinstance(kind, datasets.ClassLabel)]
    return named or [name for name in dataset.column_names if name.lower() in _LABELS]


def _no_labels(dataset: Any, field: str) -> str:
    """Return what to do about an image folder without labels, as the end of an error."""
    if field == "label" and dataset.column_names == ["image"]:
        return "; of a folder of images use `kind: folder`, or put each into train/CLASS/"
    return ""


def _told(kind: Any) -> str:
    """Return a feature in words, and what to do about it where that is known."""
    import datasets

    if isinstance(kind, (list, datasets.List, datasets.LargeList)):
        return f"lists ({kind}); each row must hold one image"
    if getattr(kind, "dtype", None) in ("string", "large_string"):
        return "text; where it is the images' paths, use `kind: listing`"
    return str(kind)
