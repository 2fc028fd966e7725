"""Compares what a record says about mixing with what its seed gives, without the real images.

A build draws λ, spans, boxes and crops from the image's own seed (`conditioning.py`). When embeddings are
mixed, all of them follow from the seed and the shape of an embedding. When pixels are mixed, the crops are
drawn first, and how many numbers that takes depends on the sizes of the real images, which are not here. So λ
and the box must be the ones that follow after one of the few possible counts, and a crop must have a shape
that can be drawn.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from synthkit.conditioning import CROP, CROP_RATIO, CROP_TRIES, METHODS, Mix, Mixing, Shape
from synthkit.release.seeds import Stream, attempt_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synthkit.release.records import Provenance

# λ lies between 0 and 1; smaller differences come from the rounding of another processor.
SAME = 1e-9
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
    record: Provenance, seed: int, alpha: float, shape: Shape | None, draws: SeededDraws
) -> Iterator[str]:
    """Yield what a record says about its mixing that its seed does not give.

    `seed` is the image's own, `alpha` the recipe's; `shape` is that of an embedding, if known.
    """
    method = METHODS[record.method]
    seed = attempt_seed(seed, record.attempt)
    if method.pixels is not None:
        yield from _crops(record)
        yield from _pixels(record, method.pixels, seed, alpha, draws)
        return
    if record.crops:
        yield f"its record's crops are set, which {record.method} does not take"
    yield from _embeddings(record, method.embeddings, seed, alpha, shape, draws)


def _embeddings(
    record: Provenance, mix: Mix | None, seed: int, alpha: float, shape: Shape | None, draws: SeededDraws
) -> Iterator[str]:
    region = list(record.region)[:8]
    has_region = mix is not None and mix.has_region
    if has_region and shape is None:
        # Every span of this shard is empty, so that none shows the size of an embedding.
        empty = len(record.region) == 2 and record.region[0] == record.region[1]
        if record.lam != 1.0 or not empty:
            yield f"its record's region is {region} with lam {record.lam:g}: they do not fit"
        return
    drawn = Mixing() if mix is None else mix.draw(shape or (1,), alpha=alpha, rng=draws.at(seed))
    if has_region and record.region != drawn.region:
        yield f"its record's region is {region}, by its seed it is {list(drawn.region)}"
    if abs(record.lam - drawn.lam) > SAME:
        yield f"its record's lam is {record.lam:g}, by its seed it is {drawn.lam:g}"
    if record.region and not has_region:
        yield f"its record's region is {region}, which {record.method} does not take"


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


def _pixels(record: Provenance, mix: Mix, seed: int, alpha: float, draws: SeededDraws) -> Iterator[str]:
    if record.region and not mix.has_region:
        yield f"its record's region is {list(record.region)[:8]}, which {record.method} does not take"
    possible = _possible(mix, seed, alpha, draws)
    if mix.has_region:
        lam = _lam_of_box(record.region)
        if lam is None:
            yield f"its record's region is {list(record.region)[:8]}, which is not a box in {CROP}x{CROP}"
            return
        if abs(record.lam - lam) > SAME:
            yield f"its record's lam is {record.lam:g}, by its region it is {lam:g}"
        if not any(record.region == mixing.region for mixing in possible):
            yield f"its record's region is {list(record.region)}, which its seed does not give"
    elif not any(abs(record.lam - mixing.lam) <= SAME for mixing in possible):
        yield f"its record's lam is {record.lam:g}, which its seed does not give"


def _lam_of_box(region: tuple[int, ...]) -> float | None:
    if len(region) != 4:
        return None
    x0, y0, x1, y1 = region
    if not (0 <= x0 <= x1 <= CROP and 0 <= y0 <= y1 <= CROP):
        return None
    return 1 - (x1 - x0) * (y1 - y0) / (CROP * CROP)


def _possible(mix: Mix, seed: int, alpha: float, draws: SeededDraws) -> Iterator[Mixing]:
    """Yield every mixing that a seed can give, the likeliest first."""
    crop = (CROP, CROP, 3)
    for drawn in _DRAWN:
        yield mix.draw(crop, alpha=alpha, rng=draws.at(seed, drawn))
    for drawn in _DRAWN if mix.has_region else ():
        # A crop as wide or as high as its image needs one place fewer, which leaves half a draw for the box.
        for half in reversed(range(2, drawn)):
            yield mix.draw(crop, alpha=alpha, rng=draws.half_used(seed, drawn, half))
