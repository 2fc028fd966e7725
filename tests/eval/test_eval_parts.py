"""The parts of a scoring against their definitions: losses, schedules, minibatches, groups, augmentation."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from scipy import stats
from torch.nn import functional as F
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from synthkit.errors import ScoreError
from synthkit.recipe.families import DigitsSourceConfig
from synthkit.release.manifest import read_manifest
from synthkit.sources import open_source
from synthkit.sources.hashes import Contents
from synthkit.sources.pool import RealImages, read_all
from synthkit_eval.protocol import Batches, ColorJitter, Images, load_protocol, names, usual_protocol
from synthkit_eval.training import augmentation
from synthkit_eval.training.accuracy import Grouping, accuracies, mean, per_class
from synthkit_eval.training.augmentation import COLUMNS, Colours, random_resized_box, training_pixels
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages, make_order, training_batches
from synthkit_eval.training.losses import balanced_softmax, make_loss
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.synthetic_images import SyntheticImages, open_synthetic
from synthkit_eval.training.train import Task, learning_rate, order_of, train


def real_digits(part: str = "train") -> RealImages:
    source = open_source(
        DigitsSourceConfig.model_validate(
            {"kind": "digits", "part": part, "max_per_class": 8, "imbalance_factor": 4.0}
        )
    )
    return read_all(source, on_error="stop", contents=Contents(), advance=lambda count: None)


def synthetic_of(release: Path) -> SyntheticImages:
    return open_synthetic(release, read_manifest(release))


# Losses.


def test_balanced_softmax_is_its_formula_and_so_is_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, counts = torch.tensor([0, 1, 2, 3, 3]), torch.tensor([100.0, 20.0, 5.0, 1.0], dtype=torch.float64)
    loss = balanced_softmax(logits, labels, counts)
    loss.backward()
    # Ren et al. 2020, eq. 4: n_y exp(z_y) / Σ n_i exp(z_i).
    weighted = counts * logits.detach().exp()
    probabilities = weighted / weighted.sum(1, keepdim=True)
    assert loss.item() == pytest.approx(-probabilities[range(5), labels].log().mean().item(), abs=1e-12)
    expected = (probabilities - F.one_hot(labels, 4)) / 5
    assert torch.allclose(logits.grad, expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: balanced_softmax(z, labels, counts), logits)


def test_balanced_softmax_of_balanced_classes_is_cross_entropy() -> None:
    logits, labels = torch.randn(8, 3), torch.arange(8) % 3
    balanced = make_loss("balanced-softmax", [7, 7, 7], "cpu")(logits, labels)
    assert balanced.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)


def test_a_class_without_real_images_has_no_balanced_softmax() -> None:
    with pytest.raises(ScoreError, match=r"class 1 has none: use --set loss=cross-entropy"):
        make_loss("balanced-softmax", [3, 0], "cpu")


# Schedule.


def test_the_cosine_starts_at_the_learning_rate_and_ends_at_zero() -> None:
    optimizer = load_protocol("imagenet-lt").optimizer
    rates = [learning_rate(optimizer, epoch, 150) for epoch in range(151)]
    assert rates[0] == 0.2
    assert rates[75] == pytest.approx(0.1)
    assert rates[150] == pytest.approx(0.0, abs=1e-17)
    assert rates == sorted(rates, reverse=True)
    network = torch.nn.Linear(1, 1)
    torchs = torch.optim.SGD(network.parameters(), lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torchs, 150)
    for rate in rates[:150]:
        assert torchs.param_groups[0]["lr"] == pytest.approx(rate)
        torchs.step()
        scheduler.step()
    constant = load_protocol("few-shot").optimizer
    assert {learning_rate(constant, epoch, 50) for epoch in range(50)} == {1e-4}


# Protocols.


def test_the_shipped_protocols_are_table_4() -> None:
    assert names() == ["cifar10-lt", "digits-lt", "few-shot", "imagenet-lt", "imagenet-lt-90"]
    long_tail, subset, few = (load_protocol(name) for name in ("imagenet-lt", "imagenet-lt-90", "few-shot"))
    assert (long_tail.network, subset.network) == ("resnext50_32x4d", "resnet18")
    for protocol in (long_tail, subset):
        assert (protocol.epochs, protocol.loss, protocol.batches.size) == (150, "balanced-softmax", 512)
        assert protocol.optimizer.model_dump() == {
            "name": "sgd",
            "learning_rate": 0.2,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "schedule": "cosine",
        }
        assert (protocol.images.size, protocol.images.evaluation_resize, protocol.images.flip) == (
            224,
            256,
            True,
        )
        assert protocol.images.color_jitter == ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    assert few.network == "resnet50.tv2_in1k"
    assert (few.pretrained, few.trained, few.loss, few.epochs) == (True, "last-layer", "cross-entropy", 50)
    assert (few.batches.size, few.batches.mixing, few.batches.iterations) == (32, "coin", 200)
    assert (few.optimizer.name, few.optimizer.learning_rate, few.report) == ("adam", 1e-4, "best")
    assert (few.images.size, few.images.rotation, few.images.mean) == (256, 15, (0.5, 0.5, 0.5))
    assert len({load_protocol(name).digest for name in names()}) == 5


def test_features_and_words_do_not_change_a_protocols_digest() -> None:
    digests = [
        load_protocol("digits-lt", [change]).digest
        for change in ("features=none", "summary=another", "epochs=3", "evaluation.part=validation")
    ]
    assert digests[0] == digests[1] == load_protocol("digits-lt").digest
    assert len(set(digests)) == 3


def test_the_usual_protocol_of_a_release() -> None:
    assert usual_protocol("imagenet-lt-90-ecd", None) == "imagenet-lt-90"
    assert usual_protocol("imagenet-lt-ecd", None) == "imagenet-lt"
    assert usual_protocol("flowers102", 4) == "few-shot"


# Minibatches.


@pytest.fixture
def pair(small_release: Path) -> TrainingImages:
    images = load_protocol("digits-lt").images
    return TrainingImages(real_digits(), synthetic_of(small_release), images)


def test_an_epoch_is_one_pass_over_the_synthetic_images_half_and_half(pair: TrainingImages) -> None:
    order = make_order(Batches(size=32), 44, 76, 0, 5, World())
    loaded = list(training_batches(pair, order, epoch=0, seed=5, world=World(), workers=0))
    batches = list(order.batches(0))
    assert [len(batch.labels) for batch in loaded] == [32, 32, 32, 32, 24]
    assert len(order) == len(loaded) == 5
    for batch in batches:
        assert sum(index < 44 for index in batch) == len(batch) // 2
    synthetic = [index for batch in batches for index in batch if index >= 44]
    assert sorted(synthetic) == list(range(44, 120))
    # Real ones are drawn with replacement.
    assert max(Counter(index for batch in batches for index in batch if index < 44).values()) > 1
    labels = [pair.labels[batch].tolist() for batch in batches]
    assert [batch.labels.tolist() for batch in loaded] == labels


def test_the_order_follows_from_the_seed_and_the_epoch(pair: TrainingImages) -> None:
    def orders(seed: int, epoch: int) -> list[list[int]]:
        return list(make_order(Batches(size=32), 44, 76, 0, seed, World()).batches(epoch))

    assert orders(1, 0) == orders(1, 0)
    assert orders(1, 0) != orders(1, 1) != orders(2, 1)

    def epoch(workers: int) -> list[torch.Tensor]:
        order = make_order(Batches(size=32), 44, 76, 0, 1, World())
        batches = training_batches(pair, order, epoch=3, seed=1, world=World(), workers=workers)
        return [batch.pixels for batch in batches]

    assert all(torch.equal(a, b) for a, b in zip(epoch(0), epoch(2), strict=True))


def test_processes_share_each_minibatch_half_and_half(pair: TrainingImages) -> None:
    order = make_order(Batches(size=32), 44, 76, 0, 1, World(0, 2))
    parts = [
        list(training_batches(pair, order, epoch=0, seed=1, world=World(rank, 2), workers=0))
        for rank in (0, 1)
    ]
    # The incomplete last minibatch is left out: it could leave a process with nothing.
    assert [len(batch.labels) for batch in parts[0]] == [16] * 4
    for number, indices in enumerate(order.batches(0)):
        both = torch.stack([parts[0][number].labels, parts[1][number].labels], 1).flatten()
        assert both.tolist() == pair.labels[indices].tolist()
        assert sum(index < 44 for index in indices[::2]) == 8


def test_a_coin_decides_each_image() -> None:
    order = make_order(Batches(size=32, mixing="coin", iterations=200), 44, 76, 200, 0, World())
    drawn = [index for batch in order.batches(0) for index in batch]
    assert len(drawn) == 6400
    assert sum(index >= 44 for index in drawn) == pytest.approx(3200, abs=4 * 40)
    assert set(drawn) == set(range(120))


def test_real_images_alone_are_drawn_with_replacement() -> None:
    order = make_order(Batches(size=32), 44, 0, 5, 0, World())
    batches = list(order.batches(0))
    assert [len(batch) for batch in batches] == [32] * 5
    assert max(index for batch in batches for index in batch) < 44


def test_images_read_at_random_are_those_that_webdataset_reads(small_release: Path) -> None:
    found = synthetic_of(small_release)
    urls = [str(path) for path in sorted(small_release.glob("data/*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).to_tuple("png", "cls"))
    assert [(found.read(index), int(found.labels[index])) for index in range(len(found))] == [
        (image, int(label)) for image, label in samples
    ]


# Augmentation.


def photograph() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([x * 3, y * 4, 255 - (x + y)], axis=2).astype(np.uint8)


def test_random_resized_crops_are_spread_as_torchvisions() -> None:
    uniform = np.random.default_rng(0).random((4000, COLUMNS))
    ours = [random_resized_box(500, 375, (0.08, 1.0), row) for row in uniform]
    assert all(
        b.left >= 0 and b.top >= 0 and b.left + b.width <= 500 and b.top + b.height <= 375 for b in ours
    )
    torch.manual_seed(0)
    blank = torch.empty(3, 375, 500)
    theirs = [RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    for mine, other in (
        ([b.width * b.height for b in ours], [h * w for _, _, h, w in theirs]),
        ([b.width / b.height for b in ours], [w / h for _, _, h, w in theirs]),
        ([b.left for b in ours], [left for _, left, _, _ in theirs]),
    ):
        assert stats.ks_2samp(mine, other).pvalue > 1e-3


def test_colour_jitter_is_torchvisions_up_to_clipping() -> None:
    images = Images(size=60, color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4))
    # Mid tones: nothing is clipped on the way.
    pixels = torch.from_numpy(photograph() // 4 + 90).permute(2, 0, 1)
    uniform = np.random.default_rng(1).random((24, COLUMNS))
    found = Colours(images, "cpu")(pixels.expand(24, -1, -1, -1), uniform)
    changes = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    for row, values in zip(uniform, found, strict=True):
        expected = pixels.float() / 255
        for kind in augmentation._ORDERS[int(row[augmentation._ORDER] * 6)]:
            expected = changes[kind](expected, 0.6 + 0.8 * row[augmentation._FACTORS + kind])
        assert (values * std + mean - expected).abs().max() < 2e-3


def test_pixels_without_jitter_are_normalised() -> None:
    images = Images(size=32)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    expected = tv.normalize(pixels.float() / 255, list(images.mean), list(images.std))
    assert torch.allclose(Colours(images, "cpu")(pixels), expected, atol=1e-6)


def test_padded_crops_flips_and_turns_move_the_image() -> None:
    pixels = torch.from_numpy(np.array(Image.fromarray(photograph()).resize((32, 32)))).permute(2, 0, 1)
    still, row = np.full(COLUMNS, 0.5), np.full(COLUMNS, 0.5)
    padded = Images(size=32, crop="padded", padding=4, flip=True, rotation=15.0)
    # In the middle of every range: not shifted, not mirrored, not turned.
    assert torch.equal(training_pixels(pixels, padded, still), pixels)
    row[augmentation._PLACE : augmentation._PLACE + 2] = 0.0
    shifted = training_pixels(pixels, padded, row)
    assert torch.equal(shifted[:, 4:, 4:], pixels[:, :-4, :-4])
    assert not shifted[:, :4].any()
    mirrored = still.copy()
    mirrored[augmentation._FLIP] = 0.1
    assert torch.equal(training_pixels(pixels, padded, mirrored), pixels.flip(-1))


# Accuracies.


def test_group_means_of_a_hand_made_confusion() -> None:
    confusion = np.array([[9, 1, 0, 0], [2, 6, 2, 0], [0, 0, 5, 5], [10, 0, 0, 10]])
    classes = per_class(confusion)
    assert classes.tolist() == [0.9, 0.6, 0.5, 0.5]
    grouping = Grouping.of(["many", "medium", "medium", "few"], np.array([10, 10, 10, 20]))
    assert grouping.parts(classes) == {
        "overall": pytest.approx(30 / 50),
        "many": pytest.approx(0.9),
        "medium": pytest.approx(0.55),
        "few": pytest.approx(0.5),
    }
    assert Grouping.of(["few", "few"], np.array([1, 1])).parts(np.ones(2))["many"] is None


def test_intervals_over_seeds_and_over_images() -> None:
    values = [0.90, 0.92, 0.97]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = mean(values)
    assert (found.mean, found.ci95) == (pytest.approx(np.mean(values)), pytest.approx((high - low) / 2))
    assert mean([0.5]).ci95 is None
    grouping = Grouping.of(["many", "few"], np.array([150, 150]))
    overall = accuracies([np.array([0.9, 0.9])], grouping).overall
    p = (270 + 2) / 304
    assert overall.images_ci95 == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 304), rel=1e-6)


# Few-shot: nothing but the last layer learns.


def test_few_shot_training_touches_the_last_layer_alone(small_release: Path, tmp_path: Path) -> None:
    settings = [
        "network=test_resnet",
        "pretrained=false",
        "epochs=1",
        "batches.iterations=3",
        "images.size=32",
    ]
    protocol = load_protocol("few-shot", settings)
    images = TrainingImages(real_digits(), synthetic_of(small_release), protocol.images)
    evaluation = real_digits("test")
    grouping = Grouping.of(["few"] * 10, np.bincount(evaluation.listing.labels))
    task = Task(protocol, images, evaluation, grouping, (1,) * 10, 76, 3, "cpu", World(), 0)
    train(task, 0, tmp_path / "state.safetensors", lambda count: None)
    torch.manual_seed(0)
    before = make_network(protocol, 10).state_dict()
    after = load_file(tmp_path / "state.safetensors")
    changed = {key for key, value in before.items() if not torch.equal(value, after[f"network.{key}"])}
    assert changed == {"fc.weight", "fc.bias"}
    assert any("running_mean" in key for key in before)
    assert len(order_of(task, 0)) == 3


def test_weights_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    settings = ["network=test_resnet", "network_args={}", f"pretrained={tmp_path / 'weights.safetensors'}"]
    torch.manual_seed(3)
    other = make_network(load_protocol("few-shot", ["network=test_resnet", "pretrained=false"]), 7)
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    protocol = load_protocol("few-shot", settings)
    mine = make_network(protocol, 10).state_dict()
    first = next(iter(mine))
    assert torch.equal(mine[first], other.state_dict()[first])
    assert mine["fc.weight"].shape[0] == 10
    assert "weights.safetensors" in protocol.settings()["pretrained"]
    assert str(tmp_path) not in str(protocol.settings())
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ScoreError, match="does not fit the network"):
        make_network(protocol, 10)


def test_a_small_stem_keeps_small_images_whole() -> None:
    protocol = load_protocol("cifar10-lt")
    network = make_network(protocol, 10)
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)  # type: ignore[operator]
