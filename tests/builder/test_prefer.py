"""`filters.prefer`: of several draws of an image, the one is kept that is right but least sure."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit.builder.drafts import read_draft
from synthkit.builder.image import Draw
from synthkit.builder.inputs import Inputs, read_inputs
from synthkit.builder.ready import Setup, ready
from synthkit.builder.shard import ShardBuilder
from synthkit.recipe.load import load
from synthkit.release.likeness import unit
from synthkit.release.records import Provenance4
from synthkit.release.shards import Origin
from synthkit.sources.pool import RealImages
from synthkit.system.stopping import Stopped
from tests.conftest import FLAT, Cli, digests
from tests.helpers.forging import Forgery, faults_of

LIMIT, EACH, MOST = 0.85, 3, 5
# Images of one colour that the seed alone decides; some are near to the colour of a real image.
SETTINGS = (
    *FLAT,
    *("--set", "conditioning.method=text-only", "--set", "source.subset=[zero, one, two]"),
    *("--set", f"filters={{prefer: {{draws: {EACH}}}, near_copy: {{max_similarity: {LIMIT}, among: pool}}}}"),
    *("--set", f"filters.max_draws={MOST}", "--set", "target_per_class=20", "--set", "output.shard_size=16"),
)
CHOSEN = "the one that the classifier is least sure of"


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


@pytest.fixture(scope="module")
def inputs(built: Cli) -> Inputs:
    recipe = load(built.folder / "recipe.yaml", overrides=[word for word in SETTINGS if word != "--set"])
    return read_inputs(recipe, built.folder / "apart")


def rows(release: Path) -> list[dict[str, Any]]:
    tables = sorted((release / "provenance").iterdir())
    return [row for table in tables for row in pq.read_table(table).to_pylist()]


class Watching:
    """An Observer that wants a stop after so many batches, and counts images."""

    def __init__(self, batches: float = math.inf) -> None:
        self.batches, self.kept_images, self.made_images = batches, 0, 0

    @property
    def stopping(self) -> bool:
        self.batches -= 1
        return self.batches <= 0

    def embedded(self, images: int, total: int) -> None: ...
    def kept(self, images: int) -> None:
        self.kept_images += images

    def made(self, images: int) -> None:
        self.made_images += images

    def alive(self) -> None: ...


def builder_in(folder: Path, inputs: Inputs) -> ShardBuilder:
    folder.mkdir()
    return ready(Setup(inputs, Origin("", {}), folder, folder), "cpu", Watching())


class Found(NamedTuple):
    """What the definition gives for an image: the draw kept, why others were rejected, and the candidates."""

    attempt: int
    rejected: list[str]
    candidates: list[tuple[int, int, float]]


def one_by_one(builder: ShardBuilder, real: RealImages) -> list[Found]:
    """Draw and choose image by image: the definition, word for word."""
    maker, labels = builder.maker, real.listing.labels
    pool = unit(maker.generator.embed_images([real.load(position) for position in range(len(labels))]))
    means = unit(np.stack([pool[labels == label].mean(axis=0) for label in range(3)]))
    found = []
    for index in range(len(builder.plan)):
        row = builder.plan.row(index)
        rejected: list[str] = []
        candidates: list[tuple[int, int, float]] = []
        for attempt in range(MOST):
            if attempt >= EACH and candidates:
                break
            embedding = embedded(builder, Draw(row, attempt))
            nearest = int((pool @ embedding).argmax())
            similarity = float(pool[nearest] @ embedding)
            if similarity > LIMIT:
                rejected.append(f"near-copy: similarity {similarity:.3f} to {real.listing.ids[nearest]}")
                continue
            logits = 100 * (means @ embedding).astype(np.float64)
            p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            rank = 1 + int((p > p[row.label]).sum())
            candidates.append((attempt, rank, float(np.log(p[row.label] / (1 - p[row.label])))))
        right = [item for item in candidates if item[1] == 1]
        if right:
            kept = min(right, key=lambda item: item[2])[0]
        else:
            kept = max(candidates, key=lambda item: item[2])[0] if candidates else MOST - 1
        found.append(Found(kept, rejected, candidates))
    return found


def embedded(builder: ShardBuilder, draw: Draw) -> NDArray[np.float32]:
    maker = builder.maker
    (pixels,) = maker.generate([draw], [maker.mix(draw)])
    (embedding,) = unit(maker.generator.embed_images([Image.fromarray(pixels)]))
    return embedding


def test_every_image_is_the_right_draw_that_is_least_sure(
    built: Cli, release: Path, inputs: Inputs, tmp_path: Path
) -> None:
    found, wanted = rows(release), one_by_one(builder_in(tmp_path / "oracle", inputs), inputs.real)
    assert len(found) == len(wanted) == 39
    for row, (attempt, rejected, candidates) in zip(found, wanted, strict=True):
        assert (row["attempt"], row["rejected"]) == (attempt, rejected)
        told = [(item["attempt"], item["rank"]) for item in row["candidates"]]
        assert told == [(number, rank) for number, rank, _ in candidates]
        log_odds = [item["log_odds"] for item in row["candidates"]]
        assert log_odds == pytest.approx([value for *_, value in candidates], abs=1e-3)
    # All that can be happens: images with and without a right draw, with more draws, with none that passes.
    assert {any(rank == 1 for _, rank, _ in item.candidates) for item in wanted} == {True, False}
    drawn = {len(item.rejected) + len(item.candidates) for item in wanted}
    assert drawn == {EACH, EACH + 1, MOST}
    assert any(not item.candidates for item in wanted)
    verified = built("verify", release, "--deep")
    assert verified.exit_code == 0, verified.output


@pytest.mark.slow
def test_it_is_the_same_by_two_workers_and_from_garbage(release: Path, cli: Cli) -> None:
    first = digests(release)
    assert digests(build(cli, "--workers", "2")) == first
    (work,) = (cli.folder / ".synthkit").glob("small-*")
    for path in (work / "shards").glob("train-00001*"):
        path.unlink()
    (work / "shards" / "train-00002.tar").write_bytes(b"garbage")
    shutil.rmtree(cli.folder / "releases")
    assert digests(build(cli)) == first


def test_parts_are_merged_to_the_same_release(release: Path, cli: Cli) -> None:
    for part in ("1/2", "2/2"):
        assert (
            cli("build", cli.recipe(), *SETTINGS, "--shards", part, "--out", f"node{part[0]}").exit_code == 0
        )
    merged = cli("merge", cli.recipe(), *SETTINGS, "node1", "node2")
    assert merged.exit_code == 0, merged.output
    assert digests(cli.folder / "releases" / "small") == digests(release)


@pytest.mark.parametrize("batches", [1, 4])
def test_a_build_that_is_stopped_keeps_its_candidates(inputs: Inputs, tmp_path: Path, batches: int) -> None:
    whole, stopped = builder_in(tmp_path / "whole", inputs), builder_in(tmp_path / "stopped", inputs)
    whole.build(0, Watching())
    with pytest.raises(Stopped):
        stopped.build(0, Watching(batches))
    (draft,) = stopped.folder.glob("*.draft")
    kept = read_draft(draft, stopped.origin, "png", 4)
    begun = sum(len(record.candidates) for record, _ in kept.values() if isinstance(record, Provenance4))
    assert begun
    again = Watching()
    stopped.build(0, again)
    assert again.kept_images + again.made_images == 16
    assert not draft.exists()
    assert (
        digests(stopped.folder).items()
        >= {
            name: digest for name, digest in digests(whole.folder).items() if name.startswith("train-")
        }.items()
    )


def test_candidates_of_a_draft_are_not_drawn_again(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = builder_in(tmp_path / "stopped", inputs)
    drawn: list[tuple[int, int]] = []
    generate = type(builder.maker).generate

    def counted(self: Any, draws: Any, mixed: Any) -> Any:
        drawn.extend((draw.row.index, draw.attempt) for draw in draws)
        return generate(self, draws, mixed)

    monkeypatch.setattr(type(builder.maker), "generate", counted)
    with pytest.raises(Stopped):
        builder.build(0, Watching(1))
    assert drawn == [(index, attempt) for index in range(3) for attempt in range(EACH)][:8]
    (draft,) = builder.folder.glob("*.draft")
    some = read_draft(draft, builder.origin, "png", 4)
    before, drawn[:] = set(drawn), []
    builder.build(0, Watching())
    assert {index for index, _ in before & set(drawn)} == {0, 1, 2} - set(some)


def test_records_card_and_words_tell_of_all_draws(built: Cli, release: Path) -> None:
    found = rows(release)
    facts = json.loads((release / "manifest.json").read_text())
    assert facts["format_version"] == 4
    drawn = sum(len(row["candidates"]) + len(row["rejected"]) for row in found)
    right = [row for row in found if any(item["rank"] == 1 for item in row["candidates"])]
    later = sum(row["attempt"] > 0 for row in found)
    assert facts["filters"]["prefer"] == {"each": 3, "drawn": drawn, "right": len(right), "later": later}
    assert facts["filters"]["rejected_draws"] == sum(len(row["rejected"]) for row in found)
    assert facts["filters"]["redrawn"] == sum(len(r["candidates"]) + len(r["rejected"]) > 3 for r in found)
    none = [row for row in found if not row["candidates"]]
    assert facts["filters"]["kept_although_rejected"] == len(none)
    words = (
        f"{drawn} draws, at least 3 of each image: {100 * len(right) / 39:.1f} % of the images are the draw"
    )
    assert f"Chosen from {words}" in (release / "README.md").read_text()
    assert f"preferred    {words}" in built("show", release).output
    row = next(row for row in right if row["rejected"] and len(row["candidates"]) == 2)
    told = built("show", release, row["key"]).output
    assert f"draw {row['attempt'] + 1} of 3\n  kept     {CHOSEN}, among " in told
    for item in row["candidates"]:
        said = "right" if item["rank"] == 1 else f"its class is choice {item['rank']}"
        p = 1 / (1 + math.exp(-item["log_odds"]))
        assert (
            f"  draw {item['attempt'] + 1}   {said}, log-odds {item['log_odds']:.3f}, probability {p:.6f}"
            in told
        )
    assert f"   rejected ({row['rejected'][0]})\n" in told
    assert "  kept     the last that the recipe allows" in built("show", release, none[0]["key"]).output
    wrong = next(row for row in found if row["candidates"] and row not in right)
    assert "the classifier finds none right\n" in built("show", release, wrong["key"]).output


def test_a_replay_needs_the_record_alone_and_finds_a_false_choice(
    built: Cli, release: Path, tmp_path: Path
) -> None:
    keys = [row["key"] for row in rows(release) if row["attempt"] and row["candidates"]][:2]
    replayed = built("replay", release, *keys)
    assert replayed.output.count(": identical\n") == 2, replayed.output
    copy = shutil.copytree(release, tmp_path / "forged")
    forgery = Forgery.of(copy)
    record = forgery.record(keys[0]).to_row()
    kept = next(item for item in record["candidates"] if item["attempt"] == record["attempt"])
    forged = [
        {**item, "log_odds": kept["log_odds"] - 0.01} if item is kept else item
        for item in record["candidates"]
    ]
    forgery.change(keys[0], candidates=forged)
    forgery.write()
    told = built("replay", copy, keys[0])
    assert told.exit_code == 1
    assert (
        f"its record's candidates say attempt {kept['attempt']}: rank {kept['rank']}, log-odds "
        in told.output
    )


def test_verify_tells_a_forged_choice(release: Path, tmp_path: Path) -> None:
    row = next(row for row in rows(release) if len(row["candidates"]) == 3)
    forgery = Forgery.of(shutil.copytree(release, tmp_path / "forged"))
    other = next(item["attempt"] for item in row["candidates"] if item["attempt"] != row["attempt"])
    forgery.change(row["key"], attempt=other)
    forgery.write()
    assert (
        f"{row['key']}: its record's attempt is {other}, by its candidates {row['attempt']} is kept"
        in "\n".join(faults_of(forgery.folder))
    )


def test_a_plan_tells_what_it_costs(cli: Cli) -> None:
    build(cli, "--set", "filters=null")
    (log,) = cli.folder.glob(".synthkit/small-*/build.jsonl")
    (event,) = (json.loads(line) for line in log.read_text().splitlines() if '"generated"' in line)
    planned = cli("plan", cli.recipe(), *SETTINGS)
    assert "Draws: 117, 3 of each image, which filters.prefer chooses from" in planned.output
    facts = json.loads(cli("plan", cli.recipe(), *SETTINGS, "--json").output)
    assert facts["totals"]["draws"] == 117
    assert facts["estimate"]["seconds"] == pytest.approx(117 / event["images_per_second"])
    plain = json.loads(cli("plan", cli.recipe(), *SETTINGS, "--set", "filters=null", "--json").output)
    assert "draws" not in plain["totals"]
    assert plain["estimate"]["seconds"] == pytest.approx(39 / event["images_per_second"])
