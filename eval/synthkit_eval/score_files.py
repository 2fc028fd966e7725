"""Score files: NAME.json for people, beside it NAME.parquet with predictions, epochs and classes.

A Parquet file alone holds whole scores too: one, or all those of a study.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from synthkit.errors import ScoreError, one_line
from synthkit.system.files import make_folder, write_file
from synthkit_eval.score import SCORE_FORMAT, Score
from synthkit_eval.score_detail import Detail, detail_of, row_of, schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyarrow.parquet import FileMetaData

TABLE = ".parquet"
MAX_BYTES = 1 << 28
# 400 scores of 5 runs on 50,000 images would have 10^8 predictions.
_MOST_VALUES = 300_000_000


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


def read_scores(path: Path) -> list[Scored]:
    """Read all scores of a Parquet file. Raises ScoreError if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ScoreError(f"{path}: is too large to hold scores")
        file = pq.ParquetFile(io.BytesIO(path.read_bytes()))
        if not file.schema_arrow.equals(schema()):
            raise ValueError("its columns are not those of scores")
        _check_size(file.metadata)
        rows = file.read().to_pylist()
        found = []
        for row in rows:
            score = _parse(row["score"] or "")
            found.append(Scored(score, detail_of(row, score)))
    except OSError as error:
        raise ScoreError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from None
    except (ValueError, TypeError, KeyError, OverflowError, pa.ArrowException) as error:
        raise ScoreError(f"{path}: is damaged: {one_line(error)}; score the release again") from None
    if not found:
        raise ScoreError(f"{path}: holds no scores")
    return found


def _check_size(metadata: FileMetaData) -> None:
    """Raise ValueError if a file holds more values than scores do: a small file can claim terabytes."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if sum(group.column(i).num_values for group in groups for i in range(group.num_columns)) > _MOST_VALUES:
        raise ValueError("it holds too many values")


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
