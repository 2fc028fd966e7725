"""Protocols that train as the paper's rivals do, and the settings that they are made of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthkit.errors import ScoreError
from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.networks import check_network
from tests.conftest import Cli
from tests.helpers.scoring import QUICK, evaluate_and_tell, flags

DISCL = {"over": "strength", "order": "diverse-to-specific", "real_epochs": 1}


@pytest.mark.parametrize(
    ("name", "parent", "unlike"),
    [
        (
            "imagenet-lt-balanced-softmax",
            "imagenet-lt",
            {"epochs": 90, "batches.mixing": "coin", "batches.iterations": 226},
        ),
        (
            "imagenet-lt-lws",
            "imagenet-lt-balanced-softmax",
            {"loss": "cross-entropy", "decouple": {"kind": "lws", "epochs": 10}},
        ),
        (
            "imagenet-lt-glmc",
            "imagenet-lt",
            {
                "epochs": 135,
                "glmc": {"beta": 0.5, "partners": 0.2, "reweighting": 1.0, "consistency": 10.0, "width": 256},
                "optimizer.learning_rate": 0.1,
                "optimizer.weight_decay": 2e-4,
                "batches.size": 120,
                "batches.mixing": "coin",
                "batches.iterations": 965,
            },
        ),
        ("imagenet-lt-discl", "imagenet-lt", {"curriculum": DISCL | {"real_epochs": None}}),
        ("digits-lt-discl", "digits-lt", {"curriculum": DISCL}),
        ("digits-few-shot-discl", "digits-few-shot", {"curriculum": DISCL}),
        ("few-shot-randaugment", "few-shot", {"augment": "randaugment", "randaugment.magnitude": 3}),
        ("digits-lt-lws", "digits-lt", {"loss": "cross-entropy", "decouple": {"kind": "lws", "epochs": 2}}),
        (
            "digits-lt-glmc",
            "digits-lt",
            {"glmc": {"beta": 0.5, "partners": 0.2, "reweighting": 1.0, "consistency": 10.0, "width": 64}},
        ),
        (
            "digits-few-shot-randaugment",
            "digits-few-shot",
            {"augment": "randaugment", "randaugment.magnitude": 3},
        ),
    ],
)
def test_a_rivals_protocol_differs_in_what_it_is_about(
    name: str, parent: str, unlike: dict[str, object]
) -> None:
    theirs, ours = (load_protocol(file).settings() for file in (name, parent))
    found = {}
    for key, value in theirs.items():
        if value != ours[key] and key not in ("name", "version", "summary"):
            both = isinstance(value, dict) and isinstance(ours[key], dict)
            inner = (
                {f"{key}.{part}": of for part, of in value.items() if of != ours[key][part]} if both else {}
            )
            found |= inner or {key: value}
    assert found == unlike
    check_network(theirs["network"])


@pytest.mark.parametrize(
    "change",
    [
        "loss=logit-adjusted",
        "loss=ldam-drw",
        "synthetic_weight=0.3",
        "augment=randaugment",
        "augment=mixup",
        "augment=cutmix",
        "decouple={kind: crt, epochs: 2}",
        "glmc={}",
    ],
)
def test_a_setting_of_training_is_in_the_digest_where_it_is_set(change: str) -> None:
    usual, changed = load_protocol("digits-lt"), load_protocol("digits-lt", [change])
    assert usual.digest != changed.digest
    # Rows that differ so are not of one mixture.
    assert usual.kin != changed.kin


def test_defaults_that_are_written_out_change_no_digest() -> None:
    written = ("augment=none", "synthetic_weight=1.0", "glmc=null", "decouple=null", "mixup.alpha=1.0")
    assert load_protocol("digits-lt", written).digest == load_protocol("digits-lt").digest
    adjusted = load_protocol("digits-lt", ["loss=logit-adjusted"])
    other = load_protocol("digits-lt", ["loss=logit-adjusted", "logit_adjusted.tau=0.5"])
    assert adjusted.digest != other.digest


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("glmc={} augment=mixup", "glmc: mixes the images itself; leave out augment: mixup"),
        ("glmc={} augment=cutmix", "glmc: mixes the images itself; leave out augment: cutmix"),
        ("glmc={} trained=last-layer", "glmc: trains features, and needs trained: all"),
        (
            "glmc={} loss=ldam-drw",
            "ldam-drw has a margin for an image's one class, and glmc gives an image two",
        ),
        ("augment=cutmix loss=ldam-drw", "and augment: cutmix gives an image two; choose another loss"),
        (
            "decouple.kind=lws decouple.epochs=11",
            "decouple.epochs: is 11, and the first stage, which trains all",
        ),
        ("decouple.kind=lws decouple.epochs=1 loss=ldam-drw", "decouple: lws scales each class's weights"),
        ("decouple.kind=crt decouple.epochs=1 trained=last-layer", "decouple: needs trained: all"),
        ("decouple.kind=tau decouple.epochs=1", "decouple.kind: must be one of crt, lws; is 'tau'"),
        ("decouple.kind=crt", "decouple.epochs: is missing"),
        ("mixup.alpha=0.5 augment=cutmix", "mixup: belongs to augment: mixup; set that, or leave it out"),
        ("ldam_drw.scale=3.0", "ldam_drw: belongs to loss: ldam-drw; set that, or leave it out"),
        ("randaugment.magnitude=11", "randaugment.magnitude: must be at most 10, is 11"),
        ("augment=trivial", "augment: must be one of none, randaugment, mixup, cutmix; is 'trivial'"),
        ("loss=focal", "loss: must be one of cross-entropy, balanced-softmax, logit-adjusted, ldam-drw; is"),
        ("synthetic_weight=-1.0", "synthetic_weight: must be at least 0, is -1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: str, told: str) -> None:
    with pytest.raises(ScoreError, match=re.escape(told)) as error:
        load_protocol("digits-lt", changes.split())
    assert "\n" not in str(error.value)


def test_a_rivals_score_counts_both_stages(flat_release: Path, cli: Cli) -> None:
    settings = (*QUICK, "decouple={kind: lws, epochs: 1}", "augment=cutmix", "loss=logit-adjusted")
    score, told = evaluate_and_tell(cli, flat_release, "--seeds", "1", "--real-only", settings=settings)
    assert ", 3 epochs, 1 seed)" in told
    assert score["steps"] == 3 * 3  # three epochs of as many minibatches as the release has
    assert score["seeds"][0]["epoch"] == 3
    assert score["protocol"]["settings"]["decouple"] == {"kind": "lws", "epochs": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("glmc={}", "decouple={kind: crt, epochs: 1}", "synthetic_weight=0.5"),
        ("augment=mixup", "decouple={kind: lws, epochs: 1}"),
    ],
    ids=" ".join,
)
def test_two_processes_share_all_stages(
    flat_release: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "synthkit"]
    words = ["--protocol", "digits-lt", "--features", "none", "--seeds", "1", "--device", "cpu"]
    ran = subprocess.run(
        [*command, "eval", flat_release, *words, "--out", "score.json", *flags(*QUICK, *settings)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["environment"]["processes"] == "2"
    assert score["seeds"][0]["epoch"] == 3
