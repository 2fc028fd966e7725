"""Score files: NAME.json for people, beside it NAME.parquet with predictions, epochs and classes.

A Parquet file alone holds whole scores too: one, or all those of a study.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from synthkit.errors import ScoreError, one_line
from synthkit.release.bounded_parquet import check_tail
from synthkit.system.files import make_folder, write_file
from synthkit_eval.score import SCORE_FORMAT, Score
from synthkit_eval.score_detail import Detail, detail_of, row_of, schema
from synthkit_eval.score_pages import check_unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    import pyarrow as pa

TABLE = ".parquet"
MAX_BYTES = 1 << 28
_LONGEST_FOOTER = 1 << 20
_LONGEST_SCORE, _LONGEST_NAME = 1 << 22, 1 << 12
# Columns of text, which is read once for all rows that have it: a word of a megabyte that a million rows
# share takes no more than a megabyte.
_TEXTS = ("score", "ids.list.element", "classes.list.element.name", "classes.list.element.group")


class Limits(NamedTuple):
    """How large a Parquet file of scores may be: in bytes, unpacked, in values of its columns, in scores."""

    bytes: int
    unpacked: int
    values: int
    scores: int


# 400 scores of 5 runs on 50,000 images would have 10^8 predictions.
OWN = Limits(MAX_BYTES, 1 << 31, 300_000_000, 100_000)
# One score of 10 runs on 50,000 images has less than a million values.
HANDED_IN = Limits(1 << 25, 1 << 28, 10_000_000, 1000)


class Scored(NamedTuple):
    """A score and its detail."""

    score: Score
    detail: Detail


def holds_scores(path: Path) -> bool:
    """Return whether a Parquet file has the columns of scores."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_schema(path).equals(schema()))
    except (OSError, pa.ArrowException):
        return False


def write_score(scored: Scored, path: Path) -> None:
    """Write NAME.json and NAME.parquet, each whole or not at all, and their folder if it is missing."""
    write_scores([scored], path.with_suffix(TABLE))
    write_file(path, _as_json(scored.score).encode())


def write_scores(scored: Sequence[Scored], path: Path) -> None:
    """Write scores into one Parquet file, whole or not at all, and its folder if it is missing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([row_of(*one) for one in scored], schema=schema())
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", compression_level=19)
    make_folder(path.parent)
    write_file(path, stream.getvalue())


def read_score(path: Path) -> Score:
    """Read NAME.json alone. Raises ScoreError if it is missing or is not a score."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ScoreError(f"{path}: is too large to be a score")
        return _parse(path.read_bytes())
    except OSError as error:
        raise ScoreError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ScoreError(f"{path}: {error}") from None


def read_scored(path: Path) -> Scored:
    """Read NAME.json and NAME.parquet beside it. Raises ScoreError if one is missing or damaged."""
    score = read_score(path)
    return Scored(score, read_detail(score, path))


def read_detail(score: Score, path: Path) -> Detail:
    """Read NAME.parquet beside the score's NAME.json. Raises ScoreError if it is not that score's."""
    table = path.with_suffix(TABLE)
    found = read_scores(table)
    if [one.score for one in found] != [score]:
        raise ScoreError(f"{table}: does not belong to {path.name}; score the release again")
    return found[0].detail


def read_scores(path: Path, limits: Limits = OWN) -> list[Scored]:
    """Read all scores of a Parquet file. Raises ScoreError if it is missing, damaged or too large."""
    import pyarrow as pa

    try:
        if path.stat().st_size > limits.bytes:
            raise ScoreError(f"{path}: is too large to hold scores")
        found = []
        for row in _rows(path.read_bytes(), limits):
            score = _parse(row["score"])
            found.append(Scored(score, detail_of(row, score)))
    except OSError as error:
        raise ScoreError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from None
    except (ValueError, TypeError, KeyError, OverflowError, pa.ArrowException) as error:
        raise ScoreError(f"{path}: is damaged: {one_line(error)}; score the release again") from None
    if not found:
        raise ScoreError(f"{path}: holds no scores")
    return found


def _rows(content: bytes, limits: Limits) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file of scores. Raises ValueError for another file, or a larger one."""
    import pyarrow.parquet as pq

    stream = io.BytesIO(content)
    check_tail(stream, _LONGEST_FOOTER)
    file = pq.ParquetFile(stream)
    if not file.schema_arrow.equals(schema()):
        raise ValueError("its columns are not those of scores")
    if file.metadata.num_rows == 0:
        return
    check_unpacked(stream, file.metadata, limits.unpacked, limits.values)
    table = pq.ParquetFile(stream, read_dictionary=_TEXTS).read()
    if table.num_rows > limits.scores:
        raise ValueError("it holds too many scores")
    for batch in table.to_batches():
        yield from _rows_of(batch)


def _rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    scores, ids, names = batch.column("score"), batch.column("ids"), batch.column("classes").values
    texts = _words(scores.dictionary, _LONGEST_SCORE)
    words = _words(ids.values.dictionary, _LONGEST_NAME)
    for of_classes in ("name", "group"):
        _words(names.field(of_classes).dictionary, _LONGEST_NAME)
    rest = batch.drop_columns(["score", "ids"])
    for place, text in enumerate(scores.indices.to_pylist()):
        named = ids[place].values
        if named is None or named.null_count:
            raise ValueError("it does not name the evaluation images")
        row = rest.slice(place, 1).to_pylist()[0]
        of_images = [words[word] for word in named.indices.to_pylist()]
        yield row | {"score": "" if text is None else texts[text], "ids": of_images}


def _words(dictionary: pa.StringArray, longest: int) -> list[str]:
    """Return the words of a dictionary. Raises ValueError if one has more bytes than it may have."""
    import pyarrow.compute as pc

    most = pc.max(pc.binary_length(dictionary)).as_py() or 0
    if most > longest:
        raise ValueError(f"it has a text of {most:,} bytes")
    words: list[str] = dictionary.to_pylist()
    return words


def _parse(content: str | bytes) -> Score:
    """Return the score of a JSON text. Raises ValueError with the first key that is wrong."""
    try:
        return Score.model_validate_json(content)
    except ValidationError as error:
        form = _format(content)
        if form is not None and form != SCORE_FORMAT:
            raise ValueError(
                f"is a score of format {form}, this version reads format {SCORE_FORMAT}; "
                "score the release again"
            ) from None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"is not a score: {where}: {first['msg']}".replace(": : ", ": ")) from None


def _format(content: str | bytes) -> int | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    form = found.get("format_version") if isinstance(found, dict) and "trained_on" in found else None
    return form if isinstance(form, int) else None


def _as_json(score: Score) -> str:
    """Return JSON with a line for each key, and for each run."""
    lines = [f"  {_text(key)}: {_lines(value)}" for key, value in score.model_dump(mode="json").items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(value: object) -> str:
    """Return the JSON of a list, or of a section that has sections, with a line for each item."""
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"    {_text(item)}" for item in value) + "\n  ]"
    if isinstance(value, dict) and any(isinstance(item, dict) for item in value.values()):
        items = (f"    {_text(key)}: {_text(item)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + "\n  }"
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
