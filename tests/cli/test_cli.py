"""The command line itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synthkit.version import __version__
from tests.conftest import SMALL, Cli
from tests.helpers import miniatures
from tests.helpers.paths import ROOT
from tests.helpers.warm import Warm

COMMANDS = ("build", "plan", "verify", "init", "schema", "doctor")


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "synthkit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").output == f"synthkit {__version__}\n"
    text = cli("--help").output
    assert all(command in text for command in COMMANDS)
    assert "synthkit init digits-demo --from digits_lt_ecd" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(cli: Cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"synthkit {command}" in result.output


def loaded(folder: Path, libraries: set[str], *arguments: str, **environment: str) -> list[str]:
    """Which of some libraries a command loads."""
    script = (
        "import sys\nfrom synthkit.cli import app\n"
        f"try: app({list(arguments)!r}, prog_name='synthkit')\nexcept SystemExit: pass\n"
        f"print('\\nLOADED', *sorted({libraries} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    return done.stdout.splitlines()[-1].split()[1:]


HEAVY = {"torch", "diffusers", "transformers", "datasets"}
# What a command needs to work, but not to say what it does.
FOR_WORK = HEAVY | {
    *("numpy", "PIL", "yaml", "msgspec", "pyarrow", "jinja2", "huggingface_hub"),
    *("scipy", "sklearn", "webdataset", "dvc", "fsspec", "matplotlib", "synthkit_eval"),
}


@pytest.mark.parametrize("command", [["schema"], ["plan", str(ROOT / "recipes/digits_lt_ecd.yaml")]])
def test_light_commands_do_not_load_heavy_libraries(tmp_path: Path, command: list[str]) -> None:
    assert loaded(tmp_path, {*HEAVY, "pydantic"}, *command) == ["pydantic"]


@pytest.mark.parametrize("command", [["--help"], ["build", "--help"], ["eval", "--help"], ["--version"]])
def test_help_loads_no_library_that_does_the_work(tmp_path: Path, command: list[str]) -> None:
    # typer checks values with pydantic; the list of commands needs none.
    pydantic = [] if command == ["--help"] else ["pydantic"]
    assert loaded(tmp_path, {*FOR_WORK, "typer", "pydantic"}, *command) == [*pydantic, "typer"]


@pytest.mark.parametrize("typed", ["synthkit bu", "synthkit build rec", "synthkit build --device c"])
def test_completion_loads_no_library_that_does_the_work(tmp_path: Path, typed: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    found = loaded(tmp_path, {*FOR_WORK, "typer"}, _SYNTHKIT_COMPLETE="complete_bash", **words)
    assert found == ["typer"]


def test_plan_for_machines(cli: Cli) -> None:
    plan = json.loads(cli("plan", ROOT / "recipes/digits_lt_ecd.yaml", "--json").output)
    assert plan["classes"][9] == {"label": 9, "name": "nine", "group": "few", "real": 5, "synthetic": 95}
    assert plan["groups"]["many"] == {"classes": 3, "real": 133, "synthetic": 167}
    assert plan["totals"] == {"real": 224, "synthetic": 776, "new": 776, "shards": 7}
    assert plan["estimate"]["seconds"] is None


def test_plan_for_people(cli: Cli) -> None:
    text = cli("plan", cli.recipe()).output
    assert "small 1.2.3: embed-cutmix-dropout, guidance 2.0" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["9", "nine", "few", "2", "10", "12"] in rows
    assert ["all", "10", "44", "76", "120"] in rows
    assert "76 images in 4 shard(s), about " in text
    assert "time unknown until a first build" in text


def test_plan_tells_what_an_image_takes_and_cheaper_ways(cli: Cli) -> None:
    changes = ("--set", "sampler.steps=30", "--set", "sampler.guidance_scale=2")
    plan = cli("plan", cli.recipe(), *changes).output
    assert "Sampling an image: 31 evaluations of 62 rows, half of them for guidance; 7." in plan
    rows = [line.split() for line in plan.splitlines() if line.strip().startswith(("sampler.", "'sampler."))]
    shares = {" ".join(row[:-3]): float(row[-1]) for row in rows}
    assert 0.3 < shares["sampler.scheduler=dpm-solver++ sampler.steps=10"] < 0.4
    assert 0.6 < shares["sampler.cache.every=2"] < 0.8
    assert 0.7 < shares["'sampler.guidance_interval=[0.2,0.7]'"] < 0.8
    # A small model reaches no GPU's rate; the images of a model of 32 pixels cannot be smaller.
    assert "$" not in plan
    assert "sampler.size" not in plan


def test_plan_of_one_step_and_of_a_small_sum_reads_well(cli: Cli) -> None:
    plan = cli("plan", cli.recipe(), "--set", "sampler.steps=1", "--set", "sampler.guidance_scale=1").output
    assert "Sampling an image: 1 evaluation; " in plan
    model = ("--set", "model.id=stable-diffusion-v1-5/stable-diffusion-v1-5")
    small = cli("plan", cli.recipe(), *model)
    assert small.exit_code == 0, small.output
    assert re.search(r"takes \d+ s, less than a cent", " ".join(small.output.split()))


@pytest.mark.parametrize("price", ["-1", "much", "inf", "1e308"])
def test_a_price_that_is_none(cli: Cli, price: str) -> None:
    assert cli("plan", cli.recipe(), "--price", price).exit_code == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0", "must be at least 1, is '0'"),
        ("1001", "must be at most 1000, is '1001'"),
        ("many", "must be a whole number, is 'many'"),
    ],
)
def test_a_number_that_does_not_fit_is_told_in_words(cli: Cli, value: str, told: str) -> None:
    result = cli("eval", "releases/any", "--seeds", value)
    assert result.exit_code == 2
    assert f"Invalid value for '--seeds': {told}" in result.output


def test_after_a_build_plan_knows_its_rate(cli: Cli) -> None:
    recipe = cli.recipe()
    cli("build", recipe, "--limit", "16")
    priced = json.loads(cli("plan", recipe, "--price", "7.2", "--json").output)["sampling"]
    assert priced["dollars"] == pytest.approx(priced["seconds"] * 0.002, abs=0.006)
    assert not priced["computed"]
    half = next(one for one in priced["cheaper"] if one["set"] == ["sampler.cache.every=2"])
    assert half["seconds"] < priced["seconds"]
    result = json.loads(cli("plan", recipe, "--json").output)
    assert result["estimate"]["seconds"] > 0
    assert 1000 < result["estimate"]["bytes"] / 76 < 10_000
    assert "at the last build's rate" in cli("plan", recipe).output
    other = json.loads(cli("plan", recipe, "--set", "sampler.steps=50", "--json").output)
    assert other["estimate"]["seconds"] is None


def test_doctor(cli: Cli) -> None:
    result = cli("doctor")
    assert result.exit_code == 0, result.output
    for word in ("synthkit", "python", "torch", "cpu", "write access", "disk", "embedded model"):
        assert word in result.output
    (cli.folder / "file").write_text("")
    for out in ("/proc/nowhere", "file"):
        blocked = cli("doctor", "--out", out)
        assert blocked.exit_code == 1
        assert f"x write access     {out}: no" in blocked.output
        assert "A build would stop" in blocked.output


def test_a_class_name_is_text_and_no_markup(cli: Cli) -> None:
    (cli.folder / "list.txt").write_text("a.jpg 0\nb.jpg 1\n")
    changes = (
        "source.kind=listing",
        "source.list=list.txt",
        "source.root=.",
        "source.names=['[/x]', '[red]b']",
    )
    result = cli("plan", cli.recipe(), *(word for change in changes for word in ("--set", change)))
    assert result.exit_code == 0, result.output
    assert "[/x]" in result.output
    assert "[red]b" in result.output


def examined(cli: Cli, *arguments: str | Path) -> tuple[int, dict[str, str]]:
    """The lines of `doctor` by what they are about."""
    result = cli("doctor", *arguments)
    lines = [line for line in result.output.splitlines() if len(line) > 20]
    return result.exit_code, {line[2:19].strip(): line[:2].strip() + line[19:] for line in lines}


def test_doctor_examines_a_recipe(cli: Cli) -> None:
    code, found = examined(cli, cli.recipe())
    assert code == 0
    assert found["real images"] == "44 of 10 classes (2 many, 4 medium, 4 few), 2 to 8 a class"
    assert found["all there"] == "yes"
    assert found["decoded"] == "32 of them: 32 wide, 32 high"
    assert found["to make"].startswith("76 images, about 436 kB; ")
    assert found["model"] == "builtin:tiny-unclip-digits: here, 6.9 MB"
    assert found["sha256"].startswith("2aaffb3ae43b8ff0")
    assert not (cli.folder / "releases").exists()
    assert not (cli.folder / ".synthkit").exists()


def test_doctor_proves_that_no_shot_scores(cli: Cli) -> None:
    import shutil

    root = miniatures.caltech101(cli.folder / "caltech", per_class=6)
    recipe = ROOT / "recipes/caltech101.yaml"
    tiny = ("--set", "model.id=builtin:tiny-unclip-digits", "--set", "model.dtype=float32")
    changes = (*tiny, "--set", f"source.root={root}", "--set", "source.shots=3")
    code, found = examined(cli, recipe, *changes)
    assert code == 0, found
    assert found["held out"] == "15 images to score with, none of them in the pool"
    for name in ("Faces", "Faces_easy", "accordion"):
        for number in range(2, 7):
            shutil.copy(root / name / "image_0001.jpg", root / name / f"image_{number:04d}.jpg")
    code, found = examined(cli, recipe, *changes)
    assert code == 1
    assert found["held out"].startswith("x9 of 15 images to score with are in the pool: Faces/image_")
    assert "has the content of Faces/image_" in found["held out"]
    assert "leave one out with source.exclude" in found["held out"]


def test_doctor_says_what_is_missing_and_where_to_get_it(cli: Cli) -> None:
    _, found = examined(cli, ROOT / "recipes/voc.yaml")
    assert found["real images"].startswith(
        "xsource.root: data/VOCdevkit/VOC2012 has no ImageSets/Segmentation"
    )
    assert "Get it from: VOCtrainval_11-May-2012.tar" in found["real images"]
    miniatures.imagenet(cli.folder / "in", [0], 4, cli.folder / "list.txt")
    (cli.folder / "in/train/n01440764/n01440764_2.JPEG").unlink()
    (cli.folder / "in/train/n01440764/n01440764_3.JPEG").write_bytes(b"GIF89a")
    changes = ("source.list=list.txt", "source.root=in", "source.subset=[0]", "model.id=gone/model")
    code, found = examined(
        cli, ROOT / "recipes/imagenet_lt_ecd.yaml", *(word for c in changes for word in ("--set", c))
    )
    assert code == 1
    assert found["all there"].startswith(
        "xno: 1 of 4 are missing: in/train/n01440764/n01440764_2.JPEG; check"
    )
    assert found["decoded"].startswith("x2 of 4 cannot be: ")
    assert found["model"].startswith(
        "xmodel.id: gone/model is not on this machine and the Hub cannot be reached"
    )


def test_doctor_does_not_stop_at_what_a_build_would_skip(cli: Cli) -> None:
    root = miniatures.caltech101(cli.folder / "caltech", per_class=3)
    (root / "Faces/image_0002.jpg").write_bytes(b"GIF89a")
    changes = ("source.kind=folder", f"source.root={root}", "source.on_error=skip")
    code, found = examined(cli, cli.recipe(), *(word for change in changes for word in ("--set", change)))
    assert code == 0
    assert found["decoded"].startswith("!1 of 15 cannot be: ")


def test_progress_is_plain_lines_off_a_terminal(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(SMALL)
    done = warm.start("build", "r.yaml", cwd=tmp_path)
    told, progress = done.communicate()
    assert done.returncode == 0, progress
    assert "generating: 76 of 76 images, " in progress
    assert "images/s, 0 s left" in progress
    assert "\x1b" not in progress
    assert told.startswith("releases/small: 76 images in 4 shard(s), 76 of them made now; ")


def test_a_users_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = run("build", "nothing.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: nothing.yaml: there is no such recipe\n"


def test_a_pipe_that_closes_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m synthkit schema | head -1"
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


def test_a_folder_called_synthkit_is_not_taken_for_the_package(tmp_path: Path) -> None:
    (tmp_path / "synthkit").mkdir()  # as where the clone lies
    command = [sys.executable, "-c", "import synthkit; print(synthkit.__version__)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{__version__}\n", done.stderr
