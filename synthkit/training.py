"""Real and synthetic images in the same minibatches, half and half, for any PyTorch training loop.

Source: Chen et al. 2025, section 4.1 and Table 4: a batch is half synthetic, from one shuffled pass over
the synthetic images (which is an epoch), and half real, drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch  # noqa: TID253 (`import synthkit` does not load this module; `synthkit.mix` does)
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info  # noqa: TID253

from synthkit.pull import find_release
from synthkit.sources import open_source
from synthkit.sources.protocol import load_image
from synthkit.trace import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.sources.protocol import Source

_IMAGE = ("png", "jpg", "webp", "image", "img")
_LABEL = ("cls", "label")


class RealImages:
    """The real images that a release was made from, as (RGB image, label) pairs; `classes` are the names."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.classes = list(source.listing.classes)

    def __len__(self) -> int:
        return len(self._source.listing)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return load_image(self._source, index), int(self._source.listing.labels[index])


def real(release: str, **places: str) -> RealImages:
    """The real images of a release: a folder, or `organisation/name@v1.0.0` on the Hub.

    `places` say where they are on this machine, as fields of the recipe's source: `root="data/flowers"`.
    Raises a SynthkitError if the release or its real images are not here.
    """
    overrides = [f"source.{field}={place}" for field, place in places.items()]
    return RealImages(open_source(read_recipe(find_release(release), overrides).source))


def mix(
    real: Any,
    synthetic: Any,
    *,
    batch_size: int,
    transform: Callable[[Any], Any] | None = None,
    seed: int = 0,
    **loader: Any,
) -> DataLoader[Any]:
    """Batches of (images, labels): half real, then half synthetic, or in turns if `synthetic` is a stream.

    `real` is a map-style data set, `synthetic` one too or a stream; rows are (image, label) pairs or, as
    `datasets` gives them, dictionaries (png, jpg, webp or image; cls or label). An epoch is one pass over
    `synthetic`, shuffled anew each time unless it is a stream; `real` is drawn with replacement.
    `transform` makes a tensor of an RGB image; the rest goes to `torch.utils.data.DataLoader`
    (num_workers, pin_memory, …). The same `seed` gives the same batches.

    Raises ValueError if the batch size is odd, a data set is empty, or the two number their classes
    differently, as far as they name them.
    """
    if batch_size < 2 or batch_size % 2:
        raise ValueError(f"batch_size: is {batch_size}; half of it is real, so it must be even")
    if not len(real):
        raise ValueError("real: holds no image")
    _check_classes(real, synthetic)
    generator = torch.Generator().manual_seed(seed)
    if isinstance(synthetic, IterableDataset) or not hasattr(synthetic, "__getitem__"):
        stream = _Alternating(real, synthetic, transform, seed)
        return DataLoader(stream, batch_size=batch_size, generator=generator, **loader)
    if not len(synthetic):
        raise ValueError("synthetic: holds no image")
    batches = HalfAndHalf(len(real), len(synthetic), batch_size, seed)
    both = _Both(real, synthetic, transform)
    return DataLoader(both, batch_sampler=batches, generator=generator, **loader)  # type: ignore[arg-type]


class HalfAndHalf:
    """The indices of each batch: real ones drawn with replacement, then as many synthetic ones.

    Synthetic images are numbered after the real ones. The last batch of an epoch may be smaller, and is
    half and half as well.
    """

    def __init__(self, real: int, synthetic: int, batch_size: int, seed: int) -> None:
        self._real, self._synthetic, self._half, self._seed = real, synthetic, batch_size // 2, seed
        self._epoch = 0

    def __len__(self) -> int:
        return math.ceil(self._synthetic / self._half)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.Generator(np.random.Philox(key=[self._seed, self._epoch]))
        self._epoch += 1
        order = rng.permutation(self._synthetic)
        for start in range(0, self._synthetic, self._half):
            part = order[start : start + self._half]
            drawn = rng.integers(self._real, size=len(part))
            yield [*drawn.tolist(), *(self._real + part).tolist()]


class _Both:
    """Two data sets as one, the real one first."""

    def __init__(self, real: Any, synthetic: Any, transform: Callable[[Any], Any] | None) -> None:
        self._real, self._synthetic, self._transform = real, synthetic, transform

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        first = len(self._real)
        row = self._real[index] if index < first else self._synthetic[index - first]
        return _pair(row, self._transform)


class _Alternating(IterableDataset[Any]):
    """A real image before each of a stream of synthetic ones; workers share the stream as it says itself."""

    def __init__(
        self, real: Any, synthetic: Iterable[Any], transform: Callable[[Any], Any] | None, seed: int
    ) -> None:
        self._real, self._synthetic, self._transform = real, synthetic, transform
        self._seed, self._epoch = seed, 0

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        worker = get_worker_info()
        key = [self._seed, self._epoch] if worker is None else [self._seed, worker.seed]
        self._epoch += 1
        rng = np.random.Generator(np.random.Philox(key=key))
        for row in self._synthetic:
            yield _pair(self._real[int(rng.integers(len(self._real)))], self._transform)
            yield _pair(row, self._transform)


def _pair(row: Any, transform: Callable[[Any], Any] | None) -> tuple[Any, int]:
    image, label = _columns(row) if isinstance(row, Mapping) else row[:2]
    if isinstance(image, Image.Image):
        if transform is None:
            raise ValueError("transform: is needed to make tensors of images, e.g. torchvision's")
        image = image.convert("RGB")
    return (image if transform is None else transform(image)), int(label)


def _columns(row: Mapping[str, Any]) -> tuple[Any, Any]:
    image = next((row[name] for name in _IMAGE if name in row), None)
    label = next((row[name] for name in _LABEL if name in row), None)
    if image is None or label is None:
        raise ValueError(
            f"a row has {', '.join(row)}: it needs one of {', '.join(_IMAGE)} and of {', '.join(_LABEL)}"
        )
    return image, label


def _check_classes(real: Any, synthetic: Any) -> None:
    """A label must mean the same class in both."""
    ours, theirs = _class_names(real), _class_names(synthetic)
    if ours is None or theirs is None:
        return
    # `datasets` wants no two names alike, so a card numbers the second crane of ImageNet.
    theirs = [name.removesuffix(f" ({label})") for label, name in enumerate(theirs)]
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        raise ValueError(f"real has {len(ours)} classes, synthetic {len(theirs)}")
    label = next(n for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    raise ValueError(f"label {label} is {ours[label]!r} in real and {theirs[label]!r} in synthetic")


def _class_names(dataset: Any) -> list[str] | None:
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[name], "names", None) for name in _LABEL if name in features), None)
    return None if names is None else list(names)
