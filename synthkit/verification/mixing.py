"""What an image's seed says of how its sources were mixed, as far as it can be told without the sources.

A build draws λ, spans, boxes and crops from the image's own seed (`conditioning.py`). Between embeddings
all of it follows from the seed and the size of an embedding. Between pixels the crops are drawn first,
in a number of draws that depends on the sizes of the real images: λ and the box must then be those that
come after one of the few numbers of draws that are possible, and a crop must have a shape that can be drawn.
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

# λ is a share; what differs by less is another processor's last bit.
_SAME = 1e-9
# Of 64 random bits, those that two crops can have taken: two for each try, and halves of up to six for
# places (four are the rule; a number that is drawn again for evenness makes more).
_PLACES = 3
_FEWEST, _MOST = 4, 4 * CROP_TRIES + _PLACES
# The likeliest first: one try and two places for each crop.
_DRAWN = sorted(range(_FEWEST, _MOST + 1), key=lambda drawn: abs(drawn - 6))


class SeededDraws:
    """The stream that an image was mixed with, for one seed after another, without making it anew."""

    def __init__(self) -> None:
        self._bits = np.random.Philox(key=np.array([0, Stream.MIX], dtype=np.uint64))
        self._state = self._bits.state
        self._rng = np.random.Generator(self._bits)

    def at(self, seed: int, drawn: int = 0) -> np.random.Generator:
        """The stream of a seed after so many draws of 64 bits."""
        self._state["state"]["key"][0] = seed
        self._bits.state = self._state
        if drawn:
            self._bits.random_raw(drawn, output=False)
        return self._rng

    def half_used(self, seed: int, drawn: int, half: int) -> np.random.Generator:
        """The same where the upper half of the draw number `half` is still to be used."""
        self.at(seed)
        raw = int(self._bits.random_raw(half + 1)[-1])
        self.at(seed, drawn)
        self._bits.state = {**self._bits.state, "has_uint32": 1, "uinteger": raw >> 32}
        return self._rng


def embedding_size(records: Iterable[Provenance]) -> int | None:
    """The size of an embedding by what most records of cutmix between embeddings say; None if none does."""
    sizes = Counter[int]()
    for record in records:
        if len(record.region) == 2 and record.lam < 1 and record.region[1] > record.region[0]:
            sizes[round((record.region[1] - record.region[0]) / (1 - record.lam))] += 1
    return sizes.most_common(1)[0][0] if sizes else None


def mixing_faults(
    record: Provenance, seed: int, alpha: float, size: int | None, draws: SeededDraws
) -> Iterator[str]:
    """What a record says of its mixing that its seed does not; `size` is that of an embedding, if known."""
    method = METHODS[record.method]
    seed = attempt_seed(seed, record.attempt)
    if method.pixels is not None:
        yield from _crops(record)
        yield from _pixels(record, seed, alpha, draws)
        return
    if record.crops:
        yield f"its record's crops are there, which {record.method} does not take"
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
        # No span of this shard says how large an embedding is: all are empty.
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
    """Whether crops have a width and a height that `random_resized_crop` can give."""
    if len(record.crops) != len(record.sources):
        yield f"its record's crops are {len(record.crops)}, {record.method} takes one of each real image"
        return
    narrow, wide = CROP_RATIO
    for crop in record.crops:
        _, _, width, height = crop if len(crop) == 4 else (0, 0, 0, 0)
        # Width and height are rounded.
        possible = (width - 0.5) <= wide * (height + 0.5) and (width + 0.5) >= narrow * (height - 0.5)
        if width < 1 or height < 1 or not possible:
            yield f"its record's crops hold {list(crop)[:8]}, which is no crop that is ever drawn"


def _pixels(record: Provenance, seed: int, alpha: float, draws: SeededDraws) -> Iterator[str]:
    is_cutmix = METHODS[record.method].pixels is cutmix_pixels
    if not is_cutmix and record.region:
        yield f"its record's region is {list(record.region)[:8]}, which {record.method} does not take"
    if is_cutmix:
        lam = _lam_of_box(record.region)
        if lam is None:
            yield f"its record's region is {list(record.region)[:8]}, which is no box in {CROP}x{CROP}"
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
        # A crop as wide or as high as its image draws no place there, and half a draw is left for the box.
        for half in reversed(range(2, drawn)):
            rng = draws.half_used(seed, drawn, half)
            yield cutmix_box(float(rng.beta(alpha, alpha)), CROP, CROP, rng)[0]
