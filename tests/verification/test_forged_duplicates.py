"""What audit.json says of near duplicates is held to the release, and to its own sums."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from synthkit.release.image_writer import save_options
from tests.helpers.forging import Forgery, faults_of

Node = dict[str, Any]


def forged(forgery: Forgery, change: Callable[[Node], object]) -> list[str]:
    """What verify finds if the near duplicates of an audit are changed, and manifest and seal fit."""
    path = forgery.folder / "audit.json"
    audit = json.loads(path.read_text())
    change(audit["duplicates"])
    path.write_bytes(json.dumps(audit, indent=2, ensure_ascii=False).encode() + b"\n")
    found = audit["duplicates"]
    forgery.manifest["audit"]["duplicates"] = {
        "similarity": found["limits"]["similarity"],
        "distance": found["limits"]["distance"],
        "groups": found["groups"],
        "images": found["in_groups"],
        "exact": found["exact"],
    }
    forgery.seal()
    return [fault for fault in faults_of(forgery.folder) if fault.startswith("audit.json: ")]


def split(found: Node) -> None:
    """Two groups of three, in place of one of six, that share an image."""
    (group,) = found["largest"]
    members = [*group["members"].items()]
    halves = [dict(members[:3]), dict(members[2:5])]
    found["largest"] = [
        {**group, "images": 3, "perceptual": 3, "embedding": 3, "members": half} for half in halves
    ]
    found["groups"] = 2


def renamed(found: Node, key: str) -> None:
    members = found["largest"][0]["members"]
    names = [*members.values()]
    found["largest"][0]["members"] = dict(zip([*[*members][:-1], key], names, strict=True))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda found: None, ""),
        (lambda found: found.update(groups=2), "lists 1 groups of near duplicates, and counts 2"),
        (lambda found: found["largest"].clear(), "lists 0 groups of near duplicates, and counts 1"),
        (
            lambda found: found.update(in_groups=5),
            "says 5 images are near duplicates, its classes have others",
        ),
        (
            lambda found: found.update(in_groups=5),
            "says 5 images are near duplicates, its groups have others",
        ),
        (lambda found: found.update(in_groups=7), "has counts of near duplicates that do not fit"),
        (lambda found: found.update(exact=1), "has counts of near duplicates that do not fit"),
        (lambda found: found.update(exact=2), "says exact of near duplicates is 2, its groups show 0"),
        (
            lambda found: found.update(perceptual=5),
            "says perceptual of near duplicates is 5, its groups show 6",
        ),
        (lambda found: found.update(embedding=-1), "has counts of near duplicates that do not fit"),
        (lambda found: found["limits"].update(similarity=1.5), "limits of near duplicates that no audit"),
        (lambda found: found["limits"].update(distance=65), "limits of near duplicates that no audit"),
        (lambda found: found.update(more=1), "is not what synthkit audit writes"),
        (lambda found: found["largest"][0].update(more=1), "is not what synthkit audit writes"),
        (lambda found: found.update(perceptual=0.5), "is not what synthkit audit writes"),
        (split, "it is in several groups of near duplicates"),
        (
            lambda found: renamed(found, "000000006"),
            "names '000000006', an image that the release does not have",
        ),
        (lambda found: renamed(found, "5"), "names '5', an image that the release does not have"),
        (lambda found: renamed(found, "../../etc"), "names '../../etc', an image that the release"),
        (lambda found: found["largest"][0]["members"].popitem(), "names 5 of 6 images, not the first 6"),
        (
            lambda found: found["largest"][0].update(
                members=dict(reversed([*found["largest"][0]["members"].items()]))
            ),
            "its group 1 does not name its images in order",
        ),
        (
            lambda found: found["largest"][0]["members"].update({"000000003": "nine"}),
            "its group 1 says class 'nine' of 000000003, its record says otherwise",
        ),
        (lambda found: found["largest"][0].update(images=1), "its group 1 has counts that do not fit"),
        (
            lambda found: found["largest"][0].update(perceptual=0, embedding=6),
            "its group 1 has near embeddings alone, and several",
        ),
        (lambda found: found["classes"].pop(), "its classes have others"),
        (lambda found: found["classes"].append(found["classes"][0]), "of a class twice"),
        (lambda found: found["classes"].reverse(), "does not list the class with the largest share"),
        (
            lambda found: found["classes"][0].update(share=0.5),
            "0.5 of its images are near duplicates, by its numbers",
        ),
        (
            lambda found: found["classes"][0].update(images=9),
            "the release has no class of this label, name and",
        ),
        (lambda found: found["classes"][0].update(label=77), "says of class 77: the release has no class"),
        (lambda found: found["classes"][0].update(in_groups=3), "3 of its 2 images are near duplicates"),
        (
            lambda found: found["classes"][0].update(in_groups=1),
            "names 2 near duplicates of class 'one', and counts 1",
        ),
    ],
)
def test_a_changed_number_group_or_class_is_found(
    forge: Callable[[str], Forgery], change: Callable[[Node], object], fault: str
) -> None:
    faults = forged(forge("gated"), change)
    assert any(fault in found for found in faults) if fault else faults == []


@pytest.mark.parametrize("said", [None, {}])
def test_an_audit_that_says_nothing_of_near_duplicates(
    forge: Callable[[str], Forgery], said: Node | None
) -> None:
    forgery = forge("gated")
    path = forgery.folder / "audit.json"
    audit = json.loads(path.read_text())
    audit.pop("duplicates")
    if said is not None:
        audit["duplicates"] = said
    path.write_bytes(json.dumps(audit, indent=2, ensure_ascii=False).encode() + b"\n")
    forgery.manifest["audit"]["duplicates"] = None
    forgery.seal()
    told = "says nothing of near duplicates" if said is None else "is not what synthkit audit writes"
    assert f"audit.json: {told}" in faults_of(forgery.folder)


def test_the_manifest_and_the_picture_follow_from_the_groups(forge: Callable[[str], Forgery]) -> None:
    forgery = forge("gated")
    forgery.manifest["audit"]["duplicates"]["groups"] = 0
    forgery.seal()
    assert "audit.json: has other numbers than the manifest" in faults_of(forgery.folder)
    forgery = forge("gated")
    forged(
        forgery,
        lambda found: found.update(groups=0, in_groups=0, perceptual=0, embedding=0, classes=[], largest=[]),
    )
    assert [fault for fault in faults_of(forgery.folder) if fault.startswith("audit.png: is 1092x")]


def test_equal_pixels_are_compared_again_if_every_image_is_decoded(forge: Callable[[str], Forgery]) -> None:
    """An image with the pixels of another one, of which the audit says nothing."""
    forgery = forge("gated")
    pixels = Image.open(io.BytesIO(forgery.image("000000001"))).convert("RGB")

    def painted(marked: bytes) -> bytes:
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG", **save_options("png", Image.open(io.BytesIO(marked)).info["xmp"]))
        return buffer.getvalue()

    assert faults_of(forgery.folder, deep=True) == []
    forgery.repaint("000000004", painted)
    forgery.write()
    assert faults_of(forgery.folder) == []
    assert faults_of(forgery.folder, deep=True) == [
        "audit.json: says 0 images have the pixels of another one, it is 2 of them",
        "audit.json: its group 1 says exact is 0, its images show 2",
    ]
