"""What a record says of quality gates: `verify` comes to the verdict again, from the record's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from synthkit.recipe.filters import Filters
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.release.records import Provenance, Provenance2
from synthkit.release.shard_reader import read_samples
from synthkit.verification.gate_rules import GateRules, Order
from tests.helpers.forging import Forgery, faults_of

BLANK, COPY, RANK, PROBABILITY = (
    "blank.deviation",
    "near_copy.similarity",
    "label_agreement.rank",
    "label_agreement.probability",
)
REPEAT, AGAIN = "near_duplicate.similarity", "near-duplicate: similarity 0.990 to 000000002"
OF_ANOTHER_CLASS = "near-duplicate: similarity 0.990 to 000000001"
NET = {"network": "resnet18", "checkpoint": "weights.safetensors"}
ALL = {"blank": {}, "near_copy": {"among": "pool"}, "label_agreement": {}, "max_draws": 2}


def score(name: str, value: float, nearest: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "nearest": nearest}


@pytest.fixture(scope="module")
def manifest(flat_release: Path) -> Manifest:
    return read_manifest(flat_release)


@pytest.fixture(scope="module")
def record(flat_release: Path) -> Provenance:
    first, _ = next(read_samples(flat_release / "data/train-00000.tar", 0, "png", 2))
    return first


GOOD = [score(BLANK, 40.5), score(COPY, 0.9, "digits/0001"), score(RANK, 1, "one")]
BAD = [score(BLANK, 2.5), score(COPY, 0.990001, "digits/0001"), score(RANK, 3, "two")]
WHY = (
    "blank: deviation 2.50; near-copy: similarity 0.990 to digits/0001; "
    "label-agreement: rank 3, nearest is two"
)


def faults(
    manifest: Manifest, record: Provenance, filters: Any, classes: int | None = None, **fields: Any
) -> list[str]:
    stated = {"class_name": "one", "label": 1, "attempt": 0, "rejected": [], **fields}
    changed = msgspec.convert({**record.to_row(), **stated}, Provenance2)
    known = None if filters is None else Filters.model_validate(filters)
    return list(
        GateRules(known, manifest, classes or len(manifest.classes)).faults(int(changed.key), changed)
    )


def test_scores_that_fit(manifest: Manifest, record: Provenance) -> None:
    assert faults(manifest, record, None, scores=[]) == []
    assert faults(manifest, record, ALL, scores=GOOD) == []
    kept = {"attempt": 1, "rejected": [WHY, WHY]}
    assert faults(manifest, record, ALL, scores=BAD, **kept) == []
    by_network = {"label_agreement": {"classifier": NET, "min_probability": 0.5}}
    assert faults(manifest, record, by_network, scores=[score(RANK, 1, "one"), score(PROBABILITY, 0.5)]) == []
    own = {"near_copy": {"among": "sources"}}
    assert faults(manifest, record, own, scores=[], sources=[]) == []


@pytest.mark.parametrize(
    ("filters", "fields", "told"),
    [
        (None, {"scores": GOOD[:1]}, "its record's scores are blank.deviation, by the recipe they are none"),
        (ALL, {"scores": []}, "scores are none, by the recipe they are blank.deviation, near_copy.sim"),
        (ALL, {"scores": GOOD[::-1]}, "scores are label_agreement.rank, near_copy.similarity, blank.dev"),
        (ALL, {"scores": [GOOD[0], score(COPY, 1.01, "a"), GOOD[2]]}, "near_copy.similarity 1.01 (a), which"),
        (ALL, {"scores": [GOOD[0], score(COPY, 0.5), GOOD[2]]}, "say near_copy.similarity 0.5, which cannot"),
        (ALL, {"scores": [score(BLANK, 127.6), *GOOD[1:]]}, "say blank.deviation 127.6, which cannot be"),
        (ALL, {"scores": [score(BLANK, 40.1234567), *GOOD[1:]]}, "say blank.deviation 40.1235, which cannot"),
        (ALL, {"scores": [score(BLANK, 40, "one"), *GOOD[1:]]}, "say blank.deviation 40 (one), which cannot"),
        (ALL, {"scores": [*GOOD[:2], score(RANK, 1.5, "two")]}, "say label_agreement.rank 1.5 (two), which"),
        (ALL, {"scores": [*GOOD[:2], score(RANK, 1, "two")]}, "say label_agreement.rank 1 (two), which"),
        (ALL, {"scores": [*GOOD[:2], score(RANK, 11, "two")]}, "say label_agreement.rank 11 (two), which"),
        (ALL, {"scores": [*GOOD[:2], score(RANK, 1, "eleven")]}, "rank 1 (eleven), which cannot be"),
        (
            ALL,
            {"scores": BAD},
            "scores say blank: deviation 2.50; near-copy: similarity 0.990 to digits/00",
        ),
        (
            ALL,
            {"scores": GOOD, "attempt": 1, "rejected": [WHY, WHY]},
            "its record's rejected ends with 'blank: deviation 2.50; near-copy: ",
        ),
        (
            {"near_copy": {"among": "sources"}},
            {"scores": [score(COPY, 0.5, "digits/of another")]},
            "near_copy.similarity 0.5 (digits/of another), which cannot be",
        ),
    ],
)
def test_scores_that_no_gate_can_give(
    manifest: Manifest, record: Provenance, filters: Any, fields: dict[str, Any], told: str
) -> None:
    (fault,) = faults(manifest, record, filters, **fields)
    assert told in fault


REPEATED = {"near_duplicate": {}, "max_draws": 2}
ORDER = Order(np.array([1, 0, 1, 1], dtype=np.int32))


@pytest.mark.parametrize(
    ("key", "fields", "told"),
    [
        (0, {"scores": []}, ""),
        (2, {"scores": [score(REPEAT, 0.98, "000000000")]}, ""),
        (3, {"scores": [score(REPEAT, 0.5, "000000002")]}, ""),
        (3, {"scores": [score(REPEAT, 0.99, "000000002")], "attempt": 1, "rejected": [AGAIN, AGAIN]}, ""),
        (0, {"scores": [score(REPEAT, 0.5, "000000000")]}, "by the recipe they are none"),
        (2, {"scores": []}, "scores are none, by the recipe they are near_duplicate.similarity"),
        (2, {"scores": [score(REPEAT, 0.5, "000000001")]}, "0.5 (000000001), which cannot be"),
        (2, {"scores": [score(REPEAT, 0.5, "000000002")]}, "0.5 (000000002), which cannot be"),
        (2, {"scores": [score(REPEAT, 0.5, "000000003")]}, "0.5 (000000003), which cannot be"),
        (2, {"scores": [score(REPEAT, 0.5, "0")]}, "0.5 (0), which cannot be"),
        (2, {"scores": [score(REPEAT, 0.5, "9" * 5000)]}, ", which cannot be"),
        (2, {"scores": [score(REPEAT, 0.99, "000000000")]}, "0.990 to 000000000, and its draw was not"),
        (
            3,
            {
                "scores": [score(REPEAT, 0.5, "000000002")],
                "attempt": 1,
                "rejected": [AGAIN.replace("2", "1")],
            },
            "to 000000001', which no gate of the recipe says",
        ),
    ],
)
def test_what_repeats_an_earlier_image_of_its_class(
    manifest: Manifest, record: Provenance, key: int, fields: dict[str, Any], told: str
) -> None:
    stated = {"key": f"{key:09d}", "attempt": 0, "rejected": [], **fields}
    changed = msgspec.convert({**record.to_row(), **stated}, Provenance2)
    found = list(
        GateRules(Filters.model_validate(REPEATED), manifest, 10, ORDER).faults(int(changed.key), changed)
    )
    assert len(found) == bool(told)
    assert told in "".join(found)


def test_an_earlier_block_was_judged_by_the_classes_there_were(
    manifest: Manifest, record: Provenance
) -> None:
    far = [*GOOD[:2], score(RANK, 4, "nine")]
    why = "label-agreement: rank 4, nearest is nine"
    kept = {"scores": far, "attempt": 1, "rejected": [why, why]}
    assert faults(manifest, record, ALL, **kept) == []
    told = faults(manifest, record, ALL, classes=3, **kept)
    assert "its record's scores say label_agreement.rank 4 (nine), which cannot be" in told
    assert any("which no gate of the recipe says" in fault for fault in told)


def test_verify_tells_a_forged_score(forge: Callable[[str], Forgery]) -> None:
    forgery = forge("gated")
    forgery.change("000000001", scores=[score(BLANK, 30.0)])
    forgery.write()
    (fault,) = faults_of(forgery.folder)
    assert fault.endswith(
        "000000001: its record's rejected ends with 'blank: deviation 0.00', by its scores it is ''"
    )
