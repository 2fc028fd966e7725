"""Each field of a record follows from the recipe, the plan or the seed: `verify` finds any that is false."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from synthkit.release.manifest import read_manifest
from synthkit.verification.faults import total
from synthkit.verification.verify import verify_release
from tests.conftest import Cli
from tests.helpers.forging import Forgery, another, faults_of
from tests.helpers.kinds import KINDS


def false_values(record: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Another value for each field of a record, as the schema allows it; the real images of another one."""
    sources = other["sources"]
    special = {
        "sources": sources or [{"id": "a", "sha256": "0" * 64}],
        "region": [value + 1 for value in record["region"]] or [1, 2],
        "crops": [[x, y, 2 * width + 9, height] for x, y, width, height in record["crops"]] or [[0, 0, 1, 1]],
        "lam": 0.9 if record["lam"] < 0.9 else 0.3,
        "dropout": record["dropout"] / 2 + 0.1,
        "rejected": [*record["rejected"], "blank: deviation 0.10"],
        "scores": [{"name": "blank.deviation", "value": 7.5, "nearest": ""}],
        # Which image of the pool one is, only the pool shows; that none is there twice, the release does.
        "retrieved_id": other.get("retrieved_id"),
        "retrieved_sha256": other.get("retrieved_sha256"),
        "similarity": 0.1234567,
        "guidance_scale": record["guidance_scale"] / 2 + 0.75,
    }
    # The schema of retrieved images has no other number of steps than none.
    kept = {"key", *(["steps"] if record["steps"] == 0 else [])}
    return {name: special.get(name) or another(value) for name, value in record.items() if name not in kept}


def falsified(forge: Callable[[str], Forgery], kind: str) -> None:
    intact, key = forge(kind), "000000001"
    values = false_values(intact.record(key).to_row(), intact.record("000000000").to_row())
    for name, value in values.items():
        forgery = forge(kind)
        forgery.change(key, **{name: value})
        forgery.write()
        faults = faults_of(forgery.folder)
        assert any(key in fault for fault in faults), name
        words = {"sources": "real image", "image_sha256": "sha256", "label": "label"}
        words |= {"retrieved_id": "the same image", "retrieved_sha256": "the same content"}
        assert any(words.get(name, name) in fault for fault in faults), (name, faults)


def test_each_field_of_a_record_is_held_to_the_recipe_and_the_plan(forge: Callable[[str], Forgery]) -> None:
    falsified(forge, "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whole"])
def test_each_field_of_a_record_of_every_kind(forge: Callable[[str], Forgery], kind: str) -> None:
    falsified(forge, kind)


def rewritten(forgery: Forgery, key: str, **fields: Any) -> list[str]:
    forgery.change(key, **fields)
    forgery.write()
    return faults_of(forgery.folder)


def test_a_box_and_its_share_that_fit_each_other_but_not_the_seed(forge: Callable[[str], Forgery]) -> None:
    forgery = forge("pixels")
    (fault,) = rewritten(forgery, "000000001", region=[0, 0, 112, 112], lam=0.75)
    assert fault.endswith("000000001: its record's region is [0, 0, 112, 112], which its seed does not give")
    (fault,) = rewritten(forge("pixels"), "000000001", lam=0.25)
    assert "000000001: its record's lam is 0.25, by its region it is " in fault
    faults = rewritten(forge("pixels"), "000000001", region=[0, 0, 225, 1], lam=0.5)
    assert "its record's region is [0, 0, 225, 1], which is not a box in 224x224" in faults[0]


def test_real_images_that_are_not_those_of_the_plan(forge: Callable[[str], Forgery]) -> None:
    """A place of the plan has the same real image in the whole release; a pool says which one."""
    forgery = forge("few-shot")
    first = forgery.record("000000001").to_row()["sources"]
    (fault, other) = rewritten(forgery, "000000001", sources=first[::-1])
    assert (
        f"first real image is '{first[1]['id']}', by the plan and the pool it is '{first[0]['id']}'" in fault
    )
    assert "second real image" in other
    forgery = forge("whole")
    swapped = forgery.record("000000000").to_row()["sources"]
    faults = rewritten(forgery, "000000001", sources=swapped)
    assert any("000000001: its record's first real image is " in fault for fault in faults)


def test_an_embedding_has_one_size_in_the_whole_release(forge: Callable[[str], Forgery]) -> None:
    forgery = forge("whole")
    path, samples = list(forgery.shards.items())[1]
    for record, _ in samples:
        forgery.change(record.key, lam=1 - 2 * (1 - record.lam) / 3)
    forgery.write()
    faults = faults_of(forgery.folder)
    assert f"{path}: its records are of embeddings of 18 numbers, others of 12" in faults


@pytest.mark.parametrize(
    ("reason", "is_one"),
    [
        ("blank: deviation 0.99", True),
        ("blank: deviation 7.00", False),
        ("near-copy: similarity 0.990 to digits/0001", False),
        ("label-agreement: rank 2, nearest is one", False),
        ("blank", False),
        ("blank: deviation 0.00; ", False),
        ("it was ugly", False),
        ("", False),
    ],
)
def test_a_reason_is_one_that_a_gate_of_the_recipe_gives(
    forge: Callable[[str], Forgery], reason: str, is_one: bool
) -> None:
    forgery = forge("gated")
    rejected = forgery.record("000000001").to_row()["rejected"]
    faults = rewritten(forgery, "000000001", rejected=[*rejected[:-1], reason])
    assert ([fault for fault in faults if "which no gate of the recipe says" in fault] == []) is is_one


def test_a_forged_release_is_told_in_a_few_lines(cli: Cli, forge: Callable[[str], Forgery]) -> None:
    forgery = forge("whole")
    keys = [record.key for some in forgery.shards.values() for record, _ in some]
    for key in keys:
        forgery.change(key, steps=99)
    forgery.write()
    faults = verify_release(forgery.folder, read_manifest(forgery.folder), lambda count: None)
    assert len(faults) == 11
    assert total(faults) == len(keys) == 40
    output = cli("verify", forgery.folder).output
    assert "forged/data: … and 30 more like “its record's steps…”" in output
    assert f"{forgery.folder}: 40 fault(s)" in output
