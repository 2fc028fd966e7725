"""Tokens that are learned from the real images of each class, as commands learn, use and refuse them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load, save

from synthkit.errors import ReleaseError
from synthkit.release.learned_tokens import read_tokens
from synthkit.release.manifest import read_manifest
from tests.conftest import Cli, digests
from tests.helpers.forging import faults_of
from tests.helpers.paths import ROOT

RECIPE = """\
name: learned
source: {kind: digits, subset: [zero, one, two], max_per_class: 5}
synthetic_per_class: 4
conditioning: {method: fill-up}
prompt: a photo of a {name}
tokens: {steps: 3, vectors: 2}
model: {id: builtin:flat-colours}
sampler: {batch_size: 4}
output: {shard_size: 6}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with the recipe, its tokens in tokens.safetensors, and the release. Do not change it."""
    cli = with_recipe(tmp_path_factory.mktemp("learned"))
    told(cli, "train-tokens", "recipe.yaml", "--to", "tokens.safetensors")
    told(cli, "build", "recipe.yaml")
    return cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return with_recipe(tmp_path)


def with_recipe(folder: Path) -> Cli:
    (folder / "recipe.yaml").write_text(RECIPE)
    return Cli(folder)


def told(cli: Cli, *words: str) -> str:
    result = cli(*words)
    assert result.exit_code == 0, result.output
    return result.output


def refused(cli: Cli, *words: str) -> str:
    """The one line that a command is refused in."""
    result = cli(*words)
    assert result.exit_code == 1, result.output
    error = result.output.splitlines()[-1]
    assert error.startswith("error: ")
    return error


def kept(cli: Cli) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cli.folder / ".synthkit/tokens").iterdir()}


def test_build_learns_what_is_missing_and_makes_the_same_bytes(built: Cli, cli: Cli) -> None:
    output = told(cli, "build", "recipe.yaml")
    assert "learning tokens: 9 of 9 steps" in output
    assert digests(cli.folder / "releases/learned") == digests(built.folder / "releases/learned")
    assert kept(cli) == kept(built)
    assert "tokens of 3 classes, 2 vector(s) each, 0 of them learned now" in told(
        cli, "train-tokens", "recipe.yaml"
    )


def test_a_release_has_the_tokens_and_says_what_they_are(built: Cli) -> None:
    release = built.folder / "releases/learned"
    assert (release / "tokens.safetensors").read_bytes() == (built.folder / "tokens.safetensors").read_bytes()
    assert faults_of(release, deep=True) == []
    tokens, facts = read_tokens(release / "tokens.safetensors"), read_manifest(release).tokens
    assert facts is not None
    assert (facts.classes, facts.vectors, facts.steps) == (3, 2, 3)
    rows = pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
    assert {(row["label"], row["prompt"]) for row in rows} == {
        (label, f"a photo of a {token.word}") for label, token in tokens.items()
    }
    card = (release / "README.md").read_text()
    assert "2 vectors for each of 3 classes, learned in 3 steps from its real images alone" in card
    assert facts.sha256[:16] in card
    assert facts.sha256[:16] in told(built, "show", "releases/learned")
    assert "12 of 12 identical" in told(built, "replay", "releases/learned", "--sample", "99")


def test_a_run_that_was_cut_off_goes_on_with_the_class_that_it_was_at(built: Cli, cli: Cli) -> None:
    told(cli, "train-tokens", "recipe.yaml")
    files = sorted((cli.folder / ".synthkit/tokens").iterdir())
    files[0].unlink()
    # Half a file, as a disk may leave it, and a file that was being written.
    files[1].write_bytes(files[1].read_bytes()[:100])
    files[1].with_name(f".{files[1].name}.0123abcd.tmp").write_bytes(b"half")
    assert "2 of them learned now" in told(cli, "train-tokens", "recipe.yaml")
    assert kept(cli) == kept(built)


def test_a_token_depends_on_its_own_class_alone(built: Cli, cli: Cli) -> None:
    told(cli, "train-tokens", "recipe.yaml", "--set", "source.subset=[two, one]", "--to", "two.safetensors")
    mine, all_three = (
        read_tokens(path) for path in (cli.folder / "two.safetensors", built.folder / "tokens.safetensors")
    )
    words = {token.word for token in mine.values()}
    assert len(words) == 2
    assert words < {token.word for token in all_three.values()}


def test_a_preview_learns_the_classes_that_it_has_images_of(cli: Cli) -> None:
    told(cli, "build", "recipe.yaml", "--limit", "1")
    assert len(kept(cli)) == 1


def test_a_release_that_grows_keeps_its_tokens(built: Cli, cli: Cli) -> None:
    told(cli, "build", "recipe.yaml")
    shutil.rmtree(cli.folder / ".synthkit")
    output = told(
        cli,
        "build",
        "recipe.yaml",
        "--set",
        "grown=[4]",
        "--set",
        "synthetic_per_class=6",
        "--set",
        "version=0.2.0",
    )
    assert "learning tokens" not in output
    release = cli.folder / "releases/learned"
    tokens = (release / "tokens.safetensors").read_bytes()
    assert tokens == (built.folder / "tokens.safetensors").read_bytes()
    assert faults_of(release) == []


def test_parts_are_merged_with_the_tokens_that_they_were_made_with(built: Cli, cli: Cli) -> None:
    file = str(built.folder / "tokens.safetensors")
    for number, words in ((1, ()), (2, ("--tokens", file))):
        told(cli, "build", "recipe.yaml", "--shards", f"{number}/2", "--out", f"part{number}", *words)
    assert not (cli.folder / "part2/.synthkit/tokens").exists()
    told(cli, "merge", "recipe.yaml", "part1", "part2")
    assert digests(cli.folder / "releases/learned") == digests(built.folder / "releases/learned")
    error = refused(cli, "merge", "recipe.yaml", "part2", "--out", "elsewhere")
    assert "the learned tokens of 3 classes (zero …) are not here: name the file" in error


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("source.max_per_class=4", "its token of class zero was learned with other real images"),
        ("tokens.steps=4", "was learned with other settings (steps)"),
        ("prompt={name}", "was learned with other settings (prompts)"),
        ("seed=1", "was learned with other settings (seed)"),
        ("model.id=builtin:tiny-unclip-digits", "was learned with another model ("),
        ("source.subset=[zero, one, two, nine]", "has no token of class nine"),
        ("conditioning.method=text-only", "text-only takes no learned tokens"),
    ],
)
def test_tokens_of_something_else_are_refused(built: Cli, cli: Cli, change: str, what: str) -> None:
    changes = [change, *(["tokens=null"] if "text-only" in change else [])]
    words = [word for setting in changes for word in ("--set", setting)]
    file = str(built.folder / "tokens.safetensors")
    assert what in refused(cli, "build", "recipe.yaml", *words, "--tokens", file)
    assert not (cli.folder / "releases/learned").exists()


def without_header(raw: bytes) -> bytes:
    return save(load(raw))


DAMAGES: dict[str, Any] = {
    "cut off": lambda raw: raw[:-9],
    "empty": lambda raw: b"",
    "no such file": lambda raw: b"PK" + raw,
    "another number": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "edited": lambda raw: raw.replace(b'\\"steps\\": 3', b'\\"steps\\": 4'),
    "nothing told": without_header,
    "of another class": lambda raw: raw.replace(b"00001", b"0000a"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(built: Cli, tmp_path: Path, damage: str) -> None:
    raw = (built.folder / "tokens.safetensors").read_bytes()
    changed = DAMAGES[damage](raw)
    assert changed != raw
    file = tmp_path / "tokens.safetensors"
    file.write_bytes(changed)
    with pytest.raises(ReleaseError, match="is no file of learned tokens, or a damaged one"):
        read_tokens(file)
    error = refused(built, "build", "recipe.yaml", "--out", str(tmp_path / "out"), "--tokens", str(file))
    assert f"{file}: is no file of learned tokens" in error


def test_verify_finds_tokens_that_are_not_the_releases(built: Cli, cli: Cli) -> None:
    """Tokens of another recipe, with a manifest that fits them."""
    from tests.helpers.forging import Forgery

    told(cli, "build", "recipe.yaml")
    release = cli.folder / "releases/learned"
    told(cli, "train-tokens", "recipe.yaml", "--set", "seed=1", "--to", str(release / "tokens.safetensors"))
    Forgery.of(release).seal()
    found = " ".join(faults_of(release))
    assert "tokens.safetensors: its token of class 0 was learned with other settings (seed)" in found
    assert "its record's prompt is 'a photo of a <token-" in found


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (("conditioning.method=dropout",), "tokens: are for methods that learn them (da-fusion, fill-up)"),
        (("prompt=a photo",), "has no {name}, which the learned token takes the place of"),
        (("prompt=a <token-0123456789abcdef> {name}",), "has the word of a learned token"),
        (("prompt={name}, {caption}", "captions={file: c.csv}"), "has {caption}"),
        (("tokens.steps=0",), "tokens.steps"),
        (("tokens.vectors=17",), "tokens.vectors"),
    ],
)
def test_mistakes_in_the_recipe_are_told(cli: Cli, changes: tuple[str, ...], what: str) -> None:
    words = [word for change in changes for word in ("--set", change)]
    result = cli("train-tokens", "recipe.yaml", *words)
    assert result.exit_code == 1
    assert what in result.output


def test_there_is_nothing_to_learn_for_other_methods(cli: Cli) -> None:
    words = ("--set", "conditioning.method=dropout", "--set", "tokens=null")
    error = refused(cli, "train-tokens", "recipe.yaml", *words)
    assert "dropout learns no tokens; a recipe with da-fusion or fill-up does" in error


def test_da_fusion_draws_the_strengths_of_its_paper(cli: Cli) -> None:
    told(cli, "build", "recipe.yaml", "--set", "conditioning.method=da-fusion")
    rows = pq.read_table(cli.folder / "releases/learned/provenance/train-00000.parquet").to_pylist()
    assert {row["strength"] for row in rows} == {0.25, 0.5, 0.75, 1.0}
    assert all(len(row["sources"]) == 1 and "<token-" in row["prompt"] for row in rows)
    assert faults_of(cli.folder / "releases/learned") == []


def test_a_class_that_is_called_as_a_token_is_nothing_but_a_name(cli: Cli) -> None:
    from PIL import Image

    names = ("<token-0000000000000000>", "<|endoftext|>")
    for number, name in enumerate(names):
        folder = cli.folder / "photos" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (90 * number, 9, 9)).save(folder / "one.png")
    told(cli, "build", "recipe.yaml", "--set", "source={kind: folder, root: photos}")
    rows = pq.read_table(cli.folder / "releases/learned/provenance/train-00000.parquet").to_pylist()
    assert {row["class_name"] for row in rows} == set(names)
    assert not any(name in row["prompt"] for name in names for row in rows)
    assert faults_of(cli.folder / "releases/learned") == []


@pytest.mark.slow
def test_ctrl_c_keeps_finished_classes(cli: Cli) -> None:
    command = [sys.executable, "-m", "synthkit", "train-tokens", "recipe.yaml", "--set", "tokens.steps=20000"]
    process = subprocess.Popen(command, cwd=cli.folder, stderr=subprocess.PIPE, env=_environment())
    deadline = time.monotonic() + 120
    while not list(cli.folder.glob(".synthkit/tokens/*.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert b"the same command goes on" in said
    before = {name: raw for name, raw in kept(cli).items() if name.endswith(".safetensors")}
    assert 1 <= len(before) < 3
    output = told(cli, *command[3:])
    assert f"{3 - len(before)} of them learned now" in output
    assert before.items() <= kept(cli).items()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_vectors_are_as_many_as_asked_for(built: Cli) -> None:
    for token in read_tokens(built.folder / "tokens.safetensors").values():
        assert token.vectors.shape == (2, 3)
        assert np.isfinite(token.vectors).all()
