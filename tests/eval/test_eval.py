"""`synthkit eval` as its users see it: the score, what it can tell apart, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from synthkit.errors import SourceError
from synthkit.recipe.families import DigitsSourceConfig
from synthkit.release.manifest import read_manifest
from synthkit.sources import open_source
from synthkit.sources.base import load_image
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import KnownHashes
from synthkit_eval.protocol import load_protocol
from synthkit_eval.score_files import read_scored
from synthkit_eval.sections.batches import Batches
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages, training_batches
from synthkit_eval.training.orders import make_order
from synthkit_eval.training.synthetic_images import open_synthetic
from tests.conftest import Cli
from tests.helpers.scoring import QUICK, evaluate, flags, swap_images
from tests.helpers.warm import Warm

# Where it does not matter what a release shows: images of one colour, made without a network.
FLAT = "model.id=builtin:flat-colours"


@pytest.fixture(scope="module")
def score_file(small_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The score of the small release with two seeds, by the default names."""
    cli = Cli(tmp_path_factory.mktemp("scored"))
    result = cli(
        "eval", small_release, "--protocol", "digits-lt", "--seeds", "2", *flags(*QUICK), "--report", "a.json"
    )
    assert result.exit_code == 0, result.output
    assert "small, trained on real and synthetic images by digits-lt (test_resnet, 2 epochs" in result.output
    assert "KID" in result.output
    assert "note: fid of overall: needs 129 images of each kind in 128 dimensions" in result.output
    (found,) = cli.folder.glob("scores/digits-lt-*/small.json")
    return found


def test_a_score_says_everything(score_file: Path, small_release: Path) -> None:
    score, manifest = json.loads(score_file.read_text()), read_manifest(small_release)
    schema = json.loads(Cli(score_file.parent)("schema", "score").output)
    jsonschema.validate(score, schema)
    for model in [schema, *schema["$defs"].values()]:
        for name, field in model.get("properties", {}).items():
            of_kind = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or of_kind.get("description"), name
    assert (score["release"]["recipe_digest"], score["release"]["seal"]) == (
        manifest.recipe_digest,
        manifest.seal,
    )
    assert score["data"]["training_digest"] == manifest.source.digest
    assert (score["data"]["training_images"], score["data"]["evaluation_images"]) == (44, 300)
    assert score["steps"] == 2 * 3  # two epochs of ⌈76 / 32⌉ minibatches
    detail = read_scored(score_file).detail
    assert [len(history) for history in detail.histories] == [2, 2]
    # Every class has as many evaluation images, so both means are the same.
    overall = detail.right.mean(axis=1)
    assert [run["class_mean"] for run in score["seeds"]] == pytest.approx(overall)
    accuracy = score["accuracy"]["overall"]
    assert accuracy["mean"] == pytest.approx(np.mean(overall))
    # Student's t with one degree of freedom.
    assert accuracy["ci95"] == pytest.approx(12.7062 * np.std(overall, ddof=1) / 2**0.5, rel=1e-4)
    assert 0 <= accuracy["mean"] <= 1
    assert (len(detail.ids), detail.ids[0][:7], set(detail.labels)) == (300, "digits/", set(range(10)))
    assert [history[-1].overall for history in detail.histories] == pytest.approx(overall)
    few = [item.accuracy.mean for item in detail.classes if item.group == "few"]
    assert score["accuracy"]["few"]["mean"] == pytest.approx(np.mean(few))
    assert {"torch", "timm", "device", "threads", "git"} <= score["environment"].keys()
    assert score["set_metrics"]["overall"]["synthetic"] == 76


def test_metrics_for_dvc_are_numbers(score_file: Path) -> None:
    metrics = json.loads((score_file.parents[2] / "a.json").read_text())
    score = json.loads(score_file.read_text())
    assert metrics["accuracy"] == score["accuracy"]
    assert metrics["set_metrics"]["kid"] == score["set_metrics"]["overall"]["kid"]


def test_the_same_seed_gives_the_same_score_to_the_last_digit(
    small_release: Path, score_file: Path, tmp_path: Path
) -> None:
    again = evaluate(Cli(tmp_path), small_release, "--seeds", "1")
    first = json.loads(score_file.read_text())["seeds"][0]
    for run in (first, again["seeds"][0]):
        del run["seconds"]
    assert again["seeds"][0] == first


@pytest.mark.slow
def test_a_killed_scoring_goes_on_and_ends_the_same(small_release: Path, warm: Warm, tmp_path: Path) -> None:
    settings = ("network=test_resnet", "network_args={}", "epochs=6")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    undisturbed = evaluate(Cli(tmp_path / "a"), small_release, "--seeds", "1", settings=settings)
    words = [
        "--protocol",
        "digits-lt",
        "--features",
        "none",
        "--seeds",
        "1",
        "--device",
        "cpu",
        *flags(*settings),
    ]
    process = warm.start("eval", str(small_release), *words, cwd=tmp_path / "b")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("b/.synthkit/eval/*/seed-0.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (state,) = tmp_path.glob("b/.synthkit/eval/*/seed-0.safetensors")
    done = _mark_first_epoch(state)
    resumed = evaluate(Cli(tmp_path / "b"), small_release, "--seeds", "1", settings=settings)
    # What was done before the kill was taken as it was.
    assert 1 <= done < 6
    there, whole = (read_scored(tmp_path / name / "score.json").detail for name in ("b", "a"))
    assert there.histories[0][0].loss == 123.0
    assert there.histories[0][1:] == whole.histories[0][1:]
    assert np.array_equal(there.predictions, whole.predictions)
    for run in (undisturbed["seeds"][0], resumed["seeds"][0]):
        del run["seconds"]
    assert resumed["seeds"][0] == undisturbed["seeds"][0]
    assert not list(tmp_path.glob("b/.synthkit/eval/*/seed-0.safetensors"))


def _mark_first_epoch(state: Path) -> int:
    """Change what a checkpoint says of its first epoch; returns its epochs."""
    with safe_open(state, framework="pt") as file:
        history = json.loads(file.metadata()["history"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    history[0]["loss"] = 123.0
    save_file(tensors, state, {"history": json.dumps(history)})
    return len(history)


def test_more_seeds_train_only_the_new_ones(small_release: Path, cli: Cli) -> None:
    one = evaluate(cli, small_release, "--seeds", "1")
    runs = {path: path.stat().st_mtime_ns for path in cli.folder.glob(".synthkit/eval/*/*.json")}
    two = evaluate(cli, small_release, "--seeds", "2")
    assert two["seeds"][0] == one["seeds"][0]
    assert len(two["seeds"]) == 2
    assert all(path.stat().st_mtime_ns == before for path, before in runs.items())
    assert one["accuracy"]["overall"]["ci95"] is None


def test_real_only_is_trained_once_for_all_releases(small_release: Path, tmp_path: Path, cli: Cli) -> None:
    noise = swap_images(small_release, tmp_path / "noise", _noise)
    one = evaluate(cli, small_release, "--seeds", "1", "--real-only")
    (run,) = cli.folder.glob(".synthkit/eval/*/*.json")
    before = run.stat().st_mtime_ns
    other = evaluate(cli, noise, "--seeds", "1", "--real-only")
    assert (run.stat().st_mtime_ns, other["seeds"]) == (before, one["seeds"])
    assert one["trained_on"] == "real"
    assert one["release"] is None
    assert one["steps"] == 6
    assert {item.synthetic for item in read_scored(cli.folder / "score.json").detail.classes} == {0}


def _noise(number: int, label: int) -> Image.Image:
    pixels = np.random.Generator(np.random.Philox(number)).integers(256, size=(32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.slow
def test_the_harness_tells_good_from_bad(tmp_path: Path, cli: Cli) -> None:
    """Noise is no better than real images alone (within 3 points); real tail images clearly are (6)."""
    changes = ("source.max_per_class=12", "source.imbalance_factor=6.0", "source.groups.many_above=8")
    cheap = ("target_per_class=30", "output.shard_size=24", FLAT)
    built = cli("build", cli.recipe(), *flags(*changes, *cheap))
    assert built.exit_code == 0, built.output
    release = cli.folder / "releases" / "small"
    # Never trained on, never tested on: the part that only the embedded model has seen.
    unseen = open_source(DigitsSourceConfig(kind="digits", part="pretrain"))
    places = [np.flatnonzero(unseen.listing.labels == label) for label in range(10)]

    def real_tail(number: int, label: int) -> Image.Image:
        return load_image(unseen, int(places[label][number % len(places[label])]))

    settings = ("network=test_resnet", "network_args={}", "epochs=5")
    found = {
        name: evaluate(cli, images, "--seeds", "1", *words, settings=settings)["accuracy"]
        for name, images, words in (
            ("real only", release, ["--real-only"]),
            ("noise", swap_images(release, tmp_path / "noise", _noise), []),
            ("cheat", swap_images(release, tmp_path / "cheat", real_tail), []),
        )
    }
    overall = {name: accuracy["overall"]["mean"] for name, accuracy in found.items()}
    assert overall["noise"] <= overall["real only"] + 0.03, overall
    assert overall["cheat"] >= overall["real only"] + 0.06, overall
    assert found["cheat"]["few"]["mean"] > found["real only"]["few"]["mean"] + 0.1


def refused(cli: Cli, release: Path | str, *arguments: str, protocol: str = "digits-lt") -> str:
    result = cli("eval", release, "--protocol", protocol, "--features", "none", *arguments)
    assert result.exit_code == 1, result.output
    assert result.stderr.count("error:") == 1
    assert not list(cli.folder.glob("scores/**/*.json"))
    message: str = next(line for line in result.stderr.splitlines() if line.startswith("error:"))
    return message


def test_a_training_image_cannot_score(small_release: Path, cli: Cli) -> None:
    message = refused(cli, small_release, *flags("evaluation.part=train"))
    assert "leak: 44 of 44 evaluation images may have been learned from: digits/" in message
    assert "choose other images" in message


def test_a_copy_of_a_training_image_cannot_score(cli: Cli) -> None:
    for part, names in (("train", ("a", "b")), ("test", ("c", "d"))):
        for label in ("cat", "dog"):
            folder = cli.folder / part / label
            folder.mkdir(parents=True)
            for name in names:
                Image.new("RGB", (32, 32), (ord(name), len(label), ord(label[0]))).save(
                    folder / f"{name}.png"
                )
    changes = ("source.kind=folder", f"source.root={cli.folder / 'train'}", "target_per_class=4")
    built = cli("build", cli.recipe(), *flags(*changes, FLAT))
    assert built.exit_code == 0, built.output
    release = cli.folder / "releases" / "small"
    here = flags(f"source.root={cli.folder / 'train'}")
    test = flags(f"evaluation.root={cli.folder / 'test'}", *QUICK)
    shutil.copy(cli.folder / "test/cat/c.png", cli.folder / "test/cat/a.png")
    # One name in two folders is not one image.
    score = evaluate(cli, release, *here, *test, "--seeds", "1")
    assert f"evaluation.root={(cli.folder / 'test').name}" in score["protocol"]["changed"]
    assert str(cli.folder) not in (cli.folder / "score.json").read_text()
    shutil.rmtree(cli.folder / "scores", ignore_errors=True)
    shutil.copy(cli.folder / "train/dog/b.png", cli.folder / "test/dog/new.png")
    leak = refused(cli, release, *here, *test)
    assert "leak: 1 of 6 evaluation images may have been learned from" in leak
    assert "dog/new.png has the content of dog/b.png" in leak
    assert "--set 'evaluation.exclude=[dog/new.png]'" in leak
    without = flags("evaluation.exclude=[dog/new.png]")
    assert evaluate(cli, release, *here, *test, *without, "--seeds", "1")["data"]["evaluation_images"] == 5
    (cli.folder / "score.json").unlink()
    # Without the data, what to set is told.
    message = refused(cli, release, *flags(f"source.root={cli.folder / 'nowhere'}"), *test)
    assert "source.root: there is no folder" in message
    # The recipe in the release names no folder of this machine; another one has other images.
    assert "are not those that small was made from" in refused(
        cli, release, *flags(f"source.root={cli.folder / 'test'}"), *test
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "network=resnet81"], "network: timm has no 'resnet81'; did you mean resnet"),
        (["--set", "network=ResNet18"], "network: timm has no 'ResNet18'; did you mean resnet18,"),
        (["--set", "network_args={bogus: 1}"], "clear them with --set network_args={}"),
        (
            ["--set", "network=vit_tiny_patch16_224", "--set", "network_args={}"],
            "network: vit_tiny_patch16_224 does not take images of 32 pixels",
        ),
        (
            ["--set", "source.groups.few_below=9", "--set", "source.groups.many_above=9"],
            "the manifest says that",
        ),
        (["--set", "evaluation.subset=[zero, one]"], "small: has 10 classes, the evaluation images 2"),
        (
            ["--set", "evaluation.splt=test"],
            "evaluation.splt: Extra inputs are not permitted; the real images are of kind digits, which has",
        ),
        (["--set", "epoch=3"], "--set epoch=3: epoch: unknown key (did you mean epochs?)"),
        (["--set", "pretrained=none.safetensors"], "pretrained: there is no file none.safetensors"),
        (["--features", "dinov2"], "dinov2"),
        (["--set", "batches.mixing=coin"], "mixing: coin needs iterations"),
        (
            [*flags(*QUICK, "batches.size=65536"), "--set", "epochs=10000", "--seeds", "100"],
            "digits-lt: 100 training runs take about",
        ),
    ],
)
def test_what_cannot_work_is_told_before_training(
    small_release: Path, cli: Cli, arguments: list[str], told: str
) -> None:
    assert told in refused(cli, small_release, *arguments)


def test_training_that_diverges_says_what_to_lower(small_release: Path, cli: Cli) -> None:
    changes = flags(*QUICK, "optimizer.learning_rate=100", "optimizer.weight_decay=1", "epochs=3")
    told = refused(cli, small_release, *changes, "--seeds", "1")
    assert "seed 0: training diverged in epoch " in told
    assert "which is 100, for example with --set optimizer.learning_rate=10" in told


def test_a_protocol_of_no_name(small_release: Path, cli: Cli) -> None:
    message = refused(cli, small_release, protocol="digits-tl")
    assert "--protocol digits-tl: there is none of this name; did you mean digits-lt? it is one of" in message
    result = cli("eval", small_release)
    assert result.exit_code == 1
    names = "cifar10-lt | digits-few-shot | digits-few-shot-discl | digits-few-shot-randaugment | digits-lt"
    assert f"small: say how to score it: --protocol {names}" in result.stderr


def test_a_damaged_release_is_not_scored(copy: Path, cli: Cli) -> None:
    shard = sorted(copy.glob("data/*.tar"))[0]
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)
    message = refused(cli, copy)
    assert f"data/{shard.name}" in message
    assert "it is not scored: build or pull it again" in message


def test_a_preview_is_not_scored(cli: Cli) -> None:
    assert cli("build", cli.recipe(), "--limit", "8", *flags(FLAT)).exit_code == 0
    message = refused(cli, cli.folder / "releases" / "small-preview")
    assert "is a preview, 8 of 76 images" in message


@pytest.mark.slow
def test_two_processes_share_a_training(small_release: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "-m",
        "synthkit",
        "eval",
    ]
    words = ["--protocol", "digits-lt", "--seeds", "1", "--device", "cpu", "--out", "score.json"]
    ran = subprocess.run(
        [*command, str(small_release), *words, *flags(*QUICK)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["environment"]["processes"] == "2"
    assert score["steps"] == 2 * 2  # the incomplete minibatch of an epoch is left out
    assert score["set_metrics"]["overall"]["synthetic"] == 76
    assert ran.stdout.count("Score: score.json") == 1
    refused = subprocess.run(
        [*command, str(small_release), *words, *flags("batches.size=2")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "error: batches.size: 2 cannot be shared evenly by 2 processes" in refused.stderr


def test_a_file_that_is_damaged_in_training_is_told_in_one_line(small_release: Path, tmp_path: Path) -> None:
    """Also where worker processes read: the error crosses over without its traceback."""
    copied = Path(shutil.copytree(small_release, tmp_path / "copy"))
    images = open_synthetic(copied, read_manifest(copied))
    tar = images.paths[0]
    content = bytearray(tar.read_bytes())
    start = int(images.offsets[0])
    content[start : start + 200] = bytes(200)
    tar.write_bytes(content)
    source = open_source(DigitsSourceConfig(kind="digits", max_per_class=8))
    real = read_all(source, on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)
    loaded = TrainingImages(real, images, load_protocol("digits-lt").images)
    order = make_order(Batches(size=32), len(real.listing), 76, 0, 0, World())
    with pytest.raises(SourceError, match=r"^000000000\.png: cannot be read: .*run synthkit verify --deep$"):
        list(training_batches(loaded, order, epoch=0, seed=0, world=World(), workers=1))
