"""Set metrics are what their formulas say, of the right images, and null where they would mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthkit.errors import ScoreError
from synthkit_eval.score import PARTS, SetMetrics, SetScore
from synthkit_eval.sets import metrics as set_metrics
from synthkit_eval.sets.metrics import LabelledFeatures, measure


def gaussian(
    count: int, dimensions: int, *, seed: int, mean: float = 0.0, spread: float = 1.0, rank: int | None = None
) -> np.ndarray:
    """(N, D) float32 of one covariance for all seeds; singular, if the rank is below D."""
    rank = rank or dimensions
    mixing = np.random.default_rng(99).standard_normal((rank, dimensions)) / np.sqrt(rank)
    points = np.random.default_rng(seed).standard_normal((count, rank)) @ mixing
    return (mean + spread * points).astype(np.float32)


def of_one_class(features: np.ndarray, label: int = 0) -> LabelledFeatures:
    return LabelledFeatures(features, np.full(len(features), label))


def overall(real: np.ndarray, synthetic: np.ndarray) -> SetMetrics:
    return measure("space", of_one_class(real), of_one_class(synthetic), {0: "many"}).overall


def reference_fid(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Heusel et al. 2017, equation 6, in float64."""
    a, b = real.astype(np.float64), synthetic.astype(np.float64)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # √(AB) has the same trace as √(√A·B·√A), which is symmetric.
    values, vectors = np.linalg.eigh(covariances[0])
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0))
    difference = a.mean(axis=0) - b.mean(axis=0)
    return float(difference @ difference + np.trace(covariances[0] + covariances[1]) - 2 * roots.sum())


def reference_kid(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Bińkowski et al. 2018, section 4: the unbiased estimate over all pairs, in float64."""
    a, b = real.astype(np.float64), synthetic.astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def without_diagonal(k: np.ndarray) -> float:
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    between = kernel(a, b).mean()
    return float(without_diagonal(kernel(a, a)) + without_diagonal(kernel(b, b)) - 2 * between)


def fid(real: np.ndarray, synthetic: np.ndarray) -> float | None:
    """The FID alone, for sets whose other metrics would take long."""
    sets = (set_metrics._Subset(some, np.arange(len(some))) for some in (real, synthetic))
    return set_metrics._fid(set_metrics._Pair("overall", *sets))[0]["fid"]


@pytest.mark.parametrize(
    ("real", "synthetic", "dimensions", "rank"),
    [
        (20, 33, 8, None),
        (129, 300, 128, None),  # one more than dimensions: nearly singular
        (300, 776, 128, 20),  # singular
        (1000, 1000, 768, None),
    ],
)
def test_fid_is_its_formula_in_float64(real: int, synthetic: int, dimensions: int, rank: int | None) -> None:
    a = gaussian(real, dimensions, seed=1, rank=rank)
    b = gaussian(synthetic, dimensions, seed=2, rank=rank, mean=0.2, spread=1.1)
    assert fid(a, b) == pytest.approx(reference_fid(a, b), abs=1e-3)


def test_fid_of_features_far_from_zero() -> None:
    a = gaussian(400, 32, seed=1, mean=1000, spread=0.01)
    b = gaussian(500, 32, seed=2, mean=1000.5, spread=0.01)
    assert fid(a, b) == pytest.approx(reference_fid(a, b), abs=1e-3)


def test_a_set_is_not_far_from_itself() -> None:
    points = gaussian(500, 16, seed=3)
    found = overall(points, points)
    assert found.fid == pytest.approx(0, abs=1e-9)
    assert found.kid is not None
    assert found.kid < 0.01
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert (found.vendi, found.distance) == (found.vendi_real, found.distance_real)


def test_fid_is_the_square_of_a_shift() -> None:
    same = fid(gaussian(4000, 4, seed=1), gaussian(4000, 4, seed=2))
    shift = np.array([3, 0, 4, 0], dtype=np.float32)
    moved = fid(gaussian(4000, 4, seed=1), gaussian(4000, 4, seed=2) + shift)
    assert same is not None
    assert same < 0.01
    assert moved == pytest.approx(25, rel=0.02)


def test_fid_sums_over_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = gaussian(100, 4, seed=1), gaussian(70, 4, seed=2, mean=1)
    whole = fid(a, b)
    monkeypatch.setattr(set_metrics, "_CHUNK", 32)
    assert fid(a, b) == pytest.approx(whole, abs=1e-12)


def test_kid_is_its_formula_where_one_subset_is_everything() -> None:
    a, b = gaussian(200, 48, seed=1), gaussian(200, 48, seed=2, mean=0.3)
    assert overall(a, b).kid == pytest.approx(reference_kid(a, b), abs=1e-10)


def test_kid_of_subsets_is_near_that_of_all_pairs() -> None:
    a, b = gaussian(150, 8, seed=1), gaussian(400, 8, seed=2, mean=0.5)
    assert overall(a, b).kid == pytest.approx(reference_kid(a, b), rel=0.05)


def test_kid_draws_from_no_ones_random_numbers() -> None:
    a, b = gaussian(60, 4, seed=1), gaussian(90, 4, seed=2)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = overall(a, b).kid
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    assert overall(a, b).kid == first


def test_precision_recall_density_and_coverage() -> None:
    """Of a square of 12 real images, synthetic ones keep the left half, and some are far away."""
    real = np.array([(x, y) for x in range(4) for y in range(3)], dtype=np.float32)
    left = real[real[:, 0] < 2] + np.float32(0.01)
    away = np.full((6, 2), 100, dtype=np.float32) + np.arange(12, dtype=np.float32).reshape(6, 2)
    found = overall(real, np.concatenate([left, away]))
    distances = np.linalg.norm(real[:, None] - real[None], axis=2)
    radii = np.sort(distances, axis=1)[:, 5]
    between = np.linalg.norm(real[:, None] - np.concatenate([left, away])[None], axis=2)
    inside = between < radii[:, None]
    assert found.precision == 0.5
    assert found.density == pytest.approx(inside.sum() / 5 / 12)
    assert found.coverage == pytest.approx(inside.any(axis=1).mean())
    assert found.recall == 1  # a ball of the images far away holds everything


def test_vendi_counts_different_images() -> None:
    axes = np.eye(6, dtype=np.float32)
    found = overall(axes, np.repeat(axes[:3], 4, axis=0))
    assert found.vendi_real == pytest.approx(6)
    assert found.vendi == pytest.approx(3)
    assert found.distance_real == pytest.approx(1)
    assert found.distance == pytest.approx(1 - 3 * 6 / 66)  # of 66 pairs, 6 within each of three are equal


def test_vendi_is_the_same_from_either_matrix() -> None:
    points = gaussian(50, 20, seed=1)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit.astype(np.float64) @ unit.T.astype(np.float64) / 50)
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    expected = np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    assert overall(points, points[::-1].copy()).vendi_real == pytest.approx(expected, rel=1e-5)


def test_vendi_is_of_equal_numbers_of_images() -> None:
    points = gaussian(400, 20, seed=1)
    many, few = overall(points[:40], points[40:]), overall(points[40:80], points[:20])
    # 360 images are no more diverse than 40 of the same kind: 40 of them count.
    assert many.vendi == pytest.approx(many.vendi_real, rel=0.1)
    assert few.vendi == pytest.approx(few.vendi_real, rel=0.15)
    assert few.vendi_real is not None
    assert many.vendi_real is not None
    assert few.vendi_real < 0.9 * many.vendi_real


def test_diversity_is_a_mean_over_classes() -> None:
    axes = np.eye(4, dtype=np.float32)
    features = np.concatenate([axes, np.repeat(axes[:1], 2, axis=0)])
    images = LabelledFeatures(features, np.array([0, 0, 0, 0, 1, 1]))
    found = measure("space", images, images, {0: "many", 1: "few"})
    assert found.overall.vendi == pytest.approx((4 + 1) / 2)
    assert found.overall.distance == pytest.approx((1 + 0) / 2)


@pytest.fixture(scope="module")
def three_classes() -> tuple[LabelledFeatures, LabelledFeatures]:
    """Class 0 is as it should be, class 1 is moved, class 2 has few images."""
    real = [gaussian(40, 6, seed=1), gaussian(30, 6, seed=2), gaussian(5, 6, seed=3)]
    synthetic = [gaussian(50, 6, seed=4), gaussian(20, 6, seed=5, mean=3), gaussian(9, 6, seed=6)]
    return _labelled(real), _labelled(synthetic)


def _labelled(classes: list[np.ndarray]) -> LabelledFeatures:
    labels = np.repeat(np.arange(len(classes)), [len(some) for some in classes])
    return LabelledFeatures(np.concatenate(classes), labels)


def test_a_group_is_measured_over_its_own_classes(three_classes: tuple[LabelledFeatures, ...]) -> None:
    real, synthetic = three_classes
    found = measure("space", real, synthetic, {0: "many", 1: "medium", 2: "few"})
    for part, label in ((found.many, 0), (found.medium, 1)):
        alone = overall(real.features[real.labels == label], synthetic.features[synthetic.labels == label])
        assert part == alone
    assert found.overall.real, found.overall.synthetic == (75, 79)
    both = measure("space", real, synthetic, {0: "many", 1: "many", 2: "few"})
    assert both.many is not None
    assert (both.many.real, both.many.synthetic) == (70, 70)
    assert both.medium is None
    assert (found.features, found.dimensions) == ("space", 6)


def test_too_few_images_are_null_with_a_note(three_classes: tuple[LabelledFeatures, ...]) -> None:
    found = measure("space", *three_classes, {0: "many", 1: "medium", 2: "few"})
    assert found.few is not None
    assert found.few.fid is found.few.precision is found.few.coverage is None
    assert found.few.kid is not None
    assert found.notes == [
        "fid of few: needs 7 images of each kind in 6 dimensions; there are 5 real and 9 synthetic",
        "precision, recall, density and coverage of few: need 7 images of each kind; "
        "there are 5 real and 9 synthetic",
    ]


def test_a_class_without_images_is_left_out_of_means_and_told() -> None:
    real = LabelledFeatures(gaussian(21, 2, seed=1), np.repeat([0, 1, 2], 7))
    synthetic = LabelledFeatures(gaussian(9, 2, seed=2), np.array([0] * 8 + [1]))
    found = measure("space", real, synthetic, {0: "many", 1: "few", 2: "few"})
    assert found.few is not None
    assert found.few.vendi == pytest.approx(1)
    assert (found.few.distance, found.few.kid, found.few.fid) == (None, None, None)
    assert found.few.distance_real is not None
    assert [note for note in found.notes if "of few:" in note] == [
        "fid of few: needs 3 images of each kind in 2 dimensions; there are 14 real and 1 synthetic",
        "kid of few: needs 2 images of each kind; there are 14 real and 1 synthetic",
        "precision, recall, density and coverage of few: need 7 images of each kind; "
        "there are 14 real and 1 synthetic",
        "vendi of few: needs 1 synthetic image of a class, which 1 of 2 classes lack",
        "distance of few: needs 2 synthetic images of a class, which 2 of 2 classes lack",
    ]


def test_six_images_are_too_few_for_prdc_and_seven_are_enough() -> None:
    points = gaussian(7, 2, seed=1)
    assert overall(points, points).coverage == 1
    assert overall(points[:6], points).coverage is None


def test_no_images_at_all() -> None:
    found = overall(gaussian(30, 2, seed=1), np.zeros((0, 2), dtype=np.float32))
    assert found.synthetic == 0
    assert found.vendi_real is not None
    assert {found.fid, found.kid, found.precision, found.vendi, found.distance} == {None}


@pytest.mark.parametrize("value", [0, 0.25, -7])
def test_one_image_again_and_again(value: float) -> None:
    """A black release: every number is finite, diversity and coverage are as low as can be."""
    real = gaussian(60, 8, seed=1)
    found = overall(real, np.full((50, 8), value, dtype=np.float32))
    _finite(found)
    assert found.vendi == pytest.approx(1)
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.coverage is not None
    assert found.coverage < 0.5
    assert found.recall == 0


@pytest.mark.parametrize("value", [0, 1e-30, 1, 1e30])
def test_constants_on_both_sides(value: float) -> None:
    constant = np.full((20, 4), value, dtype=np.float32)
    _finite(overall(constant, constant))


def _finite(found: SetMetrics) -> None:
    numbers = [number for number in found.model_dump().values() if number is not None]
    assert np.isfinite(numbers).all()
    assert len(numbers) == len(SetMetrics.model_fields)


def test_images_without_features_are_equal_to_each_other() -> None:
    features = np.array([[0, 0], [0, 0], [1, 0], [0, 1]], dtype=np.float32)
    found = overall(features, features)
    assert found.vendi == pytest.approx(np.exp(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))))
    assert found.distance == pytest.approx(5 / 6)


def test_order_changes_nothing(three_classes: tuple[LabelledFeatures, ...]) -> None:
    groups = {0: "many", 1: "medium", 2: "few"}
    straight = measure("space", *three_classes, groups)
    shuffled = (
        LabelledFeatures(some.features[order], some.labels[order])
        for some in three_classes
        for order in [np.random.default_rng(0).permutation(len(some.labels))]
    )
    _equal(measure("space", *shuffled, groups), straight)


def _equal(found: SetScore, expected: SetScore) -> None:
    for part in PARTS:
        numbers, others = (getattr(score, part).model_dump(exclude_none=True) for score in (found, expected))
        assert numbers == pytest.approx(others, rel=1e-9, abs=1e-9)
    assert found.notes == expected.notes


def test_samples_of_many_images_cover_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that go round the classes, with a step that would always meet the same one."""
    monkeypatch.setattr(set_metrics, "MOST_IMAGES", 20)
    monkeypatch.setattr(set_metrics, "MOST_OF_CLASS", 10)
    labels = np.arange(200) % 10
    features = np.eye(10, dtype=np.float32)[labels] * (1 + np.arange(200, dtype=np.float32)[:, None] / 1000)
    images = LabelledFeatures(features, labels)
    sampled = set_metrics._of_classes(images, range(10)).sample(20)
    assert sorted(sampled.argmax(axis=1)) == sorted([*range(10)] * 2)
    found = measure("space", images, images, dict.fromkeys(range(10), "many"))
    assert (found.overall.real, found.overall.vendi) == (200, pytest.approx(1))
    assert found.overall.fid == pytest.approx(0, abs=1e-6)
    spaced = "evenly spaced"
    assert [note for note in found.notes if "overall" in note] == [
        f"kid, precision, recall, density and coverage of overall: of 20 of 200 real images, {spaced}",
        f"kid, precision, recall, density and coverage of overall: of 20 of 200 synthetic images, {spaced}",
        f"vendi and distance of overall: of 10 synthetic images, {spaced}, in 10 classes that have more",
        f"vendi_real and distance_real of overall: of 10 real images, {spaced}, in 10 classes that have more",
    ]


def test_memory_mapped_features(tmp_path) -> None:
    points = gaussian(40, 4, seed=1)
    file = np.lib.format.open_memmap(tmp_path / "f.npy", mode="w+", dtype=np.float32, shape=points.shape)
    file[:] = points
    assert overall(points, file) == overall(points, points)


def test_libraries_print_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    overall(gaussian(60, 4, seed=1), gaussian(60, 4, seed=2))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_score_holds_it_all_as_json(three_classes: tuple[LabelledFeatures, ...]) -> None:
    found = measure("space", *three_classes, {0: "many", 1: "medium", 2: "few"})
    assert SetScore.model_validate_json(found.model_dump_json()) == found


def test_features_that_are_not_numbers_are_told() -> None:
    broken = gaussian(20, 4, seed=1)
    broken[7, 2] = np.nan
    with pytest.raises(ScoreError, match="features space: the network made values that are not numbers"):
        overall(gaussian(20, 4, seed=2), broken)


def test_sets_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit labels"):
        LabelledFeatures(gaussian(3, 2, seed=1), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        overall(gaussian(9, 2, seed=1), gaussian(9, 3, seed=1))
    points = of_one_class(gaussian(9, 2, seed=1), label=4)
    with pytest.raises(ValueError, match=r"labels \[4\] are in no group"):
        measure("space", points, points, {0: "many"})
