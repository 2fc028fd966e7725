"""Releases that are draws of one thing: what follows from the seed and the real images makes no other kin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from synthkit.recipe.load import load
from synthkit_eval.kin import kin_of_release, method_of
from tests.helpers.paths import ROOT

FEEDBACK = ROOT / "recipes/digits_lt_feedback.yaml"


def kin(*changes: str) -> str:
    facts = SimpleNamespace(name="a model", revision="1")
    release: Any = SimpleNamespace(
        recipe=load(FEEDBACK, changes),
        manifest=SimpleNamespace(generator=facts, classes=[SimpleNamespace(name="zero")]),
    )
    return kin_of_release(release)


def weights(of: str) -> str:
    return f"sampler.feedback.classifier.sha256={of * 64}"


def test_a_classifier_that_was_trained_for_a_draw_makes_no_other_kin() -> None:
    assert kin(weights("a"), "seed=1", "name=x-draw0") == kin(weights("b"), "seed=2", "name=x-draw1") == kin()
    assert kin("sampler.feedback.scale=50.0") != kin()
    assert kin("sampler.feedback.classifier.training.steps=7") != kin()


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ((), "random-image + feedback"),
        (("conditioning.method=dropout",), "dropout + feedback"),
        (("sampler.feedback.scale=0.0",), "random-image"),
        (("sampler.feedback=null",), "random-image"),
    ],
)
def test_tables_name_guidance_by_a_classifier_with_the_method(changes: tuple[str, ...], method: str) -> None:
    assert method_of(load(FEEDBACK, changes)) == method
