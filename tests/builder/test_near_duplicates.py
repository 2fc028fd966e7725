"""`filters.near_duplicate`: what repeats an earlier image of its class is drawn again, whoever draws it."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.builder.image import Draw
from synthkit.builder.inputs import read_inputs
from synthkit.builder.ready import Setup, ready
from synthkit.builder.second_pass import SecondPass
from synthkit.builder.settled import Settled
from synthkit.builder.shard import ShardBuilder
from synthkit.recipe.load import load
from synthkit.release.likeness import unit
from synthkit.release.shards import Origin
from synthkit.system.stopping import Stopped
from tests.conftest import FLAT, Cli, digests
from tests.helpers.forging import Forgery

LIMIT = 0.97
# Images of one colour that the seed alone decides: in a class of a dozen some are much alike.
SETTINGS = (
    *FLAT,
    *("--set", f"filters={{near_duplicate: {{max_similarity: {LIMIT}}}, max_draws: 4}}"),
    *("--set", "conditioning.method=text-only", "--set", "output.shard_size=16"),
)


def build(cli: Cli, *more: str) -> Path:
    result = cli("build", cli.recipe(), *SETTINGS, *more)
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("built"))
    build(cli)
    return cli


@pytest.fixture(scope="module")
def release(built: Cli) -> Path:
    return built.folder / "releases" / "small"


def rows(release: Path) -> list[dict[str, Any]]:
    tables = sorted((release / "provenance").iterdir())
    return [row for table in tables for row in pq.read_table(table).to_pylist()]


class Silent:
    """An Observer that nobody watches."""

    stopping = False

    def embedded(self, images: int, total: int) -> None: ...
    def kept(self, images: int) -> None: ...
    def made(self, images: int) -> None: ...
    def alive(self) -> None: ...


class Found(NamedTuple):
    """What the definition gives for an image: attempt, what rejected draws repeat, what it is near."""

    attempt: int
    repeated: list[tuple[str, float]]
    nearest: tuple[str, float] | None


def one_by_one(builder: ShardBuilder) -> list[Found]:
    """Draw image by image until one repeats none of its class before it: the definition, word for word."""
    found, kept = [], defaultdict[int, dict[str, NDArray[np.float32]]](dict)
    for index in range(len(builder.plan)):
        row, before = builder.plan.row(index), kept[int(builder.plan.labels[index])]
        repeated: list[tuple[str, float]] = []
        for attempt in range(4):
            embedding = embedded(builder, Draw(row, attempt))
            similar = {name: float(one @ embedding) for name, one in before.items()}
            nearest = max(similar.items(), key=lambda item: item[1]) if similar else None
            if nearest is None or nearest[1] <= LIMIT:
                break
            repeated.append(nearest)
        found.append(Found(attempt, repeated, nearest))
        before[f"{index:09d}"] = embedding
    return found


def embedded(builder: ShardBuilder, draw: Draw) -> NDArray[np.float32]:
    maker = builder.maker
    (pixels,) = maker.generate([draw], [maker.mix(draw)])
    (embedding,) = unit(maker.generator.embed_images([Image.fromarray(pixels)]))
    return embedding


def test_every_image_is_the_first_draw_that_repeats_none_before_it(built: Cli, release: Path) -> None:
    (built.folder / "oracle").mkdir()
    recipe = load(built.folder / "recipe.yaml", overrides=[word for word in SETTINGS if word != "--set"])
    inputs = read_inputs(recipe, built.folder / "oracle")
    setup = Setup(inputs, Origin("", {}), built.folder / "oracle", built.folder / "oracle")
    wanted = one_by_one(ready(setup, "cpu", Silent()))
    found = rows(release)
    assert len(found) == len(wanted) == 76
    for row, (attempt, repeated, nearest) in zip(found, wanted, strict=True):
        assert row["attempt"] == attempt
        told = [f"near-duplicate: similarity {value:.3f} to {name}" for name, value in repeated]
        assert row["rejected"] == told
        scores = {score["name"]: (score["nearest"], score["value"]) for score in row["scores"]}
        if nearest is None:
            assert scores == {}
        else:
            name, value = scores["near_duplicate.similarity"]
            assert name == nearest[0]
            assert value == pytest.approx(nearest[1], abs=1e-5)
    assert sum(row["attempt"] > 0 for row in found) > 5
    assert any(len(row["rejected"]) > row["attempt"] for row in found)


def test_the_release_verifies_and_counts_them(built: Cli, release: Path) -> None:
    verified = built("verify", release, "--deep")
    assert verified.exit_code == 0, verified.output
    facts = json.loads((release / "manifest.json").read_text())["filters"]
    rejected = sum(len(row["rejected"]) for row in rows(release))
    assert facts["reasons"] == {"near-duplicate": rejected}
    again = [row["key"] for row in rows(release) if row["attempt"]][:2]
    replayed = built("replay", release, *again)
    assert replayed.output.count(": identical") == len(again), replayed.output


def test_a_replay_compares_with_the_image_that_the_record_names(built: Cli, tmp_path: Path) -> None:
    copy = shutil.copytree(built.folder / "releases" / "small", tmp_path / "forged")
    key = next(row["key"] for row in rows(copy) if len(row["rejected"]) == row["attempt"] > 0)
    forgery = Forgery.of(copy)
    forgery.change(key, scores=[{**forgery.record(key).to_row()["scores"][0], "value": 0.25}])
    forgery.write()
    assert built("verify", copy).exit_code == 0
    told = built("replay", copy, key)
    assert told.exit_code == 1
    assert "its record's scores say near_duplicate.similarity 0.25 (0000000" in told.output
    assert "made again it is near_duplicate.similarity 0." in told.output


@pytest.mark.slow
def test_it_is_the_same_by_two_workers_and_from_garbage(release: Path, cli: Cli) -> None:
    first = digests(release)
    assert digests(build(cli, "--workers", "2")) == first
    (work,) = (cli.folder / ".synthkit").glob("small-*")
    assert not (work / "first-draws").exists()
    for path in (work / "shards").glob("train-00001*"):
        path.unlink()
    (work / "shards" / "train-00003.tar").write_bytes(b"garbage")
    shutil.rmtree(cli.folder / "releases")
    assert digests(build(cli)) == first


def test_a_build_that_was_stopped_in_its_second_pass_goes_on(
    release: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = SecondPass.settle

    def until_the_third(self: SecondPass, shard: int) -> None:
        if shard == 2:
            raise Stopped
        settle(self, shard)

    monkeypatch.setattr(SecondPass, "settle", until_the_third)
    assert cli("build", cli.recipe(), *SETTINGS).exit_code != 0
    (work,) = (cli.folder / ".synthkit").glob("small-*")
    assert sorted(path.name for path in (work / "shards").glob("*.tar")) == [
        "train-00000.tar",
        "train-00001.tar",
    ]
    assert len(list((work / "first-draws").glob("*.tar"))) == 3
    monkeypatch.undo()
    told = cli("build", cli.recipe(), *SETTINGS)
    assert "76 images in 5 shard(s), 0 of them made now" in told.output, told.output
    assert digests(cli.folder / "releases" / "small") == digests(release)


@pytest.mark.slow
def test_a_grown_release_is_the_same_as_one_made_at_once(built: Cli, release: Path, cli: Cli) -> None:
    shutil.copytree(release, cli.folder / "releases" / "small")
    more = ("--set", "target_per_class=15", "--set", "grown=[12]", "--set", "version=1.3.0")
    grown = build(cli, *more)
    for path in sorted((release / "data").iterdir()):
        assert (grown / "data" / path.name).read_bytes() == path.read_bytes()
    assert cli("verify", grown).exit_code == 0
    alone = Cli(cli.folder / "alone")
    alone.folder.mkdir()
    assert digests(build(alone, *more)) == digests(grown)


def test_a_preview_is_the_beginning_of_the_release(release: Path, cli: Cli) -> None:
    build(cli, "--limit", "20")
    assert rows(cli.folder / "releases" / "small-preview") == rows(release)[:20]


def test_a_last_draw_that_other_gates_reject_is_compared_too(cli: Cli) -> None:
    build(cli, "--set", "filters.blank={}", "--limit", "20")
    preview = cli.folder / "releases" / "small-preview"
    assert cli("verify", preview).exit_code == 0
    both = 0
    for row in rows(preview):
        *earlier, last = row["rejected"]
        assert earlier == ["blank: deviation 0.00"] * 3
        blank, *repeated = row["scores"]
        assert blank["value"] == 0
        again = [score for score in repeated if score["value"] > LIMIT]
        told = [f"near-duplicate: similarity {s['value']:.3f} to {s['nearest']}" for s in again]
        assert last == "; ".join(["blank: deviation 0.00", *told])
        both += len(again)
    assert both


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (("build", "--shards", "1/2"), "--shards 1/2"),
        (("build", "--engine", "ray"), "--engine ray"),
        (("build", "--engine", "ray", "--out", "memory://bucket"), "--out memory://bucket"),
        (("merge",), "synthkit merge"),
    ],
)
def test_what_no_one_machine_sees_the_whole_of_is_refused_at_once(
    cli: Cli, command: tuple[str, ...], asked: str
) -> None:
    name, *more = command
    settings = (*SETTINGS, "--set", "sampler.batch_size=8")
    result = cli(name, cli.recipe(), *settings, *more)
    assert result.exit_code == 1
    assert f"error: {asked}: filters.near_duplicate compares each image with all before it" in " ".join(
        result.output.split()
    )
    assert not (cli.folder / ".synthkit").exists()


def test_settled_images_are_compared_within_their_class(tmp_path: Path) -> None:
    settled = Settled(tmp_path, np.array([1, 0, 1, 1], dtype=np.int32), 2)
    up, right = np.array([0, 1], np.float32), np.array([1, 0], np.float32)
    assert settled.nearest(1, up) is None
    settled.add(1, up)
    settled.add(0, right)
    assert settled.nearest(1, right) == (0.0, 0)
    settled.add(1, right)
    assert settled.nearest(1, right) == (1.0, 2)
    assert settled.nearest(0, up) == (0.0, 1)
