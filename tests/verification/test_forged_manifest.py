"""Each value of a manifest follows from what it summarises: `verify` finds any that is false."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jinja2
import pytest

from synthkit.release.manifest import Manifest
from tests.helpers.forging import Forgery, another, faults_of, leaves, put
from tests.helpers.kinds import KINDS

# Nothing else in a release shows whether these are true; docs/provenance.md says so.
STATED_ALONE = {("environment", "device"), ("environment", "machine"), ("skipped", 0, "id")}
STATED_ALONE |= {("skipped", 0, "reason"), ("seal",), ("retrieval", "digest")}


def manifest_forged(
    forge: Callable[[str], Forgery], kind: str, places: Callable[[tuple[Any, ...]], bool]
) -> None:
    for at in leaves(forge(kind).manifest):
        # What the files are is hashed; their hashes are made to fit.
        if not places(at) or (at[-1] in ("bytes", "sha256") and at[0] == "files"):
            continue
        forgery = forge(kind)
        put(forgery.manifest, at, another)
        try:
            Manifest.model_validate(forgery.manifest)
        except ValueError:
            continue
        try:
            forgery.write()
        except (KeyError, ValueError):
            # No card can be made of it.
            forgery.seal()
        # Blocks that are there say of theirs what the newest one says of its environment. How large the
        # model's files are shows only where the model is.
        stated = at[2:] if at[0] == "grown" else at
        alone = stated in STATED_ALONE or (at[:2] == ("generator", "parts") and at[-1] == "bytes")
        assert bool(faults_of(forgery.folder)) is not alone, at


def test_each_value_of_a_manifest_is_held_to_what_it_summarises(forge: Callable[[str], Forgery]) -> None:
    def places(at: tuple[Any, ...]) -> bool:
        one_part = at[:2] != ("generator", "parts") or at[2] == 1
        return at[0] not in ("files", "environment") and one_part

    manifest_forged(forge, "gated", places)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_value_of_a_manifest_of_every_kind(forge: Callable[[str], Forgery], kind: str) -> None:
    manifest_forged(forge, kind, lambda at: True)


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("whole", {"partial": {"of": 40}, "images": 40}, ""),
        ("whole", {"partial": {"of": 41}}, "says it is a preview of 41 images, the whole has 40"),
        ("whole", {"skipped": [{"id": "a", "reason": "b"}]}, "were skipped, which the recipe does not allow"),
        ("whole", {"environment": {"synthkit": "0.1.0"}}, "does not say with which torch"),
        ("gated", {"filters": None}, "does not say what the quality gates of its recipe did"),
        ("gated", {"audit": None}, "names audit.json, and has no audit"),
        ("whole", {"repo_id": "me/other"}, "says repo_id is me/other, by the recipe it is None"),
        ("few-shot", {"source.pool": []}, "lists a source.pool whose counts are not the real images"),
        ("few-shot", {"source.pool": None}, "a few-shot release has them all"),
        ("few-shot", {"classes.0.name": "z"}, "has source.digest "),
        ("whole", {"environment.torch": "2.0; rm -rf"}, "says its 'torch' is '2.0; rm -rf'"),
        ("whole", {"environment.owner": "me"}, "has an environment that says 'owner'"),
    ],
)
def test_what_a_manifest_says_that_is_not_so(
    forge: Callable[[str], Forgery], kind: str, change: dict[str, Any], fault: str
) -> None:
    forgery = forge(kind)
    for name, value in change.items():
        steps = [int(step) if step.isdecimal() else step for step in name.split(".")]
        node: Any = forgery.manifest
        for step in steps[:-1]:
            node = node[step]
        node[steps[-1]] = value
    try:
        forgery.write()
    except jinja2.UndefinedError:
        forgery.seal()
    faults = faults_of(forgery.folder)
    assert faults == [] if not fault else any(fault in found for found in faults), faults


@pytest.mark.parametrize("number", [-(2**70), -1, 2**70])
def test_a_count_that_is_below_zero_or_beyond_all_sizes(forge: Callable[[str], Forgery], number: int) -> None:
    forgery = forge("whole")
    forgery.manifest["classes"][0]["real"] = number
    (forgery.folder / "manifest.json").write_text(json.dumps(forgery.manifest))
    (fault,) = faults_of(forgery.folder)
    assert "is not a manifest: classes.0.real" in fault


@pytest.mark.parametrize("number", [10**9, 10**12, 2**62])
def test_a_manifest_that_claims_more_than_there_is_takes_no_memory(
    forge: Callable[[str], Forgery], number: int
) -> None:
    forgery = forge("whole")
    forgery.manifest["classes"][0]["real"] = number
    forgery.manifest["source"]["images"] += number
    forgery.seal()
    assert any("real images" in fault for fault in faults_of(forgery.folder))
    forgery = forge("whole")
    forgery.manifest["images"] = forgery.manifest["classes"][0]["synthetic"] = number
    next(file for file in forgery.manifest["files"] if file["images"])["images"] = number
    forgery.seal()
    assert any("counts differ" in fault for fault in faults_of(forgery.folder))
