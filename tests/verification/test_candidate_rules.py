"""What a record says of the draws that its image was chosen from: `verify` comes to the choice again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from synthkit.recipe.filters import Filters
from synthkit.release.candidates import preferred
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.release.records import Candidate, Provenance, Provenance4
from synthkit.release.shard_reader import read_samples
from synthkit.verification.gate_rules import GateRules

WHY, NOT_BLANK = "blank: deviation 2.50", {"name": "blank.deviation", "value": 40.5, "nearest": ""}
BLANK = {"name": "blank.deviation", "value": 2.5, "nearest": ""}
ALONE = {"prefer": {"draws": 3}}
GATED = {"prefer": {"draws": 3}, "blank": {}, "max_draws": 5}


def one(attempt: int, rank: int, log_odds: float) -> dict[str, Any]:
    return {"attempt": attempt, "rank": rank, "log_odds": log_odds}


THREE = [one(0, 1, 4.5), one(1, 1, 0.25), one(2, 2, -0.5)]


@pytest.fixture(scope="module")
def manifest(flat_release: Path) -> Manifest:
    return read_manifest(flat_release)


@pytest.fixture(scope="module")
def record(flat_release: Path) -> Provenance:
    first, _ = next(read_samples(flat_release / "data/train-00000.tar", 0, "png", 2))
    return first


def faults(manifest: Manifest, record: Provenance, filters: Any, **fields: Any) -> list[str]:
    stated = {"rejected": [], "scores": [NOT_BLANK] if "blank" in filters else [], **fields}
    changed = msgspec.convert({**record.to_row(), **stated}, Provenance4)
    return list(GateRules(Filters.model_validate(filters), manifest, 10).faults(int(changed.key), changed))


@pytest.mark.parametrize(
    ("filters", "fields"),
    [
        (ALONE, {"attempt": 1, "candidates": THREE}),
        (ALONE, {"attempt": 2, "candidates": [one(0, 2, -2.0), one(1, 3, -1.5), one(2, 2, -0.5)]}),
        (ALONE, {"attempt": 0, "candidates": [one(0, 1, 90.0), one(1, 1, 90.0), one(2, 1, 800.0)]}),
        (GATED, {"attempt": 2, "candidates": THREE[2:], "rejected": [WHY, WHY]}),
        (GATED, {"attempt": 0, "candidates": [THREE[0], THREE[2]], "rejected": [WHY]}),
        (GATED, {"attempt": 3, "candidates": [one(3, 4, -5.0)], "rejected": [WHY] * 3}),
        (GATED, {"attempt": 4, "candidates": [], "rejected": [WHY] * 5, "scores": [BLANK]}),
    ],
)
def test_choices_that_a_build_makes(
    manifest: Manifest, record: Provenance, filters: Any, fields: dict[str, Any]
) -> None:
    assert faults(manifest, record, filters, **fields) == []


@pytest.mark.parametrize(
    ("filters", "fields", "told"),
    [
        (ALONE, {"attempt": 0, "candidates": THREE}, "attempt is 0, by its candidates 1 is kept"),
        (
            ALONE,
            {"attempt": 0, "candidates": THREE[:1]},
            "tells of 1 candidate(s), attempts 0, and of 0 rejected; by",
        ),
        (ALONE, {"attempt": 1, "candidates": THREE[::-1]}, "tells of 3 candidate(s), attempts 2, 1, 0, and"),
        (ALONE, {"attempt": 0, "candidates": [THREE[0]] * 3}, "3 candidate(s), attempts 0, 0, 0, and"),
        (
            ALONE,
            {"attempt": 1, "candidates": [*THREE[:2], one(5, 2, -0.5)]},
            "attempts 0, 1, 5, and of 0 rejected",
        ),
        (
            ALONE,
            {"attempt": 0, "candidates": []},
            "tells of 0 candidate(s), attempts none, and of 0 rejected",
        ),
        (ALONE, {"attempt": 3, "candidates": THREE}, "attempt is 3, the recipe allows 3 draw(s)"),
        (
            GATED,
            {"attempt": 4, "candidates": [one(4, 1, 1.0)], "rejected": [WHY]},
            "1 candidate(s), attempts 4, and",
        ),
        (
            GATED,
            {"attempt": 3, "candidates": [], "rejected": [WHY] * 4, "scores": [BLANK]},
            "and of 4 rejected",
        ),
        (
            ALONE,
            {"attempt": 1, "candidates": [*THREE[:2], one(2, 11, -9)]},
            "attempt 2: rank 11, log-odds -9, which",
        ),
        (
            ALONE,
            {"attempt": 1, "candidates": [*THREE[:2], one(2, 2, 0.5)]},
            "attempt 2: rank 2, log-odds 0.5, which",
        ),
        (
            ALONE,
            {"attempt": 2, "candidates": [*THREE[:2], one(2, 1, -3.0)]},
            "attempt 2: rank 1, log-odds -3, which",
        ),
        (
            ALONE,
            {"attempt": 1, "candidates": [*THREE[:2], one(2, 1, 1.23456789)]},
            "attempt 2: rank 1, log-odds 1.23457, which cannot be",
        ),
        (
            GATED,
            {"attempt": 1, "candidates": THREE, "scores": [BLANK]},
            "scores say blank: deviation 2.50, and its",
        ),
    ],
)
def test_choices_that_no_build_makes(
    manifest: Manifest, record: Provenance, filters: Any, fields: dict[str, Any], told: str
) -> None:
    (fault,) = faults(manifest, record, filters, **fields)
    assert told in fault


def test_what_is_preferred() -> None:
    def of(*numbers: tuple[int, float]) -> int:
        return preferred(
            [Candidate(attempt=n, rank=rank, log_odds=odds) for n, (rank, odds) in enumerate(numbers)]
        ).attempt

    assert of((1, 3.0), (1, 2.0), (2, -1.0)) == 1
    assert of((2, -3.0), (5, -1.0), (2, -1.0)) == 1
    assert of((1, 2.0), (1, 2.0)) == 0
    assert of((3, -9.0), (1, 70.0)) == 1
