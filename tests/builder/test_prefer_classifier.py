"""`filters.prefer` with a classifier that is a file, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from synthkit.builder.classifier import Classifier
from synthkit.release.candidates import candidate
from tests.conftest import FLAT, Cli
from tests.helpers.forging import image_files

FEW = (*FLAT, "--set", "source.subset=[zero, one, two]", "--set", "sampler.batch_size=4")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a timm network of three classes, drawn at random."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    path = tmp_path_factory.mktemp("secret") / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path


def asked(weights: Path, more: str = "") -> str:
    return f"{{network: test_resnet, checkpoint: {weights}{more}}}"


def build(cli: Cli, filters: str, *more: str) -> Any:
    return cli("build", cli.recipe(), *FEW, "--set", f"filters={filters}", *more)


def test_the_network_chooses_and_is_asked_once_for_both_filters(
    cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, classify = [0], Classifier.classify

    def counted(self: Classifier, images: Any) -> Any:
        seen[0] += len(images)
        return classify(self, images)

    monkeypatch.setattr(Classifier, "classify", counted)
    gate = f"label_agreement: {{max_rank: 3, classifier: {asked(weights)}}}"
    built = build(cli, f"{{prefer: {{draws: 3, classifier: {asked(weights)}}}, {gate}}}")
    assert built.exit_code == 0, built.output
    release = cli.folder / "releases" / "small"
    assert cli("verify", release).exit_code == 0
    assert "secret" not in (release / "recipe.yaml").read_text()
    assert "checkpoint: weights.safetensors" in (release / "recipe.yaml").read_text()
    rows: list[dict[str, Any]] = pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
    assert seen[0] == 3 * len(rows)
    for row, logits in zip(rows, logits_of(release, weights), strict=True):
        kept = next(item for item in row["candidates"] if item["attempt"] == row["attempt"])
        again = candidate(row["attempt"], row["label"], logits)
        assert (kept["rank"], kept["log_odds"]) == (again.rank, pytest.approx(again.log_odds, abs=1e-4))
        rank, probability = row["scores"]
        assert rank["value"] == kept["rank"]
        assert probability["value"] == pytest.approx(again.probability, abs=1e-5)
    assert len({row["attempt"] for row in rows}) > 1


def logits_of(release: Path, weights: Path) -> np.ndarray[Any, Any]:
    """What the network says of the image files, by timm alone."""
    import timm
    import torch
    from safetensors.torch import load_file

    network: Any = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    network.load_state_dict(load_file(weights))
    prepared = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    files = sorted(image_files(release).items())
    pixels = [prepared(Image.open(io.BytesIO(raw))) for _, raw in files]
    with torch.no_grad():
        found: np.ndarray[Any, Any] = network.eval()(torch.stack(pixels)).numpy()
    return found


def test_a_classifier_that_cannot_choose(cli: Cli, weights: Path) -> None:
    where = "filters.prefer.classifier"
    for classifier, told in (
        (asked(weights, f", sha256: {'a' * 64}"), f"{where}: {weights}: has sha256 "),
        (
            "{network: resnet18, checkpoint: gone.safetensors}",
            f"{where}.checkpoint: gone.safetensors: No such",
        ),
        (asked(weights).replace("test_resnet", "resnet18"), "is not a resnet18 of 3 classes: "),
    ):
        result = build(cli, f"{{prefer: {{draws: 2, classifier: {classifier}}}}}")
        assert (result.exit_code, result.output.count("error:")) == (1, 1), result.output
        assert told in result.output
    others = build(
        cli, f"{{prefer: {{draws: 2, classifier: {asked(weights)}}}}}", "--set", "source.subset=null"
    )
    assert others.exit_code == 1
    assert "is not a test_resnet of 10 classes: " in others.output


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("filters={prefer: {draws: 1}}", "filters.prefer.draws: must be at least 2, is 1"),
        ("filters={prefer: {draws: 101}}", "filters.prefer.draws: must be at most 100, is 101"),
        ("filters={prefer: {}}", "filters.prefer.draws: is missing"),
        ("filters={prefer: {draws: 2, by: entropy}}", "filters.prefer.by: unknown key"),
        (
            "filters={prefer: {draws: 2}, near_duplicate: {}}",
            "prefer cannot be given together with near_duplic",
        ),
        ("filters={prefer: {draws: 2}} source.subset=[zero]", "filters.prefer: 'zero' is the only class"),
    ],
)
def test_what_is_refused(cli: Cli, changes: str, told: str) -> None:
    first, _, second = changes.partition(" source.")
    more = ("--set", f"source.{second}") if second else ()
    result = cli("plan", cli.recipe(), "--set", first, *more)
    assert result.exit_code == 1
    assert told in " ".join(result.output.split()), result.output
