"""What a container of samples does: write shards, read them, and check one that may be a stranger's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from synthkit.release.records import Provenance


class Shard(NamedTuple):
    """A shard to read: its file, and what its release says of it.

    `first` is the index of its first image, `extension` that of its image files, `form` the format of the
    release.
    """

    path: Path
    first: int
    extension: str
    form: int


class Place(NamedTuple):
    """Where an image file lies inside its shard: offset and size in bytes; and its label."""

    offset: int
    size: int
    label: int


@dataclass(slots=True)
class Found:
    """A sample as it lies in a shard; `record` is None if it cannot be read, and `faults` say what is wrong.

    A fault says which sample it is about.
    """

    record: Provenance | None
    image: bytes
    faults: list[str] = field(default_factory=list)


class SampleWriter(Protocol):
    """Writes the samples of one shard into a stream; equal samples give equal bytes."""

    def write(self, record: Provenance, image: bytes) -> None:
        """Add one sample: a record, and the bytes of its image file."""
        ...

    def close(self) -> None:
        """Write what ends the shard. The stream stays open."""
        ...

    def abandon(self) -> None:
        """Write no more: the shard is not going to be whole, and its stream may be closed already."""
        ...


class Container(Protocol):
    """A kind of shard.

    A shard may be a stranger's: no size that it states is trusted beyond the length of its file. All readers
    raise OSError, or ValueError in a sentence about `it` or a sample, if it is not one that a build writes.
    """

    # The type of the file (IANA), and the fewest bytes that a sample takes in it.
    media_type: str
    least_per_sample: int

    def writer(self, stream: IO[bytes], extension: str) -> SampleWriter:
        """Return what writes a shard, whose image files have an extension, into a stream."""
        ...

    def read_some(self, shard: Shard, indices: Sequence[int]) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the records and the image files with some indices, which ascend; the others are not read.

        Raises ValueError if one is not there.
        """
        ...

    def read_all(self, shard: Shard) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the record and the image file of every sample."""
        ...

    def places(self, shard: Shard) -> Iterator[Place]:
        """Yield where each image lies in the file, so that images can be read in any order."""
        ...

    def inspect(self, shard: Shard, environment: Mapping[str, str]) -> Iterator[Found]:
        """Yield every sample, with all that is wrong with how it is stored, down to single bytes.

        `environment` is the one that the shard is said to have been made in. Raises what the other readers
        raise where the rest of the shard cannot be read, and if the shard as a whole has bytes that no build
        in that environment writes.
        """
        ...
