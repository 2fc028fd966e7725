"""What `synthkit eval` prints of a score."""

from __future__ import annotations

from collections.abc import Sequence

from synthkit_eval import told_score
from tests.helpers.scores import ECD, REAL, score


def told(values: Sequence[float], **facts: str) -> str:
    made = score(values, **facts)  # type: ignore[arg-type]
    settings = {"network": "resnet10t", "epochs": 1}
    protocol = made.protocol.model_copy(update={"settings": settings})
    return told_score.told(made.model_copy(update={"protocol": protocol}))


def test_runs_that_agree_are_not_told_as_an_interval_of_nothing() -> None:
    text = told((0.9, 0.9))
    assert "90.0%     equal" in text
    assert "equal: both runs are right equally often there, by chance" in text
    assert "all 3 runs are" in told((0.9, 0.9, 0.9))
    assert "equal" not in told(REAL)
    assert "equal" not in told((0.9,))


def test_retrieved_images_are_not_called_synthetic() -> None:
    assert "trained on real and synthetic images" in told(ECD, method="dropout", name="a")
    assert "trained on real and retrieved images" in told(ECD, method="retrieval", name="a")
    assert "trained on real images" in told(REAL)
