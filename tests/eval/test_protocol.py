"""The protocols that ship are those of the paper, and a digest covers what trains and tests."""

from __future__ import annotations

import re

import pytest

from synthkit.errors import ScoreError
from synthkit_eval.protocol import load_protocol, names, usual_protocol
from synthkit_eval.sections.images import ColorJitter


def test_the_shipped_protocols_are_table_4() -> None:
    assert names() == [
        "cifar10-lt",
        "digits-few-shot",
        "digits-few-shot-discl",
        "digits-few-shot-randaugment",
        "digits-lt",
        "digits-lt-discl",
        "digits-lt-glmc",
        "digits-lt-lws",
        "few-shot",
        "few-shot-as-published",
        "few-shot-randaugment",
        "imagenet-lt",
        "imagenet-lt-90",
        "imagenet-lt-balanced-softmax",
        "imagenet-lt-discl",
        "imagenet-lt-glmc",
        "imagenet-lt-lws",
    ]
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
    assert len({load_protocol(name).digest for name in names()}) == len(names())


def test_few_shot_as_published_differs_in_what_the_authors_script_does() -> None:
    ours, theirs = (load_protocol(name).model_dump() for name in ("few-shot", "few-shot-as-published"))
    unlike = {key: theirs[key] for key in ours if ours[key] != theirs[key] and key not in ("name", "summary")}
    assert unlike == {"frozen_statistics": "updated", "mixed_precision": False}


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("cifar10-lt", "d8bd9fd7421d"),
        ("digits-lt", "9f61ee640c1d"),
        ("few-shot", "035fb260850f"),
        ("digits-few-shot", "1786509e8a99"),
        ("few-shot-as-published", "62248aa8a0f3"),
        ("imagenet-lt", "6fdf3dff0290"),
        ("imagenet-lt-90", "20f8b8241969"),
    ],
)
def test_a_later_field_leaves_the_digest_of_a_protocol_without_it(name: str, digest: str) -> None:
    """The first three are of the time before there were any later fields: finished scores still compare."""
    assert load_protocol(name).digest.startswith(digest)


def test_a_later_field_that_is_set_changes_the_digest() -> None:
    plain, updated = (load_protocol("few-shot", [f"frozen_statistics={how}"]) for how in ("kept", "updated"))
    assert plain.digest == load_protocol("few-shot").digest != updated.digest
    assert (plain.settings()["frozen_statistics"], updated.settings()["frozen_statistics"]) == (
        "kept",
        "updated",
    )


def test_statistics_of_frozen_layers_need_frozen_layers() -> None:
    with pytest.raises(
        ScoreError, match="frozen_statistics: needs trained: last-layer; else no layer is frozen"
    ):
        load_protocol("digits-lt", ["frozen_statistics=updated"])


def test_features_and_words_do_not_change_a_protocols_digest() -> None:
    digests = [
        load_protocol("digits-lt", [change]).digest
        for change in ("features=none", "summary=another", "epochs=3", "evaluation.part=validation")
    ]
    assert digests[0] == digests[1] == load_protocol("digits-lt").digest
    assert len(set(digests)) == 3


def test_the_long_tail_of_imagenet_chooses_the_epoch_on_validation_images() -> None:
    for name in ("imagenet-lt", "imagenet-lt-90"):
        protocol = load_protocol(name)
        assert (protocol.version, protocol.report) == (2, "validation")
        assert protocol.validation == {"list": "data/ImageNet_LT_val.txt"}
        assert protocol.evaluation == {"list": "data/ImageNet_LT_test.txt"}
        elsewhere = load_protocol(name, ["validation.list=/mine/ImageNet_LT_val.txt"])
        assert elsewhere.digest == protocol.digest != load_protocol(name, ["report=last"]).digest
        assert elsewhere.settings()["validation"] == {"list": "ImageNet_LT_val.txt"}


def test_a_protocol_says_which_images_choose_the_epoch() -> None:
    with pytest.raises(ScoreError, match="report: validation needs to know where its images are"):
        load_protocol("digits-lt", ["report=validation"])


def test_the_usual_protocol_of_a_release() -> None:
    assert usual_protocol("imagenet-lt-90-ecd", None) == "imagenet-lt-90"
    assert usual_protocol("imagenet-lt-ecd", None) == "imagenet-lt"
    assert usual_protocol("flowers102", 4) == "few-shot"
    assert usual_protocol("digits_few_shot-k4", 4) == "digits-few-shot"
    assert usual_protocol("digits-lt-few", 4) == "few-shot"


def test_a_mixture_changes_the_digest_and_its_default_does_not() -> None:
    same = ("batches.real=0.5", "batches.synthetic_per_class=null", "batches.mixing=half")
    other = ("batches.real=0.3", "batches.real=0", "batches.synthetic_per_class=20", "epochs=3")
    digests = [load_protocol("digits-lt", [change]).digest for change in (*same, *other)]
    assert digests[:3] == [load_protocol("digits-lt").digest] * 3
    assert len(set(digests)) == 1 + len(other)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("batches.real=1", "batches.real: 1 would be real images alone: synthkit eval --real-only trains on"),
        ("batches.real=-0.1", "batches.real: must be at least 0, is -0.1"),
        ("batches.synthetic_per_class=0", "batches.synthetic_per_class: must be at least 1, is 0"),
        ("batches.mixing=thirds", "batches.mixing: must be one of pass, coin; is 'thirds'"),
    ],
)
def test_mixtures_that_cannot_be(change: str, told: str) -> None:
    with pytest.raises(ScoreError, match=re.escape(told)):
        load_protocol("digits-lt", [change])


def test_protocols_of_other_mixtures_are_kin() -> None:
    usual = load_protocol("digits-lt")
    for changes in (["batches.real=0.25"], ["batches.synthetic_per_class=20"], ["features=none"]):
        assert load_protocol("digits-lt", changes).kin == usual.kin == usual.digest
    assert load_protocol("digits-lt", ["batches.real=0.25"]).digest != usual.digest
    assert load_protocol("digits-lt", ["batches.size=32"]).kin != usual.kin
