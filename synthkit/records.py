"""The frozen records that travel through a build: what was read, what is planned, what was made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

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


# Raised when the same recipe would give other bytes: a change of plan, records, tars or encoding.
FORMAT_VERSION = 1

# Of an image, in pixels: what a recipe may ask for, and the most that anyone who reads it makes room for.
MAX_EDGE = 4096

# `$` alone would let a line feed follow, as Python reads it; JSON Schema has no `\Z`.
_END = r"$(?!\n)"
Sha256 = Annotated[str, Meta(pattern=f"^[0-9a-f]{{64}}{_END}")]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
# Absolute paths, ways out, control characters and ends of lines have no place in a record.
_RELATIVE = rf"^(?!/)(?!(.*/)?\.\.(/|$))[^\\\u0000-\u001f\u007f-\u009f\u2028\u2029]+{_END}"
RelativeId = Annotated[str, Meta(pattern=_RELATIVE, min_length=1)]


class SourceImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A real image as provenance names it: its relative id and the SHA-256 of its content."""

    id: RelativeId
    sha256: Sha256


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


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of one synthetic image: KEY.json in a shard, a row of provenance/train.parquet.

    No field is ever null and each has one type, because `datasets` drops or truncates anything else.
    The fields, their types and meanings are explained in docs/provenance.md.
    """

    key: Annotated[str, Meta(pattern=f"^[0-9]{{9,}}{_END}")]
    label: Count
    class_name: str
    prompt: str
    method: str
    sources: Annotated[tuple[SourceImage, ...], Meta(max_length=2)]
    lam: Share
    region: tuple[Count, ...]
    crops: tuple[tuple[Count, ...], ...]
    dropout: Share
    guidance_scale: Annotated[float, Meta(ge=1)]
    steps: Annotated[int, Meta(ge=1)]
    scheduler: str
    noise_level: Count
    seed: Count
    model: str
    revision: str
    batch_size: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]
    image_sha256: Sha256
    attempt: Count
    rejected: tuple[str, ...]
    recipe_digest: Sha256
    synthkit_version: str

    def to_json(self) -> bytes:
        """The record as the bytes of KEY.json: the one way to write it, in the order of the fields."""
        return msgspec.json.encode(self)

    def to_row(self) -> dict[str, Any]:
        """The record as plain types, keys in the order of the fields."""
        return msgspec.to_builtins(self, builtin_types=())  # type: ignore[no-any-return]


def is_relative_id(text: str) -> bool:
    """Whether a text can be the id of a real image in a record."""
    return re.search(_RELATIVE, text) is not None


def read_record(raw: bytes) -> Provenance:
    """A record from the bytes of KEY.json. Raises ValueError (msgspec.DecodeError) for anything else."""
    try:
        record = msgspec.json.decode(raw, type=Provenance)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if record.to_json() != raw:
        raise ValueError("is not written as records are: keys repeated, out of order, or spaced out")
    return record


def record_schema() -> dict[str, Any]:
    """The JSON Schema of a record (`synthkit schema provenance`)."""
    schema = msgspec.json.schema(Provenance)
    provenance = schema["$defs"].pop("Provenance")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"synthkit provenance record, format {FORMAT_VERSION}",
        "description": "The history of one synthetic image.",
        **{key: value for key, value in provenance.items() if key not in ("title", "description")},
        "$defs": schema["$defs"],
    }


def key_of(index: int) -> str:
    """The key of a sample: its index in the release, zero-padded, without a dot (WebDataset)."""
    return f"{index:09d}"


def arrow_schema() -> pa.Schema:
    """The provenance record as Arrow types; the Parquet file and the card's features follow from it."""
    import pyarrow as pa

    info = msgspec.inspect.type_info(Provenance)
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 (for the type checker)
    return pa.schema([pa.field(field.name, _arrow(field.type), nullable=False) for field in info.fields])


def _arrow(kind: msgspec.inspect.Type) -> pa.DataType:
    import pyarrow as pa

    match kind:
        case msgspec.inspect.IntType():
            return pa.int64()
        case msgspec.inspect.FloatType():
            return pa.float64()
        case msgspec.inspect.VarTupleType(item_type=item):
            return pa.list_(_arrow(item))
        case msgspec.inspect.StructType(fields=fields):
            return pa.struct([(field.name, _arrow(field.type)) for field in fields])
    return pa.string()
