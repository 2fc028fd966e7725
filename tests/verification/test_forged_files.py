"""Card, metadata, recipe, pictures and audit follow from the rest: `verify` finds any that was changed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.forging import Forgery, faults_of, reseal
from tests.helpers.paths import DATA


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("README.md", lambda content: b"", "its front matter"),
        ("README.md", lambda content: b"---\n" + b"[" * 5000 + b"\n---\n", "its front matter"),
        ("README.md", lambda content: content + b" " * (1 << 20), "far longer than the manifest's card"),
        ("README.md", replaced("data/train-*.tar", "https://evil.example/*.tar"), "its front matter"),
        ("README.md", replaced("license: cc-by-4.0", "license: mit"), "its front matter"),
        ("README.md", replaced("'3': three", "'3': drei"), "its front matter"),
        ("README.md", replaced("num_examples: 40", "num_examples: 41"), "its front matter"),
        (
            "README.md",
            replaced("Licence: [`cc-by-4.0`]", "Licence: [`mit`]"),
            "'Licence and limits' is another one",
        ),
        ("README.md", replaced("| 3 | three |", "| 3 | drei |"), "'Classes' is another one"),
        (
            "README.md",
            replaced("import webdataset\n", "import os; os.system('id')\n"),
            "'Use' is another one",
        ),
        ("README.md", replaced("none is a photograph", "each is a photograph"), "its beginning"),
        ("croissant.json", lambda content: b"{}", "its @context is another one"),
        ("croissant.json", lambda content: b"[" * 60_000, "it is not a JSON object"),
        ("croissant.json", lambda content: content + b" ", "it is written otherwise"),
        (
            "croissant.json",
            replaced('"contentUrl": "data/', '"contentUrl": "https://evil.example/'),
            "its distribution is another one",
        ),
        ("samples.png", lambda content: b"no picture", "is not a picture: it does not begin as a PNG file"),
        ("samples.png", lambda content: content[:-1], "is not a picture: it is cut short"),
        ("samples.png", lambda content: content + b"PK", "is not a picture: it goes on"),
        ("samples.png", lambda content: content[:33] + content[-12:], "or lacks its pixels"),
        ("samples.png", lambda content: miniature(9000, 1), "says that it is 9,000x1 pixels large"),
        ("samples.png", lambda content: miniature(9, 9), "is 9x9, the picture of this release is "),
        (
            "recipe.yaml",
            replaced("Make it again", "Do not make it again"),
            "is not written as a build writes",
        ),
        ("recipe.yaml", replaced("private: true", "private: false"), ""),
        ("recipe.yaml", lambda content: content + b"# more\n", "is not written as a build writes"),
    ],
)
def test_a_file_that_is_not_the_one_that_follows(
    forge: Callable[[str], Forgery], name: str, change: Callable[[bytes], bytes], fault: str
) -> None:
    forgery = forge("whole")
    path = forgery.folder / name
    path.write_bytes(change(path.read_bytes()))
    forgery.seal()
    faults = faults_of(forgery.folder)
    assert all(found.startswith(f"{name}: ") for found in faults)
    assert any(fault in found for found in faults) if fault else faults == []


def miniature(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_of_another_version_the_parts_are_compared_that_readers_act_upon(
    forge: Callable[[str], Forgery],
) -> None:
    forgery = forge("whole")
    forgery.manifest["environment"]["synthkit"] = "0.0.9"
    for some in forgery.shards.values():
        for record, _ in list(some):
            forgery.change(record.key, synthkit_version="0.0.9")
    forgery.write()
    card, metadata = forgery.folder / "README.md", forgery.folder / "croissant.json"
    card.write_text(card.read_text().replace("Every image is generated", "Each one is generated"))
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "description": "Other words."}))
    forgery.seal()
    assert faults_of(forgery.folder) == []
    card.write_text(card.read_text().replace("data/train-*.tar", "other/*.tar"))
    metadata.write_text(metadata.read_text().replace('"contentUrl": "data/', '"contentUrl": "/data/'))
    forgery.seal()
    assert [fault.split(": ")[0] for fault in faults_of(forgery.folder)] == ["README.md", "croissant.json"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("README.md", "license: cc-by-4.0", "license: mit"),
        ("README.md", "tags:\n", "task_ids:\n- multi-class-image-classification\ntags:\n"),
        ("croissant.json", '"license": "cc-by-4.0"', '"license": "https://spdx.org/licenses/CC-BY-4.0.html"'),
        ("croissant.json", '"contentUrl": "data/', '"contentUrl": "https://evil.example/'),
        ("croissant.json", '"name": "small"', '"name": "small", "creator": {"name": "somebody"}'),
    ],
)
def test_files_of_format_1_are_held_to_format_1(tmp_path: Path, name: str, old: str, new: str) -> None:
    copy = Path(shutil.copytree(DATA / "release-format-1", tmp_path / "copy"))
    (copy / name).write_bytes(replaced(old, new)((copy / name).read_bytes()))
    reseal(copy, name)
    assert [fault.split(": ")[0] for fault in faults_of(copy)] == [name]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda audit: audit.update(images=7), "has other numbers than the manifest"),
        (lambda audit: audit["pairs"].pop(), "pairs, not the"),
        (lambda audit: audit["pairs"].reverse(), "does not show the most suspicious pairs first"),
        (
            lambda audit: audit["pairs"][3].update(key="999999999"),
            "its pair names an image that the release does not",
        ),
        (lambda audit: audit["pairs"][3].update(class_name="x"), "its pair's class is 'x'"),
        (lambda audit: audit["pairs"][3].update(real="/etc/passwd"), "its pair has no real image"),
        (lambda audit: audit["pairs"][3].update(source=not audit["pairs"][3]["source"]), "says source is"),
        (
            lambda audit: audit["pairs"][3].update(suspected=not audit["pairs"][3]["suspected"]),
            "suspected is",
        ),
        (lambda audit: audit["synthetic_to_real"].update({"1": 0.123}), "largest similarity is 0.123"),
        (lambda audit: audit["real_to_real"].clear(), "has quantiles that no audit writes"),
        (lambda audit: audit.update(more=1), "is not what synthkit audit writes"),
    ],
)
def test_an_audit_is_held_to_its_release(
    forge: Callable[[str], Forgery], change: Callable[[dict[str, Any]], None], fault: str
) -> None:
    forgery = forge("gated")
    path = forgery.folder / "audit.json"
    audit = json.loads(path.read_text())
    change(audit)
    path.write_bytes(json.dumps(audit, indent=2, ensure_ascii=False).encode() + b"\n")
    forgery.seal()
    faults = faults_of(forgery.folder)
    assert any(found.startswith("audit.json: ") and fault in found for found in faults), faults
