"""Decodes the images of a release in a training loop, in the format of their name.

`datasets` would try every format that Pillow knows, and Pillow starts other programs for some of them.
Decoded here are columns called png, jpg or webp, which are members of a tar, and a column `image` with the
columns of a record beside it, which is that of a Parquet shard. Other columns are left to their data set.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import ChainDataset  # noqa: TID253 (loaded by `synthkit.training` alone)

from synthkit.errors import ReleaseError, UnreadableImage
from synthkit.release.image_header import FORMATS
from synthkit.release.records import KINDS, read_record
from synthkit.release.shard_reader import decode_image
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

_FIELDS = {frozenset(kind.__struct_fields__) for kind in KINDS.values()}
# The column of images in a Parquet shard, and columns of its records that no other data set has.
_IMAGE, _BESIDE = "image", frozenset({"key", "width", "height", "image_sha256", "synthkit_version"})


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file of a release.

    `key` and `size` (width and height) are those of its record; without a record, `key` is a description
    and `size` None.
    """

    raw: bytes
    extension: str
    key: str
    size: tuple[int, int] | None

    def pixels(self) -> Image.Image:
        """Decode the RGB image. Raises ReleaseError if that fails or it is not what its record says."""
        if self.size is not None:
            return decode_image(self.raw, self.key, self.extension, self.size)
        try:
            return decode(self.raw, self.key, (FORMATS[self.extension],))
        except UnreadableImage as error:
            raise ReleaseError(str(error)) from None


def encoded(row: Mapping[str, Any], column: str) -> Any:
    """Return what a row holds in a column; an image file of a release becomes an EncodedImage."""
    cell = row[column]
    raw = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(raw, bytes):
        return cell
    if column == _IMAGE and row.keys() >= _BESIDE:
        return _of_parquet(row, raw, str(cell.get("path")) if isinstance(cell, Mapping) else "")
    if column not in FORMATS:
        return cell
    record = _record(row.get("json"))
    if record is None:
        return EncodedImage(raw, column, f"an image in column {column}", None)
    return EncodedImage(raw, column, str(record["key"]), (int(record["width"]), int(record["height"])))


def undecoded(dataset: Any) -> Any:
    """Return a data set whose rows hold image files of a release where `datasets` would decode them."""
    for column in _decoded_columns(dataset):
        dataset = _without_decoding(dataset, column)
    return dataset


def rows_of(stream: Any) -> Iterator[Any]:
    """Yield the rows of a stream, with image files of a release where `datasets` would decode them.

    The stream's own position advances with the rows, so that it can be saved and resumed.
    """
    if type(stream) is ChainDataset:
        for part in stream.datasets:
            yield from rows_of(part)
        return
    other = undecoded(stream)
    if other is stream:
        yield from stream
        return
    other._epoch, other._starting_state_dict = stream._epoch, stream._starting_state_dict
    for row in other:
        stream._state_dict = other._state_dict
        yield row


def _decoded_columns(dataset: Any) -> list[str]:
    """Return the columns of images of a release that `datasets` would decode before it yields a row."""
    if "datasets" not in sys.modules:
        return []
    import datasets

    if isinstance(dataset, datasets.Dataset):
        plain = dataset.format["type"] is None
    else:
        plain = isinstance(dataset, datasets.IterableDataset) and dataset._formatting is None
    features = dataset.features if plain else None
    if not features:
        return []
    names = [*FORMATS, _IMAGE] if features.keys() >= _BESIDE else FORMATS
    kinds = {name: features[name] for name in names if name in features}
    return [name for name, kind in kinds.items() if isinstance(kind, datasets.Image) and kind.decode]


def _without_decoding(dataset: Any, column: str) -> Any:
    import datasets

    return dataset.cast_column(column, datasets.Image(decode=False))


def _of_parquet(row: Mapping[str, Any], raw: bytes, name: str) -> EncodedImage:
    """Return the image file in a row of a Parquet shard. Raises ReleaseError for a name no release has."""
    key, extension = str(row["key"]), name.rpartition(".")[2]
    if extension not in FORMATS:
        raise ReleaseError(f"image {key:.40} is called {name!r:.80}: no release has such an image file")
    return EncodedImage(raw, extension, key, (int(row["width"]), int(row["height"])))


def _record(cell: Any) -> Mapping[str, Any] | None:
    """Return the record in a column `json`; None if another data set holds something else there."""
    if isinstance(cell, bytes):
        for form in KINDS:
            with suppress(ValueError):
                return read_record(cell, form).to_row()
        return None
    return cell if isinstance(cell, Mapping) and frozenset(cell) in _FIELDS else None
