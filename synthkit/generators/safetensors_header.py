"""What a file of weights holds, by its header alone: names, types and shapes of tensors.

Source: the safetensors format, github.com/huggingface/safetensors, whose library reads and checks it.
"""

from __future__ import annotations

import math
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import GeneratorError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Bytes. The headers of the largest models have less than one million, and the format allows a hundred.
LONGEST = 16 << 20


class Tensor(NamedTuple):
    """The type of a tensor, as the format spells it (F16, BF16, F32 …), and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


def read_header(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name; none of their numbers is read.

    Raises GeneratorError, which begins with the recipe's key, for a file that is damaged or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        _check_length(path)
        with safe_open(path, framework="np") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
            return {name: Tensor(part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
    except OSError as error:
        raise GeneratorError(f"{key}: {path.name} cannot be read: {error.strerror or error}") from None
    except (ValueError, SafetensorError) as error:
        raise GeneratorError(
            f"{key}: {path.name} is no safetensors file, or a damaged one: {one_line(error)}"
        ) from None


def bytes_in(tensors: Iterable[Tensor], float_bytes: int) -> int:
    """Return the bytes of tensors in memory if each floating-point number takes `float_bytes`."""
    return sum(tensor.numbers * _width(tensor.dtype, float_bytes) for tensor in tensors)


def _width(dtype: str, float_bytes: int) -> int:
    if dtype.startswith(("F", "BF")):
        return float_bytes
    bits = re.search(r"\d+", dtype)
    # Truth values take a byte each.
    return max(int(bits[0]) // 8, 1) if bits else 1


def _check_length(path: Path) -> None:
    """Raise ValueError for what is no file, or whose header is said to be longer than any model's."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > LONGEST:
        raise ValueError(f"its header is said to have {length:,} bytes")
