"""Compares what a record says about mixing with what its seed gives, without the real images.

A build draws λ, spans, boxes and crops from the image's own seed (`conditioning.py`). When embeddings are
mixed, all of them follow from the seed and the size of an embedding. When pixels are mixed, the crops are
drawn first, and how many numbers that takes depends on the sizes of the real images, which are not here. So λ
and the box must be the ones that follow after one of the few possible counts, and a crop must have a shape
that can be drawn.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from synthkit.conditioning import (
    CROP,
    CROP_RATIO,
    CROP_TRIES,
    METHODS,
    cutmix_box,
    cutmix_embeddings,
    cutmix_pixels,
    cutmix_span,
    mixup_embeddings,
)
from synthkit.release.seeds import Stream, attempt_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synthkit.release.records import Provenance

# λ lies between 0 and 1; smaller differences come from the rounding of another processor.
_SAME = 1e-9
# How many 64-bit draws two crops can have taken: two for each try, and halves of up to six for their places.
# Four halves are the rule; NumPy draws a number again if it would make the choice uneven.
_PLACES = 3
_FEWEST, _MOST = 4, 4 * CROP_TRIES + _PLACES
# The likeliest counts first: six, with one try and two places for each crop.
_DRAWN = sorted(range(_FEWEST, _MOST + 1), key=lambda drawn: abs(drawn - 6))


class SeededDraws:
    """The random stream of mixing, moved to one seed after another: faster than a new stream for each."""

    def __init__(self) -> None:
        self._bits = np.random.Philox(key=np.array([0, Stream.MIX], dtype=np.uint64))
        self._state = self._bits.state
        self._rng = np.random.Generator(self._bits)

    def at(self, seed: int, drawn: int = 0) -> np.random.Generator:
        """Return the stream of a seed after so many draws of 64 bits."""
        self._state["state"]["key"][0] = seed
        self._bits.state = self._state
        if drawn:
            self._bits.random_raw(drawn, output=False)
        return self._rng

    def half_used(self, seed: int, drawn: int, half: int) -> np.random.Generator:
        """Return the same stream while the upper half of draw number `half` is still waiting to be used."""
        self.at(seed)
        raw = int(self._bits.random_raw(half + 1)[-1])
        self.at(seed, drawn)
        self._bits.state = {**self._bits.state, "has_uint32": 1, "uinteger": raw >> 32}
        return self._rng


def embedding_size(records: Iterable[Provenance]) -> int | None:
    """Return the size of an embedding that most records' spans imply; None if no record has a span."""
    sizes = Counter[int]()
    for record in records:
        if len(record.region) == 2 and record.lam < 1 and record.region[1] > record.region[0]:
            sizes[round((record.region[1] - record.region[0]) / (1 - record.lam))] += 1
    return sizes.most_common(1)[0][0] if sizes else None


def mixing_faults(
    record: Provenance, seed: int, alpha: float, size: int | None, draws: SeededDraws
) -> Iterator[str]:
    """Yield what a record says about its mixing that its seed does not give.

    `seed` is the image's own, `alpha` the recipe's; `size` is how many numbers an embedding has, if known.
    """
    method = METHODS[record.method]
    seed = attempt_seed(seed, record.attempt)
    if method.pixels is not None:
        yield from _crops(record)
        yield from _pixels(record, seed, alpha, draws)
        return
    if record.crops:
        yield f"its record's crops are set, which {record.method} does not take"
    if method.embeddings is cutmix_embeddings:
        yield from _span(record, seed, alpha, size, draws)
        return
    lam = float(draws.at(seed).beta(alpha, alpha)) if method.embeddings is mixup_embeddings else 1.0
    if abs(record.lam - lam) > _SAME:
        yield f"its record's lam is {record.lam:g}, by its seed it is {lam:g}"
    if record.region:
        yield f"its record's region is {list(record.region)}, which {record.method} does not take"


def _span(record: Provenance, seed: int, alpha: float, size: int | None, draws: SeededDraws) -> Iterator[str]:
    rng = draws.at(seed)
    lam = float(rng.beta(alpha, alpha))
    if size is None:
        # Every span of this shard is empty, so that none shows the size of an embedding.
        empty = len(record.region) == 2 and record.region[0] == record.region[1]
        if record.lam != 1.0 or not empty:
            yield f"its record's region is {list(record.region)[:8]} with lam {record.lam:g}: they do not fit"
        return
    span, lam = cutmix_span(lam, size, rng)
    if record.region != span:
        yield f"its record's region is {list(record.region)[:8]}, by its seed it is {list(span)}"
    if abs(record.lam - lam) > _SAME:
        yield f"its record's lam is {record.lam:g}, by its seed it is {lam:g}"


def _crops(record: Provenance) -> Iterator[str]:
    """Yield crops whose width and height `random_resized_crop` cannot have given."""
    if len(record.crops) != len(record.sources):
        yield f"its record's crops are {len(record.crops)}; {record.method} takes one from each real image"
        return
    narrow, wide = CROP_RATIO
    for crop in record.crops:
        _, _, width, height = crop if len(crop) == 4 else (0, 0, 0, 0)
        # Width and height are rounded.
        possible = (width - 0.5) <= wide * (height + 0.5) and (width + 0.5) >= narrow * (height - 0.5)
        if width < 1 or height < 1 or not possible:
            yield f"its record's crops hold {list(crop)[:8]}, which cannot have been drawn"


def _pixels(record: Provenance, seed: int, alpha: float, draws: SeededDraws) -> Iterator[str]:
    is_cutmix = METHODS[record.method].pixels is cutmix_pixels
    if not is_cutmix and record.region:
        yield f"its record's region is {list(record.region)[:8]}, which {record.method} does not take"
    if is_cutmix:
        lam = _lam_of_box(record.region)
        if lam is None:
            yield f"its record's region is {list(record.region)[:8]}, which is not a box in {CROP}x{CROP}"
            return
        if abs(record.lam - lam) > _SAME:
            yield f"its record's lam is {record.lam:g}, by its region it is {lam:g}"
        if record.region not in _boxes(seed, alpha, draws):
            yield f"its record's region is {list(record.region)}, which its seed does not give"
    elif not any(abs(record.lam - lam) <= _SAME for lam in _lams(seed, alpha, draws)):
        yield f"its record's lam is {record.lam:g}, which its seed does not give"


def _lam_of_box(region: tuple[int, ...]) -> float | None:
    if len(region) != 4:
        return None
    x0, y0, x1, y1 = region
    if not (0 <= x0 <= x1 <= CROP and 0 <= y0 <= y1 <= CROP):
        return None
    return 1 - (x1 - x0) * (y1 - y0) / (CROP * CROP)


def _lams(seed: int, alpha: float, draws: SeededDraws) -> Iterator[float]:
    for drawn in _DRAWN:
        yield float(draws.at(seed, drawn).beta(alpha, alpha))


def _boxes(seed: int, alpha: float, draws: SeededDraws) -> Iterator[tuple[int, ...]]:
    for drawn in _DRAWN:
        rng = draws.at(seed, drawn)
        yield cutmix_box(float(rng.beta(alpha, alpha)), CROP, CROP, rng)[0]
    for drawn in _DRAWN:
        # A crop as wide or as high as its image needs one place fewer, which leaves half a draw for the box.
        for half in reversed(range(2, drawn)):
            rng = draws.half_used(seed, drawn, half)
            yield cutmix_box(float(rng.beta(alpha, alpha)), CROP, CROP, rng)[0]
