"""What a model makes of prompts, kept for the next image: up to a number of bytes, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class PromptCache:
    """Encodings of prompts, each made when it is first asked for; the least recently used go first.

    A prompt is encoded alone, so one that is encoded again gives the same bits.
    """

    def __init__(self, encode: Callable[[str], Any], max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._bytes = 0
        # In the order of their last use.
        self._kept: dict[str, Any] = {}

    def __getitem__(self, prompt: str) -> Any:
        """Return the encoding of a prompt: a tensor, or several in a tuple."""
        found = self._kept.pop(prompt, None)
        if found is None:
            found = self._encode(prompt)
            self._bytes += _bytes_of(found)
        self._kept[prompt] = found
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._bytes -= _bytes_of(self._kept.pop(next(iter(self._kept))))
        return found

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)


def _bytes_of(encoding: Any) -> int:
    return sum(map(_bytes_of, encoding)) if isinstance(encoding, tuple) else int(encoding.nbytes)
