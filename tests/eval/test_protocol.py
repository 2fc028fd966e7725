"""The protocols that ship are those of the paper, and a digest covers what trains and tests."""

from __future__ import annotations

from synthkit_eval.protocol import ColorJitter, load_protocol, names, usual_protocol


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
