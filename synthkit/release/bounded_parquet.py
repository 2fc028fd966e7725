"""What every reader of a stranger's Parquet file asks before it reads a row.

No number in the file is trusted beyond what its release can need and the file's own length: the length of the
footer is checked before it is parsed, and so are the numbers of values before they are unpacked.

Source: the Apache Parquet format, and Arrow's reader of it.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from synthkit.errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow.parquet as pq

_TAIL = 8
# The most values that a row has in a column of lists; any other column has one.
_MOST_VALUES = {"sources": 2, "region": 4, "crops": 8, "rejected": 100, "scores": 5, "candidates": 100}


def check_tail(stream: IO[bytes], longest: int) -> int:
    """Return the file's size in bytes.

    Raises ValueError if the file does not end as Parquet, or has a footer of more than `longest` bytes.
    """
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _TAIL))
    length, magic = struct.unpack("<I4s", stream.read().rjust(_TAIL))
    if magic != b"PAR1" or size <= _TAIL:
        raise ValueError("it is not a Parquet file: it does not end as one")
    if length > longest:
        raise ValueError(f"its footer has {length:,} bytes")
    return size


def check_values(column: pq.ColumnChunkMetaData, rows: int) -> None:
    """Raise ValueError if a column says it has more values than so many records can have."""
    name = column.path_in_schema
    most = rows * _MOST_VALUES.get(name.partition(".")[0], 1)
    if column.num_values > most or column.file_path:
        raise ValueError(f"its column {name} says it has {column.num_values:,} values for {rows:,} rows")


@contextmanager
def parquet_errors() -> Iterator[None]:
    """Turn any error of Arrow inside the block, or of the disk, into a ValueError of one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(one_line(told)) from None
