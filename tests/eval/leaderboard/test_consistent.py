"""A score that does not agree with itself is told, whatever is changed in it; those of the studies agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from synthkit_eval.leaderboard.consistent import first_fault
from synthkit_eval.protocol import Protocol
from synthkit_eval.score import Score
from synthkit_eval.score_detail import Detail
from synthkit_eval.score_files import Scored, read_scores
from tests.helpers.paths import ROOT

Change = Callable[[dict[str, Any], Detail], Detail | None]


def changed(scored: Scored, change: Change) -> Scored:
    """A score with something changed in its JSON, or in its detail."""
    data = scored.score.model_dump(mode="json")
    detail = change(data, scored.detail)
    return Scored(Score.model_validate(data), detail or scored.detail)


def put(path: str, value: Any) -> Change:
    """Change one key, named by its dotted path; a number in it is a place in a list."""

    def change(data: dict[str, Any], detail: Detail) -> None:
        *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        place: Any = data
        for part in way:
            place = place[part]
        place[last] = value

    return change


def test_a_score_that_eval_writes_agrees_with_itself(scored: Scored) -> None:
    assert first_fault(scored) is None


def test_settings_may_leave_out_what_has_a_default(scored: Scored) -> None:
    def change(data: dict[str, Any], detail: Detail) -> None:
        for name in ("report", "validation", "mixed_precision"):
            del data["protocol"]["settings"][name]

    assert first_fault(changed(scored, change)) is None


def test_of_two_stages_the_last_one_counts(scored: Scored) -> None:
    """Both epochs of the score, as one of either stage; the digest is that of such a protocol."""

    def change(data: dict[str, Any], detail: Detail) -> None:
        settings = data["protocol"]["settings"]
        settings |= {"epochs": 1, "decouple": {"kind": "crt", "epochs": 1}, "report": "best"}
        protocol = Protocol.model_validate_json(json.dumps(settings))
        data["protocol"] |= {"digest": protocol.digest, "kin": protocol.kin}
        data["protocol"]["changed"] += ["decouple={}", "report=best"]
        last = [history[-1].overall for history in detail.histories]
        data["best"]["overall"]["mean"] = sum(last) / len(last)

    assert first_fault(changed(scored, change)) is None


@pytest.mark.parametrize("study", ["long_tail_glyphs", "dropout_glyphs"])
def test_scores_of_studies_agree_with_themselves(study: str) -> None:
    found = read_scores(ROOT / "eval" / "studies" / study / "scores.parquet")
    # Of all kinds: with releases and without.
    assert {one.score.trained_on for one in found} == {"real and synthetic", "real"}
    assert {first_fault(one) for one in found[::7]} == {None}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("protocol.digest", "0" * 64, "its protocol's settings do not give its protocol's digest"),
        ("protocol.kin", "0" * 64, "its protocol's settings do not give the digest that it compares by"),
        ("protocol.settings.epochs", 3, "its protocol's settings do not give its protocol's digest"),
        (
            "protocol.settings.new",
            3,
            "its protocol's settings are none that this version of synthkit knows: new",
        ),
        ("protocol.settings.pretrained", "/etc/passwd", "its protocol begins with weights of a file"),
        ("protocol.version", 2, "its protocol's settings are those of digits-lt version 1"),
        (
            "protocol.changed",
            [],
            "says that it was trained by digits-lt version 1 with nothing changed, but has ",
        ),
        ("accuracy.overall.mean", 0.999, "its predictions do not give its accuracy and intervals (overall)"),
        ("accuracy.overall.ci95", 0.001, "its predictions do not give its accuracy and intervals (overall)"),
        ("accuracy.many", None, "it has no class of many, or lacks its accuracy"),
        ("seeds.0.class_mean", 0.999, "the predictions of seed 0 do not give its accuracy (class_mean)"),
        ("seeds.1.seed", 0, "it has two training runs of one seed"),
        ("seeds.1.epoch", 1, "the epochs of seed 1 do not have its accuracies in the epoch that counts"),
        ("loss.mean", 0.0, "its epochs do not give its loss"),
        ("best.overall.mean", 1.0, "its epochs do not give the best accuracy that it states"),
        ("steps", 3, "3 steps are no whole number for each of 2 epochs"),
        ("data.groups", "0" * 64, "its classes do not give the digest of its groups"),
        ("data.training_images", 5, "its classes do not have the real training images that it counts"),
        ("data.kin", "0" * 64, "its real images do not give the digest that it compares by (data.kin)"),
        ("release.images", 1, "its classes do not have the synthetic images that it counts"),
        ("release", None, "trained on real and synthetic, without a release"),
        ("release.name", "x" * 101, "its release.name has 101 letters; a name has 1 to 100"),
        ("release.name", "\x1b[2Jrow", "its release.name has a character that no name has: U+001B"),
        ("release.method", " ", "its release.method has 1 letters; a name has 1 to 100"),
        ("release.guidance_scale", 1e300, "its release.guidance_scale is beyond 9e+15"),
        ("release.seed", 10**40, "its release.seed is beyond 9e+15"),
        ("environment", {"device": "x" * 1001}, "its environment.device has a text of 1,001 letters"),
        ("protocol.changed", ["x"] * 10_001, "its protocol.changed holds more than a score does"),
    ],
)
def test_what_was_changed_is_told(scored: Scored, path: str, value: Any, message: str) -> None:
    fault = first_fault(changed(scored, put(path, value)))
    assert fault is not None and fault.startswith(message), fault


def other_accuracy(data: dict[str, Any], detail: Detail) -> Detail:
    first, *others = detail.classes
    of_class = first.accuracy.model_copy(update={"mean": 0.123})
    return replace(detail, classes=(first.model_copy(update={"accuracy": of_class}), *others))


def other_labels(data: dict[str, Any], detail: Detail) -> Detail:
    return replace(detail, labels=np.zeros_like(detail.labels))


def other_name(data: dict[str, Any], detail: Detail) -> Detail:
    first, *others = detail.classes
    return replace(detail, classes=(first.model_copy(update={"name": "a\u2028b"}), *others))


def other_history(data: dict[str, Any], detail: Detail) -> Detail:
    return replace(detail, histories=tuple(history[:-1] for history in detail.histories))


def other_id(data: dict[str, Any], detail: Detail) -> Detail:
    return replace(detail, ids=("\x1b[31m", *detail.ids[1:]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_labels, "no evaluation image is of class 1"),
        (other_name, "its classes.name has a character that no name has: U+2028 is the end of a line"),
        (other_history, "seed 0 does not tell all of 2 epochs"),
        (other_id, "its ids has a character that no name has: U+001B"),
        (other_accuracy, "its predictions do not give the accuracy of class 0"),
    ],
)
def test_what_was_changed_of_images_and_classes_is_told(scored: Scored, change: Change, message: str) -> None:
    fault = first_fault(changed(scored, change))
    assert fault is not None and fault.startswith(message), fault
