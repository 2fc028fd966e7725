"""The progress display of a build, which all its workers share."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from synthkit.system.progress import progress

if TYPE_CHECKING:
    from types import TracebackType

    from synthkit.system.progress import Advance


class Display:
    """Shows embedding, then generating (or what `making` says): `total` images, `done` of them before.

    Counts the `images` made now, and those that were lost with a worker and made again.
    """

    def __init__(self, total: int, done: int, making: str = "generating") -> None:
        self._making = making
        self._total, self._done = total, done
        self.images = self.lost_images = 0
        self._shown = ExitStack()
        self._phase = ""
        self._advance: Advance | None = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since making images began."""
        return time.monotonic() - self._began

    def embedded(self, images: int, total: int) -> None:
        """Show that so many more real images, of the total to embed, have an embedding."""
        self._show("embedding real images", total, 0)(images)

    def kept(self, images: int) -> None:
        """Show that an earlier build made so many images of a shard."""
        self._show(self._making, self._total, self._done).known(images)

    def made(self, images: int) -> None:
        """Show that so many more images are made."""
        self.images += images
        self._show(self._making, self._total, self._done)(images)

    def lost(self, kept: int, made: int) -> None:
        """Take back images of a shard that were lost with their worker: those kept, and those made."""
        self.lost_images += kept + made
        self.images -= made
        making = self._show(self._making, self._total, self._done)
        making.known(-kept)
        making(-made)

    def _show(self, phase: str, total: int, done: int) -> Advance:
        if self._advance is not None and phase == self._phase:
            return self._advance
        self._shown.close()
        self._phase = phase
        self._began = time.monotonic()
        self._advance = self._shown.enter_context(progress(phase, total, done=done))
        return self._advance

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()
