"""Set metrics: how near synthetic images are to real ones in a feature space, and how diverse each are.

torchmetrics computes FID and KID; `neighbours` and `vendi` the others. This module chooses which images are
compared, keeps memory bounded however large a release is, and gives null with a note where a part has too few
images for a number that means something.
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
from synthkit_eval.sets.neighbours import Neighbours, compare_neighbours
from synthkit_eval.sets.vendi import vendi_score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit_eval.score import Group

# Of more images than these, a sample of this size is taken, evenly spaced. FID is always of all images.
MOST_IMAGES = 10_000  # of each kind, for KID and the nearest neighbours: time grows with the square
MOST_OF_CLASS = 2_000  # of a class, for Vendi scores and distances
NEAREST_K = 5  # as in Naeem et al. 2020
# How many random subsets KID averages over, and their size: as in Bińkowski et al. 2018 and torch-fidelity.
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
# Rows of features that are read at a time.
_CHUNK = 4096

Values = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """The images of one kind: features (N, D) float32, which may be memory-mapped, and labels (N,) int."""

    features: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.labels.shape != self.features.shape[:1]:
            raise ValueError(f"features {self.features.shape} do not fit labels {self.labels.shape}")


@dataclass(frozen=True, slots=True)
class _Subset:
    """Rows of a set, in the order of their classes; features are copied only when they are read."""

    features: NDArray[np.float32]
    rows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        """Yield all rows, (n, D) float64 at a time."""
        for at in range(0, len(self.rows), _CHUNK):
            yield self.features[self.rows[at : at + _CHUNK]].astype(np.float64)

    def sample(self, most: int) -> NDArray[np.float32]:
        """Return all rows, or `most` of them evenly spaced, and so from all classes: (n, D) float32."""
        count = len(self.rows)
        taken = self.rows if count <= most else self.rows[np.arange(most) * count // most]
        return np.asarray(self.features[taken])


@dataclass(frozen=True, slots=True)
class _Pair:
    """The real and the synthetic images of one part (`overall`, or a group of classes)."""

    part: str
    real: _Subset
    synthetic: _Subset

    def lacks(self, needed: int) -> str:
        """Return how many images there are, if either kind has fewer than `needed`; else an empty text."""
        real, synthetic = len(self.real), len(self.synthetic)
        counts = f"there are {real} real and {synthetic} synthetic"
        return counts if min(real, synthetic) < needed else ""


@dataclass(frozen=True, slots=True)
class _Diversity:
    """How many images a class has, their Vendi score, and their mean cosine distance (None of one image)."""

    images: int
    vendi: float
    distance: float | None


def measure(
    name: str, real: LabelledFeatures, synthetic: LabelledFeatures, groups: Mapping[int, Group]
) -> SetScore:
    """Return the set metrics of all classes and of each group; `groups` names the group of every class.

    `real` is (N, D) and `synthetic` (M, D), features of the space called `name`. The order of rows does not
    matter, except for which images a sample holds. No metric has a unit; fid, kid and distances are in the
    scale of the features:

    * fid: Fréchet distance of two Gaussians (Heusel et al. 2017, equation 6), in float64, over all images;
      needs more images of each kind than dimensions, for the covariances are singular otherwise.
    * kid: unbiased MMD² with the kernel (xᵀy/D + 1)³ (Bińkowski et al. 2018, section 4), the mean of 100
      subsets of up to 1000 images, drawn with a seed of their own.
    * precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), by the 5
      nearest neighbours; need 7 images of each kind.
    * vendi: exponential of the entropy of the eigenvalues of the cosine similarities of a class divided
      by its size (Friedman and Dieng 2023, definition 3.1), mean over classes with images. It grows with the
      number of images, so of each class as many synthetic as real ones are taken, if it has both. Images
      whose features are all zero count as equal to each other and unlike all others.
    * distance: mean of 1 − cosine over all pairs of a class, mean over classes with at least 2 images.

    `vendi_real` and `distance_real` are the same of the real images. KID and the nearest neighbours take no
    more than 10,000 images of each kind, vendi and distance no more than 2,000 of a class, evenly spaced
    over the classes. `notes` says what was sampled, left out or null, and why. A group without classes is
    null.

    Raises ScoreError if features are not finite, and ValueError if the sets do not fit together.
    """
    _check(name, real, synthetic, groups)
    diversities = {"": _diversities(synthetic, real), "_real": _diversities(real, synthetic)}
    parts: dict[str, SetMetrics | None] = dict.fromkeys(PARTS)
    notes: list[str] = []
    for part in PARTS:
        classes = [label for label, group in groups.items() if part in ("overall", group)]
        if classes:
            pair = _Pair(part, _of_classes(real, classes), _of_classes(synthetic, classes))
            parts[part], of_part = _measure_part(pair, classes, diversities)
            notes += of_part
    return SetScore.model_validate(
        {"features": name, "dimensions": real.features.shape[1], "notes": notes, **parts}
    )


def _measure_part(
    pair: _Pair, classes: Sequence[int], diversities: Mapping[str, Mapping[int, _Diversity]]
) -> tuple[SetMetrics, list[str]]:
    """Return the metrics of one part, and the notes on them."""
    found = [
        _fid(pair),
        _kid(pair),
        _neighbours(pair),
        *(_class_means(pair.part, classes, of, suffix) for suffix, of in diversities.items()),
    ]
    values = {key: value for metrics, _ in found for key, value in metrics.items()}
    notes = [*_samples_taken(pair), *(note for _, notes in found for note in notes)]
    return SetMetrics(real=len(pair.real), synthetic=len(pair.synthetic), **values), notes


def _check(
    name: str, real: LabelledFeatures, synthetic: LabelledFeatures, groups: Mapping[int, Group]
) -> None:
    if not groups:
        raise ValueError("there are no classes")
    if real.features.shape[1] != synthetic.features.shape[1]:
        raise ValueError(f"{real.features.shape[1]} and {synthetic.features.shape[1]} dimensions")
    for images in (real, synthetic):
        unknown = set(np.unique(images.labels).tolist()) - set(groups)
        if unknown:
            raise ValueError(f"labels {sorted(unknown)} are in no group")
        for at in range(0, len(images.labels), _CHUNK):
            if not np.isfinite(images.features[at : at + _CHUNK]).all():
                raise ScoreError(f"features {name}: the network made values that are not numbers")


def _of_classes(images: LabelledFeatures, classes: Sequence[int]) -> _Subset:
    order = np.argsort(images.labels, kind="stable")
    return _Subset(images.features, order[np.isin(images.labels[order], classes)])


def _fid(pair: _Pair) -> tuple[Values, list[str]]:
    """Return the FID, from sums in float64 that take D² numbers of memory, however many images there are."""
    dimensions = pair.real.features.shape[1]
    if lacking := pair.lacks(dimensions + 1):
        note = f"needs {dimensions + 1} images of each kind in {dimensions} dimensions; {lacking}"
        return {"fid": None}, [f"fid of {pair.part}: {note}"]
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    identity: Any = torch.nn.Identity()
    identity.num_features = dimensions
    with _quietly():
        # Of several training processes one alone measures, so there is nothing to synchronise.
        metric = FrechetInceptionDistance(sync_on_compute=False, feature=identity).set_dtype(torch.float64)
        for images in (pair.real, pair.synthetic):
            for chunk in images.chunks():
                metric.update(torch.from_numpy(chunk), real=images is pair.real)
        # Between equal sets, rounding may give a number slightly below 0.
        return {"fid": max(0.0, float(metric.compute()))}, []


def _kid(pair: _Pair) -> tuple[Values, list[str]]:
    if lacking := pair.lacks(2):
        return {"kid": None}, [f"kid of {pair.part}: needs 2 images of each kind; {lacking}"]
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    real, synthetic = (_by_content(images.sample(MOST_IMAGES)) for images in (pair.real, pair.synthetic))
    size = min(KID_SUBSET_SIZE, len(real), len(synthetic))
    # Where a subset is the whole of both sets, every other one would be the same.
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
    """Return the rows sorted by their bytes, so that a seed draws the same ones whatever their order was."""
    return features[sorted(range(len(features)), key=lambda row: features[row].tobytes())]


def _neighbours(pair: _Pair) -> tuple[Values, list[str]]:
    keys = Neighbours._fields
    # The formulas need one image less; `prdc` needs this many, and so its numbers and ours exist together.
    needed = NEAREST_K + 2
    if lacking := pair.lacks(needed):
        note = f"precision, recall, density and coverage of {pair.part}: need {needed} images of each kind"
        return dict.fromkeys(keys), [f"{note}; {lacking}"]
    found = compare_neighbours(pair.real.sample(MOST_IMAGES), pair.synthetic.sample(MOST_IMAGES), NEAREST_K)
    return dict(found._asdict()), []


def _samples_taken(pair: _Pair) -> Iterator[str]:
    """Yield a note for each kind of which KID and the nearest neighbours take a sample."""
    for kind, images in (("real", pair.real), ("synthetic", pair.synthetic)):
        if len(images) > MOST_IMAGES:
            taken = f"{MOST_IMAGES} of {len(images)} {kind} images, evenly spaced"
            yield f"kid, precision, recall, density and coverage of {pair.part}: of {taken}"


def _diversities(images: LabelledFeatures, others: LabelledFeatures) -> dict[int, _Diversity]:
    """Return the diversity of each class that has images, by its label.

    The Vendi score is of no more images than there are `others` of the class, if there are any.
    """
    labels = [int(label) for label in np.unique(images.labels)]
    counts = {label: int((others.labels == label).sum()) or MOST_OF_CLASS for label in labels}
    return {label: _diversity(_of_class(images, label), counts[label]) for label in labels}


def _of_class(images: LabelledFeatures, label: int) -> _Subset:
    return _Subset(images.features, np.flatnonzero(images.labels == label))


def _diversity(images: _Subset, others: int) -> _Diversity:
    features = images.sample(MOST_OF_CLASS)
    directions = _directions(features)
    count = len(directions)
    distance = None
    if count > 1:
        total = directions.sum(axis=0)
        distance = max(0.0, float(1 - (total @ total - count) / (count * (count - 1))))
    if count > others:
        directions = _directions(_by_content(features)[np.arange(others) * count // others])
    return _Diversity(len(images), vendi_score(directions), distance)


def _directions(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scale rows to length 1: (N, D) float64.

    Rows of zeros have no direction; an added coordinate gives them one that is perpendicular to all others.
    """
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
    """Return the mean diversity of the classes that have enough images, and notes on the others."""
    kind = "real" if suffix else "synthetic"
    present = [diversities[label] for label in classes if label in diversities]
    found: dict[str, list[float]] = {
        "vendi": [of.vendi for of in present],
        "distance": [of.distance for of in present if of.distance is not None],
    }
    notes = []
    for (key, numbers), needed in zip(found.items(), (f"1 {kind} image", f"2 {kind} images"), strict=True):
        if lacking := len(classes) - len(numbers):
            which = f"which {lacking} of {len(classes)} classes lack"
            notes.append(f"{key}{suffix} of {part}: needs {needed} of a class, {which}")
    if sampled := sum(of.images > MOST_OF_CLASS for of in present):
        taken = f"of {MOST_OF_CLASS} {kind} images, evenly spaced, in {sampled} classes that have more"
        notes.append(f"vendi{suffix} and distance{suffix} of {part}: {taken}")
    return {
        key + suffix: float(np.mean(numbers)) if numbers else None for key, numbers in found.items()
    }, notes


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torchmetrics from printing, and from warning of what other libraries will change."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
