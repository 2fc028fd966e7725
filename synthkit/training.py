"""Real and synthetic images in the same minibatches, for any PyTorch training loop.

Source: Chen et al. 2025, section 4.1 and Table 4: a batch is half synthetic, from one shuffled pass over
the synthetic images (which is an epoch), and half real, drawn with replacement. Another share may be chosen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch  # noqa: TID253 (`import synthkit` does not load this module; `synthkit.mix` does)
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info  # noqa: TID253

from synthkit.errors import SourceError
from synthkit.publish.pull import find_release
from synthkit.release.files import RECIPE
from synthkit.release.folder import ReleaseFolder
from synthkit.release.loader_batches import HALF, MixedBatches, Shares
from synthkit.release.loader_images import EncodedImage, rows_of, undecoded
from synthkit.release.loader_rows import LABEL, first_of_each_class, image_and_label, is_stream
from synthkit.release.loader_streams import splits_itself
from synthkit.release.places import receive
from synthkit.release.real_images import open_real
from synthkit.sources.base import load_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synthkit.sources.base import Source


class RealImages:
    """The real images that a release was made from, as (RGB image, label) pairs; `classes` has the names."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.classes = list(source.listing.classes)

    def __len__(self) -> int:
        return len(self._source.listing)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        try:
            image = load_image(self._source, index)
        except SourceError:
            # The image's name may be a line of a file that a stranger's recipe names: it is not shown.
            raise SourceError(f"real image {index}: cannot be read; it is missing or damaged") from None
        return image, int(self._source.listing.labels[index])


def real(release: str | os.PathLike[str], **places: str | os.PathLike[str]) -> RealImages:
    """Return the real images of a release, which is a folder or `organisation/name@v1.0.0` on the Hub.

    `places` are fields of the recipe's source that say where the images are on this machine, as
    `root="data/flowers"`. Raises a SynthkitError if the release or its real images are not here.
    """
    overrides = [
        f"source.{field}={json.dumps(os.fspath(place), ensure_ascii=False)}"
        for field, place in places.items()
    ]
    folder = find_release(os.fspath(release), [RECIPE])
    with ReleaseFolder.at(folder).opened() as manifest:
        received = receive(folder, manifest, overrides)
    return RealImages(open_real(received))


def mix(
    real: Any,
    synthetic: Any,
    *,
    batch_size: int,
    real_share: float = HALF,
    synthetic_per_class: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    seed: int = 0,
    drop_last: bool = False,
    **loader: Any,
) -> DataLoader[Any]:
    """Return a loader of batches (images, labels), some of them real and the others synthetic.

    `real_share` is the share of a batch that is real: half of it, or another share, rounded to whole images
    with at least one of each kind; with 0 all are synthetic. Real images come first; if `synthetic` is a
    stream, the two alternate. `real` is a map-style data set, `synthetic` is one or a stream. Rows are
    (image, label) pairs or, as `datasets` gives them, dictionaries (png, jpg, webp or image; cls or label).
    An epoch is one pass over `synthetic`, which is shuffled anew each time unless it is a stream; `real` is
    drawn with replacement. The same `seed` gives the same batches.

    With `synthetic_per_class` an epoch has so many synthetic images of each class: the first ones in the
    order of `synthetic`, of a class with fewer all. To learn the labels, `mix` reads every row of a map-style
    data set once, but of `datasets` the column of labels alone.

    `transform` makes a tensor of an RGB image; other arguments go to `torch.utils.data.DataLoader`
    (num_workers, pin_memory, …). Images of a release, and files in columns called png, jpg or webp, are
    decoded here in the format of their name; a release's only if they are as a build writes them.

    Every row of a stream comes once an epoch, whatever the number of workers. Streams of `datasets` and
    `webdataset` that are known to share their rows between workers are read there. Any other stream is read
    in this process, and the workers read real images and apply `transform`.

    Raises ValueError if the batch size cannot be divided so, if a data set is empty or has no length, or if
    both name their classes and number them differently. The loader raises ReleaseError for an image that is
    refused.
    """
    _check_arguments(real, synthetic, loader)
    shares = _shares(batch_size, real_share)
    classes = _check_classes(real, synthetic)
    if synthetic_per_class is not None:
        synthetic = first_of_each_class(synthetic, synthetic_per_class)
    generator = torch.Generator().manual_seed(seed)
    pair = _Pair(transform, classes)
    real = undecoded(real)
    workers = loader.get("num_workers", 0)
    if is_stream(synthetic) and workers and splits_itself(synthetic, workers):
        stream = _Alternating(real, synthetic, pair, shares, seed)
        return DataLoader(stream, batch_size=batch_size, drop_last=drop_last, generator=generator, **loader)
    rows: Any
    batches: Any
    if is_stream(synthetic):
        rows = _Rows(real, pair)
        batches = _InTurns(len(real), synthetic, shares, seed, drop_last=drop_last, sent=workers > 0)
    else:
        rows = _Both(real, undecoded(synthetic), pair)
        batches = MixedBatches(len(real), len(synthetic), shares, seed, drop_last=drop_last)
    return DataLoader(rows, batch_sampler=batches, generator=generator, **loader)


class _Both:
    """Two data sets as one, the real one first."""

    def __init__(self, real: Any, synthetic: Any, pair: _Pair) -> None:
        self._real, self._synthetic, self._pair = real, synthetic, pair

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        first = len(self._real)
        return self._pair(self._real[index] if index < first else self._synthetic[index - first])


class _Rows:
    """Rows for a loader's workers: a real image by its index, and a stream's row as it came."""

    def __init__(self, real: Any, pair: _Pair) -> None:
        self._real, self._pair = real, pair

    def __getitem__(self, index: int | tuple[Any, int]) -> tuple[Any, int]:
        if isinstance(index, int):
            return self._pair(self._real[index])
        image, label = index
        return self._pair((image.tensor() if isinstance(image, _Sent) else image, label))


class _InTurns:
    """A sampler of batches in which the indices of real images stand between the rows of a stream.

    The stream is read here, in the loader's own process, and the rows are sent to the workers. So each row
    comes once, even if the stream does not know of workers.
    """

    def __init__(
        self, real: int, stream: Iterable[Any], shares: Shares, seed: int, *, drop_last: bool, sent: bool
    ) -> None:
        self._real, self._stream, self._shares, self._seed = real, stream, shares, seed
        self._drop_last, self._sent, self._epoch = drop_last, sent, 0

    def __iter__(self) -> Iterator[list[int | tuple[Any, int]]]:
        rng = _drawing(self._seed, self._epoch, 0)
        self._epoch += 1
        rows, empty = rows_of(self._stream), True
        while part := list(islice(rows, self._shares.synthetic)):
            empty = False
            if len(part) < self._shares.synthetic and self._drop_last:
                return
            yield list(self._batch(part, rng))
        if empty:
            raise ValueError(
                "synthetic: the stream holds no image (any more); an iterator can be read once only, "
                "a data set anew in each epoch"
            )

    def _batch(self, rows: Sequence[Any], rng: np.random.Generator) -> Iterator[int | tuple[Any, int]]:
        for place, row in enumerate(rows):
            for _ in range(_real_before(place, self._shares)):
                yield int(rng.integers(self._real))
            yield self._row(row)

    def _row(self, row: Any) -> tuple[Any, int]:
        image, label = image_and_label(row)
        return (_Sent.of(image) if self._sent and type(image) is torch.Tensor else image), label


@dataclass(frozen=True, slots=True)
class _Sent:
    """A tensor as bytes, to be sent to a worker: a tensor that is sent keeps a file of the process open."""

    data: NDArray[np.uint8]
    dtype: torch.dtype
    shape: torch.Size

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Self:
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return cls(data, tensor.dtype, tensor.shape)

    def tensor(self) -> torch.Tensor:
        return torch.from_numpy(self.data).view(self.dtype).reshape(self.shape)


class _Alternating(IterableDataset[Any]):
    """A stream with real images between the synthetic ones; `synthetic` shares its rows between workers."""

    def __init__(self, real: Any, synthetic: Iterable[Any], pair: _Pair, shares: Shares, seed: int) -> None:
        self._real, self._synthetic, self._pair = real, synthetic, pair
        self._shares, self._seed, self._epoch = shares, seed, 0

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        worker = get_worker_info()
        rng = _drawing(self._seed, self._epoch, 0 if worker is None else worker.seed)
        self._epoch += 1
        for place, row in enumerate(rows_of(self._synthetic)):
            for _ in range(_real_before(place % self._shares.synthetic, self._shares)):
                yield self._pair(self._real[int(rng.integers(len(self._real)))])
            yield self._pair(image_and_label(row))


def _real_before(place: int, shares: Shares) -> int:
    """Return how many real images stand before the synthetic one at a place (from 0) in its batch.

    So they are spread over the batch, and any beginning of it has as many as go with its synthetic ones.
    """
    return shares.real_beside(place + 1) - shares.real_beside(place)


def _drawing(seed: int, epoch: int, worker: int) -> np.random.Generator:
    """Return the generator that draws real images beside a stream."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, worker])))


class _Pair:
    """Turns a row into (tensor, label)."""

    def __init__(self, transform: Callable[[Any], Any] | None, classes: int | None) -> None:
        self._transform, self._classes = transform, classes

    def __call__(self, row: Any) -> tuple[Any, int]:
        image, label = image_and_label(row)
        if self._classes is not None and not 0 <= label < self._classes:
            raise ValueError(f"a row has label {label}; there are {self._classes} classes, from 0 on")
        if isinstance(image, EncodedImage):
            image = image.pixels()
        if isinstance(image, Image.Image):
            if self._transform is None:
                raise ValueError("transform: is needed to make tensors of images, e.g. torchvision's")
            image = image.convert("RGB")
        return self._tensor(image), label

    def _tensor(self, image: Any) -> Any:
        if isinstance(image, bytes):
            raise ValueError("images are still encoded: decode them, or name their column png, jpg or webp")
        if self._transform is None:
            return image
        try:
            return self._transform(image)
        except TypeError as error:
            raise ValueError(
                f"transform: does not take a {type(image).__name__} ({error}); "
                "the data sets should give PIL images, without a transform of their own"
            ) from error


def _shares(batch_size: int, real: float) -> Shares:
    """Return how a batch is divided. Raises ValueError if it cannot be."""
    if not 0 <= real < 1:
        advice = ": real images alone need no mix, give them to a DataLoader" if real == 1 else ""
        raise ValueError(f"real_share: is {real}; it must be at least 0 and below 1{advice}")
    if real == HALF and (batch_size < 2 or batch_size % 2):
        raise ValueError(f"batch_size: is {batch_size}; half of it is real, so it must be even")
    if batch_size < (2 if real else 1):
        raise ValueError(f"batch_size: is {batch_size}; it must hold an image of each kind")
    return Shares.of(batch_size, real)


def _check_arguments(real: Any, synthetic: Any, loader: Mapping[str, Any]) -> None:
    for name, dataset in (("real", real), ("synthetic", synthetic)):
        if isinstance(dataset, str):
            raise ValueError(
                f"{name}: is a name, not a data set: give synthkit.real({dataset!r}) or load_dataset(…)"
            )
        if isinstance(dataset, Mapping):
            raise ValueError(f"{name}: is a dictionary of {', '.join(map(str, dataset))}: give one of these")
        if not is_stream(dataset) and not hasattr(type(dataset), "__len__"):
            raise ValueError(f"{name}: has rows by number but no __len__: give it one, or make it iterable")
    decided = sorted(loader.keys() & {"shuffle", "sampler", "batch_sampler"})
    if decided:
        raise ValueError(f"{decided[0]}: is decided by mix: synthetic images are shuffled, real ones drawn")
    if is_stream(real):
        raise ValueError("real: is a stream, of which no image can be drawn; load it without streaming")
    if not len(real):
        raise ValueError("real: holds no image")
    if not is_stream(synthetic) and not len(synthetic):
        raise ValueError("synthetic: holds no image")


def _check_classes(real: Any, synthetic: Any) -> int | None:
    """Return the number of classes, or None if no data set names its classes.

    Raises ValueError if a label means another class in one data set than in the other.
    """
    ours, theirs = _class_names(real), _class_names(synthetic)
    if ours is None or theirs is None:
        known = ours or theirs
        return None if known is None else len(known)
    # `datasets` allows no two equal names, so a release's card calls ImageNet's second crane `crane (517)`.
    theirs = [name.removesuffix(f" ({label})") for label, name in enumerate(theirs)]
    if len(ours) != len(theirs):
        raise ValueError(f"real has {len(ours)} classes, synthetic {len(theirs)}")
    for label, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a != b:
            raise ValueError(f"label {label} is {a!r} in real and {b!r} in synthetic")
    return len(ours)


def _class_names(dataset: Any) -> list[str] | None:
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[name], "names", None) for name in LABEL if name in features), None)
    return None if names is None else list(names)
