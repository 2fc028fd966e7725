"""How near synthetic images are to real ones in a feature space, and how diverse each are.

The numbers are those of the metrics' own libraries: torchmetrics (FID, KID), prdc (precision, recall,
density, coverage) and vendi-score. What is added here is which images are compared, memory that does not
grow with a release, and a null with a note where too few images would give a number without meaning.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import ScoreError
from synthkit_eval.score import PARTS, SetMetrics, SetScore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit_eval.score import Group

# Above these numbers, as many are taken, evenly spaced. FID and the counts are always of all images.
MOST_IMAGES = 10_000  # of each kind, for KID and PRDC: distances of all pairs take 1.5 GB
MOST_OF_CLASS = 2_000  # of a class, for Vendi scores and distances
NEAREST_K = 5  # as in Naeem et al. 2020
# Subsets of KID: the number and size of Bińkowski et al. 2018 and of torch-fidelity.
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
_CHUNK = 4096

Values = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Images of one kind: features (N, D) float32, which may be memory-mapped, and labels (N,) int."""

    features: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.labels.shape != self.features.shape[:1]:
            raise ValueError(f"features {self.features.shape} do not fit labels {self.labels.shape}")


@dataclass(frozen=True, slots=True)
class _Some:
    """Some rows of a set in the order of their classes; nothing is copied until it is needed."""

    features: NDArray[np.float32]
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        """All rows, (n, D) float64 at a time."""
        for at in range(0, len(self.rows), _CHUNK):
            yield self.features[self.rows[at : at + _CHUNK]].astype(np.float64)

    def sample(self, most: int) -> NDArray[np.float32]:
        """All rows, or `most` that are evenly spaced over them and so over the classes: (n, D) float32."""
        count = len(self.rows)
        taken = self.rows if count <= most else self.rows[np.arange(most) * count // most]
        return np.asarray(self.features[taken])


@dataclass(frozen=True, slots=True)
class _Pair:
    """The images of one part, and what its notes call it."""

    part: str
    real: _Some
    synthetic: _Some

    def lacks(self, needed: int) -> str:
        """How many images there are, if fewer than needed of either kind."""
        real, synthetic = len(self.real), len(self.synthetic)
        counts = f"there are {real} real and {synthetic} synthetic"
        return counts if min(real, synthetic) < needed else ""


@dataclass(frozen=True, slots=True)
class _Diversity:
    """Of one class: its images, Vendi score, and mean pairwise cosine distance if there are pairs."""

    images: int
    vendi: float
    distance: float | None


def measure(
    name: str, real: LabelledFeatures, synthetic: LabelledFeatures, groups: Mapping[int, Group]
) -> SetScore:
    """The set metrics of all classes and of each group of them; `groups` names the group of every class.

    `real` is (N, D) and `synthetic` (M, D), features of the space called `name`; the order of their rows
    changes nothing until a sample has to be taken. All numbers are without units, in the features' scale:

    * fid: Fréchet distance of two Gaussians (Heusel et al. 2017, equation 6), in float64, over all
      images; needs more images of each kind than dimensions, for the covariances are singular otherwise.
    * kid: unbiased MMD² with the kernel (xᵀy/D + 1)³ (Bińkowski et al. 2018, section 4), the mean of 100
      subsets of up to 1000 images, drawn with a seed of their own.
    * precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), by the 5
      nearest neighbours; need 7 images of each kind, as prdc counts an image as its own neighbour and
      looks at one more.
    * vendi: exponential of the entropy of the eigenvalues of the cosine similarities of a class divided
      by its size (Friedman and Dieng 2023, definition 3.1), mean over classes with images. Images whose
      features are all zero count as equal to each other and unlike all else.
    * distance: mean of 1 − cosine over all pairs of a class, mean over classes with 2 images.

    KID and PRDC look at no more than 10,000 images of each kind, vendi and distance at 2,000 of a class,
    evenly spaced over the classes. What is so sampled, left out or null stands in `notes`. A group without
    classes is null.

    Raises ScoreError if features are not finite, and ValueError if the sets do not fit together.
    """
    _check(name, real, synthetic, groups)
    diversities = {"": _diversities(synthetic), "_real": _diversities(real)}
    parts: dict[str, SetMetrics | None] = dict.fromkeys(PARTS)
    notes: list[str] = []
    for part in PARTS:
        classes = [label for label, group in groups.items() if part in ("overall", group)]
        if classes:
            pair = _Pair(part, _of_classes(real, classes), _of_classes(synthetic, classes))
            parts[part], some = _of_part(pair, classes, diversities)
            notes += some
    return SetScore.model_validate(
        {"features": name, "dimensions": real.features.shape[1], "notes": notes, **parts}
    )


def _of_part(
    pair: _Pair, classes: Sequence[int], diversities: Mapping[str, Mapping[int, _Diversity]]
) -> tuple[SetMetrics, list[str]]:
    found = [
        _fid(pair),
        _kid(pair),
        _prdc(pair),
        *(_class_means(pair.part, classes, of, suffix) for suffix, of in diversities.items()),
    ]
    values = {key: value for some, _ in found for key, value in some.items()}
    notes = [*_sampled(pair), *(note for _, some in found for note in some)]
    return SetMetrics(real=len(pair.real), synthetic=len(pair.synthetic), **values), notes


def _check(
    name: str, real: LabelledFeatures, synthetic: LabelledFeatures, groups: Mapping[int, Group]
) -> None:
    if not groups:
        raise ValueError("there are no classes")
    if real.features.shape[1] != synthetic.features.shape[1]:
        raise ValueError(f"{real.features.shape[1]} and {synthetic.features.shape[1]} dimensions")
    for images in (real, synthetic):
        strange = set(np.unique(images.labels).tolist()) - set(groups)
        if strange:
            raise ValueError(f"labels {sorted(strange)} are in no group")
        for at in range(0, len(images.labels), _CHUNK):
            if not np.isfinite(images.features[at : at + _CHUNK]).all():
                raise ScoreError(f"features {name}: the network made values that are not numbers")


def _of_classes(images: LabelledFeatures, classes: Sequence[int]) -> _Some:
    order = np.argsort(images.labels, kind="stable")
    return _Some(images.features, order[np.isin(images.labels[order], classes)])


def _fid(pair: _Pair) -> tuple[Values, list[str]]:
    """Streamed into torchmetrics' sums in float64, so that memory is of D² and not of the images."""
    dimensions = pair.real.features.shape[1]
    if lacking := pair.lacks(dimensions + 1):
        note = f"needs {dimensions + 1} images of each kind in {dimensions} dimensions; {lacking}"
        return {"fid": None}, [f"fid of {pair.part}: {note}"]
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    identity: Any = torch.nn.Identity()
    identity.num_features = dimensions
    with _quietly():
        # One of several training processes measures; the others do not take part.
        metric = FrechetInceptionDistance(sync_on_compute=False, feature=identity).set_dtype(torch.float64)
        for images in (pair.real, pair.synthetic):
            for chunk in images.chunks():
                metric.update(torch.from_numpy(chunk), real=images is pair.real)
        # Rounding may leave less than nothing between equal sets.
        return {"fid": max(0.0, float(metric.compute()))}, []


def _kid(pair: _Pair) -> tuple[Values, list[str]]:
    if lacking := pair.lacks(2):
        return {"kid": None}, [f"kid of {pair.part}: needs 2 images of each kind; {lacking}"]
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    real, synthetic = (_by_content(some.sample(MOST_IMAGES)) for some in (pair.real, pair.synthetic))
    size = min(KID_SUBSET_SIZE, len(real), len(synthetic))
    # One subset is all there is to draw where it is everything.
    subsets = 1 if size == len(real) == len(synthetic) else KID_SUBSETS
    with _quietly(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        metric = KernelInceptionDistance(
            sync_on_compute=False, feature=torch.nn.Identity(), subsets=subsets, subset_size=size
        )
        metric.update(torch.from_numpy(real.astype(np.float64)), real=True)
        metric.update(torch.from_numpy(synthetic.astype(np.float64)), real=False)
        return {"kid": float(metric.compute()[0])}, []


def _by_content(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows in the order of their bytes: which of them a seed draws is then no matter of their order."""
    return features[sorted(range(len(features)), key=lambda row: features[row].tobytes())]


def _prdc(pair: _Pair) -> tuple[Values, list[str]]:
    keys = ("precision", "recall", "density", "coverage")
    # Mathematically one less would do; prdc partitions at the place after the last neighbour.
    needed = NEAREST_K + 2
    if lacking := pair.lacks(needed):
        note = f"precision, recall, density and coverage of {pair.part}: need {needed} images of each kind"
        return dict.fromkeys(keys), [f"{note}; {lacking}"]
    from prdc import compute_prdc

    with _quietly():
        found = compute_prdc(pair.real.sample(MOST_IMAGES), pair.synthetic.sample(MOST_IMAGES), NEAREST_K)
    return {key: float(found[key]) for key in keys}, []


def _sampled(pair: _Pair) -> Iterator[str]:
    """What the metrics of all pairs do not look at."""
    for kind, images in (("real", pair.real), ("synthetic", pair.synthetic)):
        if len(images) > MOST_IMAGES:
            taken = f"{MOST_IMAGES} of {len(images)} {kind} images, evenly spaced"
            yield f"kid, precision, recall, density and coverage of {pair.part}: of {taken}"


def _diversities(images: LabelledFeatures) -> dict[int, _Diversity]:
    """Of each class with images."""
    labels = [int(label) for label in np.unique(images.labels)]
    return {label: _diversity(_of_class(images, label)) for label in labels}


def _of_class(images: LabelledFeatures, label: int) -> _Some:
    return _Some(images.features, np.flatnonzero(images.labels == label))


def _diversity(images: _Some) -> _Diversity:
    from vendi_score import vendi

    directions = _directions(images.sample(MOST_OF_CLASS))
    count, dimensions = directions.shape
    # The same eigenvalues, from the smaller of two matrices.
    score = vendi.score_dual if count > dimensions else vendi.score_X
    with _quietly():
        effective = float(score(directions, normalize=False))
    distance = None
    if count > 1:
        total = directions.sum(axis=0)
        distance = max(0.0, float(1 - (total @ total - count) / (count * (count - 1))))
    return _Diversity(len(images), effective, distance)


def _directions(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows scaled to length 1, (N, D) float64; rows of zeros get a direction of their own, in D + 1."""
    wide = features.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    zero = lengths == 0
    if zero.any():
        wide, lengths = np.column_stack([wide, zero]), lengths + zero
    scaled: NDArray[np.float64] = wide / lengths[:, None]
    return scaled


def _class_means(
    part: str, classes: Sequence[int], diversities: Mapping[int, _Diversity], suffix: str
) -> tuple[Values, list[str]]:
    """Means over the classes that have enough images, and a note of the others."""
    kind = "real" if suffix else "synthetic"
    some = [diversities[label] for label in classes if label in diversities]
    found: dict[str, list[float]] = {
        "vendi": [of.vendi for of in some],
        "distance": [of.distance for of in some if of.distance is not None],
    }
    notes = []
    for (key, numbers), needed in zip(found.items(), (f"1 {kind} image", f"2 {kind} images"), strict=True):
        if lacking := len(classes) - len(numbers):
            which = f"which {lacking} of {len(classes)} classes lack"
            notes.append(f"{key}{suffix} of {part}: needs {needed} of a class, {which}")
    if sampled := sum(of.images > MOST_OF_CLASS for of in some):
        taken = f"of {MOST_OF_CLASS} {kind} images, evenly spaced, in {sampled} classes that have more"
        notes.append(f"vendi{suffix} and distance{suffix} of {part}: {taken}")
    return {
        key + suffix: float(np.mean(numbers)) if numbers else None for key, numbers in found.items()
    }, notes


@contextmanager
def _quietly() -> Iterator[None]:
    """Libraries that print how many images they got, and warn of other libraries' next versions."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
