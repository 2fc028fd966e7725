"""Releases with drawn prompts and captions: every build draws the same, every reader finds what is false."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from synthkit.release.manifest import read_manifest
from tests.conftest import Cli, digests
from tests.helpers.commands import error_of, output_of
from tests.helpers.forging import Forgery, faults_of, image_files

# Images of one colour: the gate rejects each of them, so that every image is drawn twice.
RECIPE = """\
name: drawn
version: 1.0.0
source: {kind: folder, root: photos}
synthetic_per_class: 30
prompts: prompts.json
captions: {file: captions.csv}
conditioning: {method: embed-cutmix}
model: {id: builtin:flat-colours}
sampler: {steps: 1, batch_size: 8}
filters: {blank: {}, max_draws: 2}
output: {shard_size: 24, size: 16}
"""
PROMPTS = {
    "cat": ["a {name}", "{caption}, a {name}", "a drawing of a {name}"],
    "sea_dog 🐕": ["<b>{name}</b> [x](http://x.example) | `😀`", "# {caption}"],
}
CLASSES = tuple(PROMPTS)


def add_class(folder: Path, name: str) -> None:
    (folder / "photos" / name).mkdir(parents=True)
    with (folder / "captions.csv").open("a") as captions:
        for number in range(4):
            colour = (50 * number, len(name) * 20, 99)
            Image.new("RGB", (12, 12), colour).save(folder / "photos" / name / f"{number}.png")
            captions.write(f"{name}/{number}.png,caption {number} of {name}\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, their captions, prompts, a recipe and the release of 60 images. Copy it."""
    cli = Cli(tmp_path_factory.mktemp("built"))
    (cli.folder / "captions.csv").write_text("id,caption\n")
    for name in CLASSES:
        add_class(cli.folder, name)
    (cli.folder / "prompts.json").write_text(json.dumps(PROMPTS))
    (cli.folder / "drawn.yaml").write_text(RECIPE)
    output_of(cli, "build", "drawn.yaml")
    return cli.folder


@pytest.fixture
def copy(built: Path, cli: Cli) -> Cli:
    shutil.copytree(built, cli.folder, dirs_exist_ok=True)
    return cli


@pytest.fixture
def release(copy: Cli) -> Path:
    return copy.folder / "releases" / "drawn"


def rows(release: Path) -> list[dict[str, Any]]:
    tables = sorted((release / "provenance").iterdir())
    return [row for table in tables for row in pq.read_table(table).to_pylist()]


def test_each_image_has_a_prompt_of_its_class_and_the_caption_of_its_first_image(built: Path) -> None:
    release = built / "releases" / "drawn"
    assert faults_of(release, deep=True) == []
    drawn: Counter[tuple[str, int]] = Counter()
    for row in rows(release):
        name, first = row["class_name"], row["sources"][0]["id"]
        said = f"caption {first[-5]} of {name}"
        wanted = [
            template.replace("{name}", name.replace("_", " ")).replace("{caption}", said)
            for template in PROMPTS[name]
        ]
        drawn[name, wanted.index(row["prompt"])] += 1
        assert row["attempt"] == 1
    assert len(drawn) == 5
    assert min(drawn.values()) >= 4


def test_the_release_has_the_prompts_in_it_and_names_no_file_for_them(built: Path) -> None:
    release = built / "releases" / "drawn"
    written = yaml.safe_load((release / "recipe.yaml").read_text())
    assert written["prompts"] == PROMPTS
    assert written["captions"]["file"] == "captions.csv"
    assert "--set source.root=… --set captions.file=…\n" in (release / "recipe.yaml").read_text()
    facts = read_manifest(release).prompts
    assert facts is not None
    assert (facts.fewest, facts.most, facts.captions) == (2, 3, written["captions"]["sha256"])
    card = (release / "README.md").read_text()
    assert "| Prompts | 2 to 3 a class, of which each image's seed draws one, such as `" in card
    metadata = json.loads((release / "croissant.json").read_text())
    assert "They have captions of the real images in them." in metadata["rai:dataCollection"]
    assert "repeat captions of them" in metadata["rai:personalSensitiveInformation"]


@pytest.mark.slow
def test_two_workers_a_moved_file_and_a_resumed_build_draw_the_same(copy: Cli, release: Path) -> None:
    before = digests(release)
    (copy.folder / "moved").mkdir()
    for name in ("captions.csv", "prompts.json"):
        (copy.folder / name).rename(copy.folder / "moved" / name)
    moved = ("--set", "captions.file=moved/captions.csv", "--set", "prompts=moved/prompts.json")
    output_of(copy, "build", "drawn.yaml", *moved, "--workers", "2", "--out", "again")
    again = digests(copy.folder / "again" / "drawn")
    # Where captions are is the one thing that a release says of files.
    told = ("recipe.yaml", "manifest.json")
    assert {name: v for name, v in again.items() if name not in told} == {
        name: v for name, v in before.items() if name not in told
    }
    # As a kill between two shards leaves it.
    (work,) = (copy.folder / ".synthkit").glob("drawn-*/shards")
    for path in work.glob("train-00001.*"):
        path.unlink()
    shutil.rmtree(release)
    told_of_it = output_of(copy, "build", "drawn.yaml", *moved[:2], "--set", "prompts=moved/prompts.json")
    assert "60 images in 3 shard(s), 24 of them made now" in told_of_it
    assert {name: v for name, v in digests(release).items() if name not in told} == {
        name: v for name, v in before.items() if name not in told
    }


def test_the_recipe_of_the_release_builds_it_again(copy: Cli, release: Path) -> None:
    (copy.folder / "prompts.json").unlink()
    places = ("--set", "source.root=photos", "--set", "captions.file=captions.csv")
    output_of(copy, "build", release / "recipe.yaml", *places, "--out", "again")
    assert digests(copy.folder / "again" / "drawn") == digests(release)


def test_replay_finds_the_captions_or_takes_the_prompts_of_the_records(copy: Cli, release: Path) -> None:
    keys = ("000000000", "000000001", "000000002", "000000003", "000000004", "000000005")
    assert "6 of 6 identical\n" in output_of(copy, "replay", release, *keys)
    assert "captions" not in output_of(copy, "replay", release, *keys)
    shutil.rmtree(copy.folder / ".synthkit")
    # The path in the recipe may be a stranger's: it is not opened.
    told = output_of(copy, "replay", release, *keys, "--set", "source.root=photos")
    assert "6 of 6 identical\nthe captions are not here, so prompts were taken from the records" in told
    here = ("--set", "source.root=photos", "--set", "captions.file=captions.csv")
    assert "captions" not in output_of(copy, "replay", release, *keys, *here)
    (copy.folder / "other.csv").write_text("id,caption\n")
    other = ("--set", "source.root=photos", "--set", "captions.file=other.csv")
    assert "captions.file: other.csv: has another content" in error_of(copy, "replay", release, *keys, *other)
    assert "prompts" in error_of(copy, "replay", release, *keys, "--set", "prompts=[a]")


def test_a_pipe_where_captions_are_said_to_be_is_not_waited_for(copy: Cli, release: Path) -> None:
    """What a build remembers lies beside a release, and a stranger's archive may bring both."""
    places = (copy.folder / ".synthkit" / "places").iterdir()
    (memory,) = [path for path in places if json.loads(path.read_text())["kind"] == "captions"]
    os.mkfifo(copy.folder / "pipe.csv")
    memory.write_text(json.dumps({"kind": "captions", "file": str(copy.folder / "pipe.csv")}))
    found: list[list[str]] = []
    verifying = threading.Thread(target=lambda: found.append(faults_of(release)), daemon=True)
    verifying.start()
    verifying.join(60)
    assert found == [[]]


def test_verify_holds_each_prompt_to_its_seed(copy: Cli, release: Path) -> None:
    of_class = [row for row in rows(release) if row["class_name"] == "cat"]
    plain = next(row for row in of_class if row["prompt"] == "a cat")
    captioned = next(row for row in of_class if row["prompt"].startswith("caption"))
    elsewhere = copy.folder / "received"
    shutil.copytree(release, elsewhere / "a" / "b" / "drawn")
    cases = [
        # Another template of the class, another text, another image's caption.
        (plain["key"], "a drawing of a cat", True, "by the recipe it is 'a cat'"),
        (plain["key"], "a dog", True, "by the recipe it is 'a cat'"),
        (captioned["key"], "a cat", True, "a cat' with a caption"),
        (captioned["key"], "caption 9 of cat, a cat", False, f"by the recipe it is {captioned['prompt']!r}"),
    ]
    for key, prompt, without_captions, message in cases:
        for folder in (release, elsewhere / "a" / "b" / "drawn"):
            shutil.copytree(folder, folder.with_name("forged"))
            forgery = Forgery.of(folder.with_name("forged"))
            forgery.change(key, prompt=prompt)
            forgery.write()
            faults = faults_of(forgery.folder)
            shutil.rmtree(forgery.folder)
            found = [fault for fault in faults if f"{key}: its record's prompt is {prompt!r}" in fault]
            if folder == release and "with a caption" not in message:
                assert any(message in fault for fault in found), (prompt, faults)
            else:
                assert bool(found) is (folder == release or without_captions), (prompt, faults)


def test_the_manifest_is_held_to_the_prompts(release: Path) -> None:
    forgery = Forgery.of(release)
    forgery.manifest["prompts"]["most"] = 4
    forgery.write()
    assert any("says prompts is fewest=2 most=4" in fault for fault in faults_of(release))
    forgery.manifest["prompts"] = None
    forgery.write()
    assert any("says prompts is None" in fault for fault in faults_of(release))


def test_plan_doctor_and_show_tell_of_prompts(copy: Cli, release: Path) -> None:
    counts = "2 to 3 a class, of which each image's seed draws one"
    assert f"Prompts: {counts}; the first image gets " in output_of(copy, "plan", "drawn.yaml")
    planned = json.loads(output_of(copy, "plan", "drawn.yaml", "--json"))["prompts"]
    assert (planned["fewest"], planned["most"]) == (2, 3)
    assert f"prompts        {counts}; each real image has a caption" in copy("doctor", "drawn.yaml").output
    shown = output_of(copy, "show", release)
    assert f"prompts      {counts}; captions of SHA-256 " in shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["prompts={cat: [a], dog: [b]}", "captions=null"],
            "there is no class 'dog' (did you mean sea_dog 🐕?)",
        ),
        (["prompts={cat: [a]}", "captions=null"], "no prompts for class sea_dog 🐕: every class needs some"),
        (["prompts=none.yaml"], "prompts: none.yaml: there is no such list of prompts"),
        (["captions.file=none.csv"], "captions.file: none.csv: No such file"),
        (["captions.file=short.csv"], "has no caption of 8 of 8 real images, the first of them 'cat/0.png'"),
        (["conditioning.method=text-only"], "conditioning.method text-only takes no real images"),
    ],
)
def test_what_is_missing_is_told_before_an_image_is_made(
    copy: Cli, settings: list[str], message: str
) -> None:
    (copy.folder / "short.csv").write_text("id,caption\n")
    given = ["drawn.yaml", *(word for setting in settings for word in ("--set", setting))]
    for command in ("plan", "digest", "build"):
        assert message in error_of(copy, command, *given)
    assert message in " ".join(copy("doctor", *given).output.split())


def test_classes_with_prompts_of_their_own_are_added(copy: Cli, release: Path) -> None:
    before = digests(release)
    add_class(copy.folder, "ant")
    prompts = {**PROMPTS, "ant": ["an ant, {caption}", "ants"]}
    refusals = {
        "no prompts for class ant": PROMPTS,
        "the prompts of class 'cat' are ['a {name}'] now, and were": {**prompts, "cat": ["a {name}"]},
    }
    for message, changed in refusals.items():
        (copy.folder / "prompts.json").write_text(json.dumps(changed))
        assert message in error_of(copy, "grow", "drawn.yaml")
    (copy.folder / "prompts.json").write_text(json.dumps(prompts))
    output_of(copy, "grow", "drawn.yaml")
    told = output_of(copy, "build", "drawn.yaml")
    assert "90 images in 5 shard(s), 30 of them made now" in told
    assert faults_of(release) == []
    after = digests(release)
    assert all(after[name] == value for name, value in before.items() if name.startswith(("data", "prov")))
    assert {row["prompt"] for row in rows(release)[60:]} >= {"ants"}


def test_another_caption_of_an_earlier_image_is_found_when_a_release_grows(copy: Cli, release: Path) -> None:
    text = (copy.folder / "captions.csv").read_text()
    (copy.folder / "captions.csv").write_text(text.replace("caption 1 of cat", "another one"))
    shutil.rmtree(copy.folder / ".synthkit")
    output_of(copy, "grow", "drawn.yaml", "--target", "40")
    before = image_files(release)
    result = copy("build", "drawn.yaml")
    assert result.exit_code == 1
    assert "was made with the prompt 'caption 1 of cat, a cat', by the recipe it is 'another" in result.output
    assert image_files(release) == before


def test_diff_tells_of_prompts_in_few_words(copy: Cli, release: Path) -> None:
    changed = {"cat": ["x" * 400], "sea_dog 🐕": PROMPTS["sea_dog 🐕"]}
    output_of(
        copy,
        "build",
        "drawn.yaml",
        "--out",
        "b",
        "--set",
        f"prompts={json.dumps(changed, ensure_ascii=False)}",
    )
    lines = output_of(copy, "diff", release, copy.folder / "b" / "drawn").splitlines()
    (line,) = (line for line in lines if "prompts" in line)
    assert line.startswith(
        "  recipe prompts.cat: ['a {name}', '{caption}, a {name}', 'a drawing of a {name}']"
    )
    assert line.endswith("x…")
    assert len(line) < 500


def test_the_prompt_that_is_drawn_is_the_one_the_model_reads(cli: Cli, small_release: Path) -> None:
    """The release of one prompt, {name}, has the same image where this one drew that, and else another."""
    given = ("--set", 'prompts=["{name}", "three"]', "--limit", "8")
    output_of(cli, "build", cli.recipe(), *given)
    ours, theirs = Forgery.of(cli.folder / "releases" / "small-preview"), Forgery.of(small_release)
    same = {}
    for record, image in next(iter(ours.shards.values())):
        other = theirs.record(record.key)
        assert (record.seed, record.sources) == (other.seed, other.sources)
        pixels = [Image.open(io.BytesIO(file)).tobytes() for file in (image, theirs.image(record.key))]
        same[record.prompt == other.prompt] = pixels[0] == pixels[1]
        assert same[record.prompt == other.prompt] is (record.prompt == other.prompt)
    assert len(same) == 2
