"""Quality gates: what they reject is drawn again, and every record and the card say so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from synthkit.builder.filters import grey_deviation
from synthkit.release.seeds import attempt_seed
from tests.conftest import Cli, digests
from tests.helpers.forging import Forgery, image_files
from tests.helpers.paths import ROOT

GATED = (
    "filters={blank: {}, near_copy: {max_similarity: 0.9999, among: pool}, label_agreement: {}}",
    "filters.max_draws=5",
    "output.shard_size=16",
)
SMALL_RUN = ("sampler.steps=2", "sampler.guidance_scale=1.0", "target_per_class=9")


def build(cli: Cli, *values: str) -> Path:
    flags = [word for value in (*SMALL_RUN, *values) for word in ("--set", value)]
    result = cli("build", cli.recipe(), *flags)
    assert result.exit_code == 0, result.output
    assert cli("verify", "releases/small", "--deep").exit_code == 0
    return cli.folder / "releases" / "small"


def rows(release: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
    return found


def test_without_filters_every_image_is_its_first_draw(small_release: Path) -> None:
    judged = {(row["attempt"], tuple(row["rejected"]), tuple(row["scores"])) for row in rows(small_release)}
    assert judged == {(0, (), ())}
    assert json.loads((small_release / "manifest.json").read_text())["filters"] is None


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A folder with a release that all gates judged; two steps make poor digits, so that some fail."""
    cli = Cli(tmp_path_factory.mktemp("gated"))
    build(cli, *GATED)
    return cli


@pytest.mark.slow
def test_what_disagrees_with_its_label_is_drawn_again(gated: Cli) -> None:
    release = gated.folder / "releases" / "small"
    again = [row for row in rows(release) if row["attempt"]]
    assert again
    for row in again:
        assert len(row["rejected"]) in (row["attempt"], row["attempt"] + 1)
        assert all(reason.startswith("label-agreement: rank ") for reason in row["rejected"])
    facts = json.loads((release / "manifest.json").read_text())["filters"]
    assert facts["redrawn"] == len(again)
    assert facts["rejected_draws"] == sum(len(row["rejected"]) for row in rows(release))
    assert facts["reasons"] == {"label-agreement": facts["rejected_draws"]}
    card = (release / "README.md").read_text()
    assert f"Quality gates rejected {facts['rejected_draws']} draw(s) (label-agreement" in card
    assert (
        f"gates        {facts['rejected_draws']:,} draws rejected (label-agreement"
        in gated("show", release).output
    )


def test_every_record_keeps_the_numbers_that_its_gates_judged_by(gated: Cli) -> None:
    release = gated.folder / "releases" / "small"
    for row in rows(release):
        blank, copy, label = row["scores"]
        assert (blank["name"], blank["nearest"]) == ("blank.deviation", "")
        assert 4 <= blank["value"] < 128
        assert copy["name"] == "near_copy.similarity"
        assert 0 < copy["value"] < 0.9999
        assert copy["nearest"].startswith("digits/")
        assert label["name"] == "label_agreement.rank"
        kept_although_rejected = len(row["rejected"]) > row["attempt"]
        assert (label["value"] > 1) is kept_although_rejected
        assert (label["nearest"] == row["class_name"]) is not kept_although_rejected
    first = rows(release)[0]
    shown = gated("show", release, first["key"]).output
    blank, copy, label = first["scores"]
    assert f"  score    near_copy.similarity {copy['value']:g}, nearest is {copy['nearest']}\n" in shown
    assert f"  score    blank.deviation {blank['value']:g}\n" in shown


def test_the_example_of_the_docs_reads_the_scores(gated: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/recipes.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = "releases/digits-lt-augcond-filtered"
    assert path in example
    exec(example.replace(path, str(gated.folder / "releases" / "small")))
    told = capsys.readouterr().out
    assert "blank.deviation  near_copy.similarity  label_agreement.rank" in told
    assert re.search(r"^\d+ of \d+ images are less than 0.9 similar to every real image$", told, re.MULTILINE)


def test_a_replay_makes_the_scores_again(gated: Cli, tmp_path: Path) -> None:
    release = gated.folder / "releases" / "small"
    keys = [row["key"] for row in rows(release) if row["attempt"]][:2]
    replayed = gated("replay", release, *keys)
    assert replayed.exit_code == 0, replayed.output
    assert replayed.output.count(": identical") == len(keys)
    copy = shutil.copytree(release, tmp_path / "forged")
    forgery = Forgery.of(copy)
    blank, nearest, label = forgery.record(keys[0]).to_row()["scores"]
    forgery.change(keys[0], scores=[blank, {**nearest, "value": 0.25}, label])
    forgery.write()
    assert gated("verify", copy).exit_code == 0
    told = gated("replay", copy, *keys)
    assert told.exit_code == 1
    assert "its record's scores say near_copy.similarity 0.25 (digits/" in told.output
    assert f"made again it is near_copy.similarity {nearest['value']:g} (" in told.output
    assert f"{keys[1]}: identical\n" in told.output


def test_an_image_that_passes_is_the_same_with_and_without_gates(gated: Cli, cli: Cli) -> None:
    plain = {row["key"]: row for row in rows(build(cli))}
    found = rows(gated.folder / "releases" / "small")
    pictures = image_files(cli.folder / "releases" / "small")
    with_gates = image_files(gated.folder / "releases" / "small")
    assert 0 < sum(row["attempt"] == 0 for row in found) < len(found)
    for row in found:
        name = f"{row['key']}.png"
        assert (pictures[name] == with_gates[name]) is (row["attempt"] == 0)
        assert row["seed"] == plain[row["key"]]["seed"]


def test_gates_give_the_same_bytes_in_shards_of_any_order_and_after_a_kill(gated: Cli) -> None:
    first = digests(gated.folder / "releases" / "small")
    # As after a kill: some shards are finished, one is garbage.
    (work,) = (gated.folder / ".synthkit").glob("small-*")
    for path in (work / "shards").glob("train-00001*"):
        path.unlink()
    (gated.folder / "releases/small").rename(gated.folder / "first")
    assert digests(build(gated, *GATED)) == first


def test_what_never_passes_is_kept_and_told(cli: Cli) -> None:
    never = "filters={blank: {min_deviation: 127.0}, max_draws: 3}"
    release = build(cli, never, "target_per_class=9", "model.id=builtin:flat-colours")
    assert {row["attempt"] for row in rows(release)} == {2}
    assert {len(row["rejected"]) for row in rows(release)} == {3}
    flat = [{"name": "blank.deviation", "value": 0.0, "nearest": ""}]
    assert all(row["scores"] == flat for row in rows(release))
    facts = json.loads((release / "manifest.json").read_text())["filters"]
    assert facts["kept_although_rejected"] == len(rows(release))
    assert f"{len(rows(release))} kept although no draw passed" in (release / "README.md").read_text()
    shown = cli("show", release, "0").output
    assert (
        "draw 3: earlier ones were rejected (blank: deviation 0.00; blank: deviation 0.00); this one" in shown
    )


@pytest.mark.parametrize(
    "method", ["dropout", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixup", "text-only"))]
)
def test_copies_are_told_by_the_real_image(cli: Cli, method: str) -> None:
    among = "pool" if method == "text-only" else "sources"
    near_copy = f"filters={{near_copy: {{max_similarity: 0.5, among: {among}}}, max_draws: 2}}"
    found = rows(build(cli, near_copy, f"conditioning.method={method}"))
    rejected = [row for row in found if row["rejected"]]
    assert rejected
    for row in rejected:
        name = row["rejected"][0].split(" to ")[1]
        assert name.startswith("digits/")
        if among == "sources":
            assert name in [source["id"] for source in row["sources"]]


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A timm network with weights that see a one in every picture."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    weights = network.state_dict()
    weights["fc.weight"].zero_()
    weights["fc.bias"].copy_(torch.tensor([0.0, 5.0, *[0.0] * 8]))
    path = tmp_path / "secret" / "weights.safetensors"
    path.parent.mkdir()
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path


@pytest.mark.slow
def test_a_timm_classifier_judges_labels(cli: Cli, classifier: Path) -> None:
    asked = f"classifier: {{network: test_resnet, checkpoint: {classifier}}}"
    release = build(cli, f"filters={{label_agreement: {{{asked}}}, max_draws: 2}}")
    for row in rows(release):
        wanted = () if row["class_name"] == "one" else ("label-agreement: rank 2, nearest is one",) * 2
        assert tuple(row["rejected"]) == wanted
        rank, probability = row["scores"]
        assert (rank["name"], rank["nearest"]) == ("label_agreement.rank", "one")
        assert probability["name"] == "label_agreement.probability"
        assert (probability["value"] > 0.9) is (row["class_name"] == "one")
    text = (release / "recipe.yaml").read_text()
    assert "checkpoint: weights.safetensors" in text
    assert "secret" not in text
    classifier.rename(classifier.with_name("moved.safetensors"))
    moved = f"filters={{label_agreement: {{{asked.replace('weights', 'moved')}}}, max_draws: 2}}"
    flags = [word for value in (*SMALL_RUN, moved) for word in ("--set", value)]
    assert "0 of them made now" in cli("build", cli.recipe(), *flags).output


def test_a_classifier_that_does_not_fit(cli: Cli, classifier: Path) -> None:
    for network, checkpoint, told in (
        ("test_resnet", "gone.safetensors", "classifier.checkpoint: gone.safetensors: No such file"),
        ("resnet18", classifier, "is not a resnet18 of 10 classes: "),
        ("no_such_net", classifier, "is not a no_such_net of 10 classes: "),
    ):
        gate = (
            f"filters={{label_agreement: {{classifier: {{network: {network}, checkpoint: {checkpoint}}}}}}}"
        )
        result = cli("build", cli.recipe(), "--set", gate)
        assert result.exit_code == 1
        assert told in result.output, result.output


def test_a_recipe_of_gates(cli: Cli) -> None:
    for value, told in (
        ("filters={}", "filters: name a filter: blank, near_copy, label_agreement, near_duplicate or prefer"),
        (
            "filters={blank: {min_deviaton: 3.0}}",
            "filters.blank.min_deviaton: unknown key (did you mean min_dev",
        ),
        ("filters={blank: {}, max_draws: 1}", "filters.max_draws: must be at least 2, is 1"),
        (
            "filters={near_copy: {among: all}}",
            "filters.near_copy.among: must be one of sources, pool; is 'all'",
        ),
    ):
        result = cli("plan", cli.recipe(), "--set", value)
        assert result.exit_code == 1
        assert told in result.output, result.output


def test_seeds_of_draws_differ_and_the_first_is_the_images_own() -> None:
    seeds = [attempt_seed(7, attempt) for attempt in range(100)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[1:4] == [attempt_seed(7, n) for n in (1, 2, 3)]


def test_the_deviation_of_greys() -> None:
    assert grey_deviation(np.zeros((4, 4, 3), np.uint8)) == 0
    halves = np.zeros((4, 4, 3), np.uint8)
    halves[:2] = 255
    assert grey_deviation(halves) == pytest.approx(127.5)
