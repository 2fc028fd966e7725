"""The frozen records that travel through a build: what was read, what is planned, what was made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Listing:
    """Every real image of a source, known without opening one.

    `ids` are stable and relative to the source; `labels` is (N,) int32 into `classes`.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A real image as provenance names it: its relative id and the SHA-256 of its content."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A real image that could not be read, and why; listed in the manifest."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One row of a plan: everything that decides an image before the model runs.

    `sources` are positions in the source's listing: two for methods that mix, one for those that do
    not, none for text-only. `seed` (63 bits) is the only source of randomness from here on.
    """

    index: int
    label: int
    sources: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """The record of one synthetic image: KEY.json in a shard, a row of provenance/train.parquet.

    No field is ever null and each has one type, because `datasets` drops or truncates anything else.
    The fields, their types and meanings are the table in docs/releases.md.
    """

    key: str
    label: int
    class_name: str
    prompt: str
    method: str
    sources: tuple[SourceImage, ...]
    lam: float
    region: tuple[int, ...]
    crops: tuple[tuple[int, ...], ...]
    dropout: float
    guidance_scale: float
    steps: int
    scheduler: str
    noise_level: int
    seed: int
    model: str
    revision: str
    batch_size: int
    width: int
    height: int
    image_sha256: str
    attempt: int
    rejected: tuple[str, ...]
    recipe_digest: str
    synthkit_version: str

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON types, keys in the order of the fields."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def key_of(index: int) -> str:
    """The key of a sample: its index in the release, zero-padded, without a dot (WebDataset)."""
    return f"{index:09d}"


def arrow_schema() -> pa.Schema:
    """The provenance record as Arrow types; the Parquet file and the card's features follow from it."""
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    types = {
        "str": text,
        "int": whole,
        "float": real,
        "tuple[SourceImage, ...]": pa.list_(pa.struct([("id", text), ("sha256", text)])),
        "tuple[int, ...]": pa.list_(whole),
        "tuple[tuple[int, ...], ...]": pa.list_(pa.list_(whole)),
        "tuple[str, ...]": pa.list_(text),
    }
    return pa.schema(
        [pa.field(field.name, types[str(field.type)], nullable=False) for field in fields(Provenance)]
    )
