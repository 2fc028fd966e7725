"""Captions of real images, from a file with the columns `id` and `caption`: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from synthkit.errors import SourceError, one_line
from synthkit.recipe.prompts import LONGEST_CAPTION
from synthkit.system.names import fault_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from synthkit.recipe.captions import Captions

# A file of 1.3 million captions has some 150 MB.
MOST_BYTES = 1 << 29
_COLUMNS = ("id", "caption")


def read_captions(config: Captions, wanted: Collection[str]) -> dict[str, str]:
    """Return the captions of images by their ids.

    Rows of other images are skipped. Raises SourceError if the file cannot be read or has another SHA-256
    than the recipe says, or if an image has no caption, two, or one that no prompt can hold.
    """
    where = f"captions.file: {config.file}"
    with _errors(where):
        found, first = _of_images(_rows(config), set(wanted))
    missing = [name for name in wanted if name not in found]
    if missing:
        like = f"; the ids in the file are like {first!r:.80}" if first is not None and not found else ""
        raise SourceError(
            f"{where}: has no caption of {len(missing):,} of {len(wanted):,} real images, the first of them "
            f"{missing[0]!r:.80}{like}"
        )
    return found


def usable_captions(config: Captions) -> dict[str, str]:
    """Return all captions of a file by their ids; rows that no prompt can hold are left out.

    Raises SourceError if the file cannot be read or has another SHA-256 than the recipe says.
    """
    found: dict[str, str] = {}
    with _errors(f"captions.file: {config.file}"):
        for place, name, caption in _rows(config):
            with suppress(ValueError):
                found.setdefault(str(name), _usable(caption, place))
    return found


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn what can be wrong with a file into a SourceError of one line."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{where}: {error.strerror or 'cannot be read'}") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: {one_line(error, longest=None)}") from None


def _rows(config: Captions) -> Iterator[tuple[str, Any, Any]]:
    """Yield the rows of a file: the place of each, its id and its caption. Raises ValueError or OSError."""
    read = _FORMS.get(config.path.suffix.lower())
    if read is None:
        raise ValueError(f"must end in {', '.join(_FORMS)}")
    # Read once: what is hashed is what is parsed.
    with config.path.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES:,} bytes; leave out what is not id and caption")
    if config.sha256 is not None and hashlib.sha256(content).hexdigest() != config.sha256:
        raise ValueError("has another content than captions.sha256 says; get the original file")
    yield from read(content)


def _of_images(rows: Iterable[tuple[str, Any, Any]], wanted: set[str]) -> tuple[dict[str, str], str | None]:
    """Return the captions of the wanted images, and the first id that there is. Raises ValueError."""
    found: dict[str, str] = {}
    first = None
    for place, name, caption in rows:
        if not isinstance(name, str):
            raise ValueError(f"{place}: the id is {name!r:.40}, and must be text")
        first = name if first is None else first
        if name not in wanted:
            continue
        if name in found:
            raise ValueError(f"{place}: {name!r:.80} has a caption already; keep one of them")
        found[name] = _usable(caption, f"{place}: the caption of {name!r:.80}")
    return found, first


def _usable(caption: Any, what: str) -> str:
    if caption is None or (isinstance(caption, str) and not caption.strip()):
        raise ValueError(f"{what} is empty")
    if not isinstance(caption, str):
        raise ValueError(f"{what} is {caption!r:.40}, and must be text")
    if len(caption) > LONGEST_CAPTION:
        raise ValueError(f"{what} has {len(caption):,} characters, {LONGEST_CAPTION:,} at most")
    fault = fault_in(caption)
    if fault:
        raise ValueError(f"{what} cannot be in a prompt: {fault}; put it on one line")
    return caption


def _csv(content: bytes) -> Iterator[tuple[str, Any, Any]]:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    rows = csv.reader(text, strict=True)
    try:
        header = next(rows, [])
        if not set(_COLUMNS) <= set(header):
            raise ValueError(
                f"must begin with a line that names the columns id and caption, is {header!s:.60}"
            )
        name, caption = (header.index(column) for column in _COLUMNS)
        for row in rows:
            if row and len(row) != len(header):
                raise ValueError(f"line {rows.line_num}: has {len(row)} values for {len(header)} columns")
            if row:
                yield f"line {rows.line_num}", row[name], row[caption]
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: is not CSV: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def _json_lines(content: bytes) -> Iterator[tuple[str, Any, Any]]:
    for number, line in enumerate(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError:
            raise ValueError(f"line {number}: is not UTF-8 text") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: is not JSON: {one_line(error)}") from None
        if not isinstance(row, dict) or not set(_COLUMNS) <= row.keys():
            raise ValueError(f"line {number}: must be an object with id and caption")
        yield f"line {number}", row["id"], row["caption"]


def _parquet(content: bytes) -> Iterator[tuple[str, Any, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            if not set(_COLUMNS) <= set(file.schema_arrow.names):
                raise ValueError(f"has no columns id and caption, but {', '.join(file.schema_arrow.names)}")
            for batch in file.iter_batches(batch_size=4096, columns=list(_COLUMNS)):
                ids, captions = (batch.column(column).to_pylist() for column in _COLUMNS)
                for name, caption in zip(ids, captions, strict=True):
                    number += 1
                    yield f"row {number}", name, caption
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"is not Parquet: {one_line(error)}") from None


_FORMS: dict[str, Callable[[bytes], Iterator[tuple[str, Any, Any]]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
