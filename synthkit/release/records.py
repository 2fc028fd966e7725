"""The provenance record of a synthetic image, its JSON Schema and its Arrow types."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from synthkit.conditioning import METHODS
from synthkit.levels import MAX_SCALE
from synthkit.recipe.filters import MAX_DRAWS
from synthkit.sources.base import END, RelativeId, Sha256, SourceImage
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from synthkit.recipe.schema import Recipe


Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
# The most scores of an image: of all gates.
MOST_SCORES = 5
# The power of anything below would be too large a number.
_LEAST_LOG_ODDS = -700.0


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of one synthetic image: KEY.json in a shard, a row of a table below `provenance/`.

    These are the fields that every format has; a record is one of the seven below, by its release's format.
    No field is ever null and each has one type, because `datasets` drops or truncates anything else.
    The fields, their types and meanings are explained in docs/provenance.md.
    """

    key: Annotated[str, Meta(pattern=f"^[0-9]{{9,}}{END}")]
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

    # The format whose records these are, and the name of the field with the digest that ties a record to its
    # recipe.
    FORMAT: ClassVar[int]
    DIGEST: ClassVar[str]
    # What its image is.
    WHAT: ClassVar[str] = "synthetic"

    @property
    def digest(self) -> str:
        """The digest that ties the record to its recipe."""
        return str(getattr(self, self.DIGEST))

    @property
    def version(self) -> str:
        """The version of synthkit that made the image."""
        return str(getattr(self, _VERSION))

    def to_json(self) -> bytes:
        """Return the bytes of KEY.json, fields in order; a record has exactly one form as bytes."""
        return msgspec.json.encode(self)

    def to_row(self) -> dict[str, Any]:
        """Return the record as plain Python types, keys in the order of the fields."""
        return msgspec.to_builtins(self, builtin_types=())  # type: ignore[no-any-return]


class Provenance1(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 1: it states the digest of the whole release."""

    FORMAT: ClassVar[int] = 1
    DIGEST: ClassVar[str] = "recipe_digest"

    recipe_digest: Sha256
    synthkit_version: str


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number by which a quality gate judged an image; `release/scores.py` says which there are.

    `nearest` is what the image was compared with: a real image, a class; empty where it was with nothing.
    """

    name: str
    value: float
    nearest: str


class Provenance2(Provenance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 2: it states the digest of what decides images, and stays as a release grows.

    It also keeps the scores by which quality gates judged the image, whether it passed or not.
    """

    FORMAT: ClassVar[int] = 2
    DIGEST: ClassVar[str] = "generation_digest"

    scores: Annotated[tuple[Score, ...], Meta(max_length=MOST_SCORES)]
    generation_digest: Sha256
    synthkit_version: str


class Provenance3(Provenance2, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 3: it also states how much the image counted against the text."""

    FORMAT: ClassVar[int] = 3

    scale: Annotated[float, Meta(ge=0, le=MAX_SCALE)]


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a classifier says of one of the draws of which one was kept (`release/candidates.py`).

    `rank` is that of the image's class among all, 1 for the classifier's first choice. `log_odds` are
    ln(p/(1-p)) of the probability p that the classifier gives to it: so draws differ whose p is nearly 1.
    """

    attempt: Count
    rank: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    log_odds: float

    @property
    def probability(self) -> float:
        """The probability that the classifier gives to the class, as a number of double precision."""
        return 1 / (1 + math.exp(-self.log_odds)) if self.log_odds > _LEAST_LOG_ODDS else 0.0


Candidates = Annotated[tuple[Candidate, ...], Meta(max_length=MAX_DRAWS)]


class Provenance4(Provenance2, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 4: as format 2, and it tells all draws of which its image was preferred."""

    FORMAT: ClassVar[int] = 4

    candidates: Candidates


class Provenance5(Provenance3, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 5: as format 3, and it tells all draws of which its image was preferred."""

    FORMAT: ClassVar[int] = 5

    candidates: Candidates


class Provenance6(Provenance2, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 6: it also states how much the real image was noised that its image began from."""

    FORMAT: ClassVar[int] = 6

    strength: Annotated[float, Meta(gt=0, le=1)]


class Provenance7(Provenance6, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 7: as format 6, and it tells all draws of which its image was preferred."""

    FORMAT: ClassVar[int] = 7

    candidates: Candidates


class Provenance8(Provenance2, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record of format 8: its image was not generated, but is a real one of another source.

    It states which one, and its similarity to the class's real images. `steps` are 0: nothing was sampled.
    """

    FORMAT: ClassVar[int] = 8
    WHAT: ClassVar[str] = "retrieved"

    steps: Annotated[int, Meta(ge=0, le=0)]
    retrieved_id: RelativeId
    retrieved_sha256: Sha256
    similarity: Annotated[float, Meta(ge=-1, le=1)]


# The most bytes of a record that is read.
MAX_RECORD = 1 << 20
_VERSION = "synthkit_version"
# The kind of record that the releases of a format have.
KINDS: dict[int, type[Provenance]] = {
    kind.FORMAT: kind
    for kind in (
        *(Provenance1, Provenance2, Provenance3, Provenance4, Provenance5),
        *(Provenance6, Provenance7, Provenance8),
    )
}


def candidates_of(record: Provenance) -> tuple[Candidate, ...] | None:
    """Return the candidates that a record tells of; None for a format that has none."""
    return record.candidates if isinstance(record, Provenance4 | Provenance5 | Provenance7) else None


def sampling_told(recipe: Recipe) -> dict[str, Any]:
    """Return what records say of sampling; of retrieved images, that there was none."""
    if METHODS[recipe.conditioning.method].retrieves:
        return {"guidance_scale": 1.0, "steps": 0, "scheduler": "none", "noise_level": 0}
    names = ("guidance_scale", "steps", "scheduler", "noise_level")
    return {name: getattr(recipe.sampler, name) for name in names}


def read_record(raw: bytes, form: int = FORMAT_VERSION) -> Provenance:
    """Read a record from the bytes of KEY.json, of a release of format `form`.

    Raises ValueError (msgspec.DecodeError) unless the bytes are exactly what `to_json` gives.
    """
    try:
        record = msgspec.json.decode(raw, type=KINDS[form])
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if record.to_json() != raw:
        raise ValueError("is not written as records are: keys repeated, out of order, or spaced out")
    return record


def record_schema(form: int = FORMAT_VERSION) -> dict[str, Any]:
    """Return the JSON Schema of a record of a format, which `synthkit schema provenance` prints."""
    kind = KINDS[form]
    schema = msgspec.json.schema(kind)
    provenance = schema["$defs"].pop(kind.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"synthkit provenance record, format {form}",
        "description": f"The history of one {kind.WHAT} image.",
        **{key: value for key, value in provenance.items() if key not in ("title", "description")},
        "$defs": schema["$defs"],
    }


def key_of(index: int) -> str:
    """Return the key of the image with an index: nine digits, without a dot, as WebDataset wants it."""
    return f"{index:09d}"


def arrow_schema(form: int = FORMAT_VERSION) -> pa.Schema:
    """Return the fields of a record as Arrow types, for the Parquet file and the features in the card.

    `form` is the format of the release.
    """
    import pyarrow as pa

    info = msgspec.inspect.type_info(KINDS[form])
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 (for the type checker)
    return pa.schema([pa.field(field.name, _arrow(field.type), nullable=False) for field in info.fields])


def table_of(records: Sequence[Provenance]) -> pa.Table:
    """Return provenance records as an Arrow table, one row each."""
    import pyarrow as pa

    kind = type(records[0]) if records else KINDS[FORMAT_VERSION]
    rows = [record.to_row() for record in records]
    columns = {name: [row[name] for row in rows] for name in kind.__struct_fields__}
    return pa.table(columns, schema=arrow_schema(kind.FORMAT))


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
