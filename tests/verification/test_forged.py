"""What `synthkit verify` derives again and compares: records, manifest, card, metadata and pictures."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from PIL import Image

from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError
from synthkit.publish.outgoing import address_to
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.verification.faults import total
from synthkit.verification.verify import verify_release
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.forging import Forgery, another, leaves, put

FLAT = "model.id=builtin:flat-colours"
# Of each kind: the recipe's changes, and what is done to the release.
KINDS: dict[str, tuple[str, ...]] = {
    "whole": ("synthetic_per_class=4", "target_per_class=", "output.shard_size=16"),
    "pixels": (
        "source={kind: folder, root: photos, on_error: skip}",
        "conditioning={method: cutmix-dropout, alpha: 0.4}",
        "output={format: jpeg, shard_size: 5}",
        "hub.repo_id=lab/photos",
    ),
    "few-shot": (
        "source={kind: folder, root: photos, shots: 2, trial: 1, classes: {b: null}}",
        "conditioning.method=mixup",
        "output={format: webp, size: 24, shard_size: 8}",
    ),
    "gated": (
        "filters={blank: {min_deviation: 1}, max_draws: 3}",
        "conditioning.method=embed-mixup",
        *("synthetic_per_class=2", "target_per_class=", "source.subset=[1, 2, 7]"),
    ),
}
# Nothing in a release bears these out; docs/provenance.md says so.
STATED_ALONE = {("environment", "device"), ("environment", "machine"), ("skipped", 0, "id")}
STATED_ALONE |= {("skipped", 0, "reason"), ("seal",)}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release of each kind; the last one is audited."""
    cli = Cli(tmp_path_factory.mktemp("kinds"))
    for number in range(14):
        miniatures.photo(cli.folder / "photos" / "abc"[number % 3] / f"{number} é.jpg", number)
    (cli.folder / "photos" / "a" / "broken.jpg").write_bytes(b"no image")
    releases = {}
    for kind, changes in KINDS.items():
        photos = () if kind != "few-shot" else ("source.exclude=[a/broken.jpg]",)
        releases[kind] = built(cli, *changes, *photos, out=kind)
    assert cli("audit", releases["gated"]).exit_code == 0
    return releases


def built(cli: Cli, *changes: str, out: str, limit: int | None = None) -> Path:
    settings = [argument for change in (FLAT, *changes) for argument in ("--set", change)]
    preview = [] if limit is None else ["--limit", str(limit)]
    result = cli("build", cli.recipe(), *settings, *preview, "--out", out)
    assert result.exit_code == 0, result.output
    return cli.folder / out / ("small" if limit is None else "small-preview")


def told(release: Path, *, deep: bool = False) -> list[str]:
    """Every fault, in words."""
    try:
        manifest = read_manifest(release)
    except ReleaseError as error:
        return [str(error)]
    found = verify_release(release, manifest, lambda count: None, deep=deep)
    return [f"{fault.path}: {fault.reason}" for fault in found]


@pytest.fixture
def forge(kinds: dict[str, Path], tmp_path: Path) -> Callable[[str], Forgery]:
    """A copy of a release, to be forged."""

    def copy(kind: str) -> Forgery:
        shutil.rmtree(tmp_path / "forged", ignore_errors=True)
        shutil.copytree(kinds[kind], tmp_path / "forged")
        return Forgery.of(tmp_path / "forged")

    return copy


# --- what is intact ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_release_is_intact_as_built_and_as_published(
    kinds: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    assert told(kinds[kind], deep=True) == []
    outgoing = address_to(kinds[kind], read_manifest(kinds[kind]), "me/elsewhere")
    for name, content in outgoing.contents.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    assert told(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_intact_whatever_alpha_and_sizes(method: str, cli: Cli) -> None:
    generator = np.random.default_rng(7)
    for number in range(24):
        height, width = generator.integers(3, 300, 2)
        pixels = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        path = cli.folder / "photos" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for alpha in (0.2, 1, 6):
        changes = (
            f"conditioning={{method: {method}, alpha: {alpha}}}",
            "source={kind: folder, root: photos}",
        )
        release = built(cli, *changes, "target_per_class=150", out=f"alpha-{alpha}")
        assert told(release) == []


@pytest.mark.parametrize("limit", [1, 3, 10_000])
def test_previews_are_intact(cli: Cli, limit: int) -> None:
    assert told(built(cli, out="made", limit=limit)) == []


# --- one field of one record ------------------------------------------------------------------------


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
    }
    return {name: special.get(name) or another(value) for name, value in record.items() if name != "key"}


def falsified(forge: Callable[[str], Forgery], kind: str) -> None:
    intact, key = forge(kind), "000000001"
    values = false_values(intact.record(key).to_row(), intact.record("000000000").to_row())
    for name, value in values.items():
        forgery = forge(kind)
        forgery.change(key, **{name: value})
        forgery.write()
        faults = told(forgery.folder)
        assert any(key in fault for fault in faults), name
        words = {"sources": "real image", "image_sha256": "sha256", "label": "label"}
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
    return told(forgery.folder)


def test_a_box_and_its_share_that_fit_each_other_but_not_the_seed(forge: Callable[[str], Forgery]) -> None:
    forgery = forge("pixels")
    (fault,) = rewritten(forgery, "000000001", region=[0, 0, 112, 112], lam=0.75)
    assert fault.endswith("000000001: its record's region is [0, 0, 112, 112], which its seed does not give")
    (fault,) = rewritten(forge("pixels"), "000000001", lam=0.25)
    assert "000000001: its record's lam is 0.25, by its region it is " in fault
    faults = rewritten(forge("pixels"), "000000001", region=[0, 0, 225, 1], lam=0.5)
    assert "its record's region is [0, 0, 225, 1], which is no box in 224x224" in faults[0]


def test_real_images_that_are_not_those_of_the_plan(forge: Callable[[str], Forgery]) -> None:
    """One place of the plan has one real image, in the whole release; a pool says which."""
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
    faults = told(forgery.folder)
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


# --- one value of the manifest ----------------------------------------------------------------------


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
        assert bool(told(forgery.folder)) is (at not in STATED_ALONE), at


def test_each_value_of_a_manifest_is_held_to_what_it_summarises(forge: Callable[[str], Forgery]) -> None:
    manifest_forged(forge, "gated", lambda at: at[0] not in ("files", "environment"))


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
    faults = told(forgery.folder)
    assert faults == [] if not fault else any(fault in found for found in faults), faults


@pytest.mark.parametrize("number", [10**9, 10**12, 2**62])
def test_a_manifest_that_claims_more_than_there_is_takes_no_memory(
    forge: Callable[[str], Forgery], number: int
) -> None:
    forgery = forge("whole")
    forgery.manifest["classes"][0]["real"] = number
    forgery.manifest["source"]["images"] += number
    forgery.seal()
    assert any("real images" in fault for fault in told(forgery.folder))
    forgery = forge("whole")
    forgery.manifest["images"] = forgery.manifest["classes"][0]["synthetic"] = number
    next(file for file in forgery.manifest["files"] if file["images"])["images"] = number
    forgery.seal()
    assert any("counts differ" in fault for fault in told(forgery.folder))


# --- the files that are derived ---------------------------------------------------------------------


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
            replaced("Licence: `cc-by-4.0`", "Licence: `mit`"),
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
        ("croissant.json", lambda content: b"[" * 60_000, "it is no JSON object"),
        ("croissant.json", lambda content: content + b" ", "it is written otherwise"),
        (
            "croissant.json",
            replaced('"contentUrl": "data/', '"contentUrl": "https://evil.example/'),
            "its distribution is another one",
        ),
        ("samples.png", lambda content: b"no picture", "is no picture: it does not begin as a PNG file"),
        ("samples.png", lambda content: content[:-1], "is no picture: it is cut short"),
        ("samples.png", lambda content: content + b"PK", "is no picture: it goes on"),
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
    faults = told(forgery.folder)
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
    assert told(forgery.folder) == []
    card.write_text(card.read_text().replace("data/train-*.tar", "other/*.tar"))
    metadata.write_text(metadata.read_text().replace('"contentUrl": "data/', '"contentUrl": "/data/'))
    forgery.seal()
    assert [fault.split(": ")[0] for fault in told(forgery.folder)] == ["README.md", "croissant.json"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda audit: audit.update(images=7), "has other numbers than the manifest"),
        (lambda audit: audit["pairs"].pop(), "pairs, not the"),
        (lambda audit: audit["pairs"].reverse(), "does not show the most suspicious pairs first"),
        (lambda audit: audit["pairs"][3].update(key="999999999"), "its pair is of no image of the release"),
        (lambda audit: audit["pairs"][3].update(class_name="x"), "its pair's class is 'x'"),
        (lambda audit: audit["pairs"][3].update(real="/etc/passwd"), "its pair has no real image"),
        (lambda audit: audit["pairs"][3].update(source=not audit["pairs"][3]["source"]), "says source is"),
        (
            lambda audit: audit["pairs"][3].update(suspected=not audit["pairs"][3]["suspected"]),
            "suspected is",
        ),
        (lambda audit: audit["synthetic_to_real"].update({"1": 0.123}), "largest similarity is 0.123"),
        (lambda audit: audit["real_to_real"].clear(), "has quantiles that are none"),
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
    faults = told(forgery.folder)
    assert any(found.startswith("audit.json: ") and fault in found for found in faults), faults
