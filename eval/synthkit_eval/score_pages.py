"""How much a Parquet file of scores unpacks to, told by the headers of its pages before anything is unpacked.

A few bytes can unpack to any size: compressed pages, repeated values, words that share their beginnings. The
file's footer says how much that is, and need not tell the truth. Arrow goes by the headers of the pages.

Source: the Apache Parquet format (page headers, encodings) and Thrift's compact protocol.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData

# Fields of PageHeader, by their numbers: the size of the content before and after compression, and the three
# kinds of pages with the fields of theirs that tell the values and their encoding.
_UNPACKED, _PACKED = 2, 3
_KINDS = {5: (1, 2), 7: (1, 2), 8: (1, 4)}
# PLAIN, PLAIN_DICTIONARY, RLE and RLE_DICTIONARY: with any other, a value may repeat parts of earlier ones.
_FORMS = (0, 2, 3, 8)
_DEEPEST = 4
# The values that a page counts at least, so that there are not too many of them to look at.
_OF_A_PAGE = 100
# Types of Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 12

_Struct = dict[int, "int | _Struct"]


class Unpacked(NamedTuple):
    """What pages unpack to: bytes, and values in columns."""

    bytes: int
    values: int


def check_unpacked(stream: IO[bytes], metadata: FileMetaData, most_bytes: int, most_values: int) -> None:
    """Raise ValueError if pages unpack to more bytes or values, or are of a form that no score has."""
    size = values = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            for page in _pages(stream, column):
                size, values = size + page.bytes, values + max(page.values, _OF_A_PAGE)
                if size > most_bytes or values > most_values:
                    raise ValueError("it holds too many values")


def _pages(stream: IO[bytes], column: ColumnChunkMetaData) -> Iterator[Unpacked]:
    if column.file_path:
        raise ValueError("it names another file")
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
        start = column.dictionary_page_offset
    end = start + column.total_compressed_size
    if not 0 < start <= end <= stream.seek(0, 2):
        raise ValueError("a column of it does not lie in the file")
    while start < end:
        header = _Reader(stream, start, end)
        fields = header.struct()
        page, length = _page(fields), fields.get(_PACKED)
        if not isinstance(length, int) or length < 0:
            raise ValueError("a page of it has no length")
        yield page
        start = header.at + length


def _page(header: _Struct) -> Unpacked:
    size = header.get(_UNPACKED)
    found = [(part, fields) for kind, fields in _KINDS.items() if isinstance(part := header.get(kind), dict)]
    if not isinstance(size, int) or size < 0 or len(found) != 1:
        raise ValueError("a page of it is of no kind that scores have")
    (of_kind, (count, encoding)), *_ = found
    values, form = of_kind.get(count), of_kind.get(encoding)
    if not isinstance(values, int) or values < 0 or form not in _FORMS:
        raise ValueError("a page of it is packed in a way that scores are not")
    return Unpacked(size, values)


class _Reader:
    """Reads a struct of numbers, bytes and structs from a file; `at` is where it ends, at most at `end`."""

    def __init__(self, stream: IO[bytes], start: int, end: int) -> None:
        self._stream, self.at, self._end = stream, start, end

    def struct(self, depth: int = 0) -> _Struct:
        """Return the fields that are numbers or structs, by their numbers. Raises ValueError for others."""
        found: _Struct = {}
        field = 0
        while (head := self._byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            if kind in _INTEGERS:
                found[field] = self._number()
            elif kind == _STRUCT and depth < _DEEPEST:
                found[field] = self.struct(depth + 1)
            elif kind in (_BYTE, _DOUBLE, _BINARY):
                self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._varint())
            elif kind not in (_TRUE, _FALSE):
                raise ValueError("a page of it has a header that no writer of scores makes")
        return found

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > self._end:
            raise ValueError("a page of it has a header that does not end")

    def _byte(self) -> int:
        self._skip(1)
        self._stream.seek(self.at - 1)
        return self._stream.read(1)[0]

    def _varint(self) -> int:
        """Return a number of seven bits a byte, the lowest first, the last byte below 0x80."""
        value = shift = 0
        while (byte := self._byte()) >= 0x80 and shift < 64:
            value |= (byte & 0x7F) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        """Return a signed number, whose lowest bit is the sign (zigzag)."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
