"""`synthkit study`: releases and scores in one file, going on after a stop, mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from synthkit.errors import SynthkitError
from synthkit_eval.score_files import read_scores
from synthkit_eval.study.file import load_study
from synthkit_eval.study.results import Results
from synthkit_eval.study.tasks import Task, tasks_of
from tests.conftest import Cli
from tests.helpers.paths import ROOT
from tests.helpers.scores import ECD, RANDOM, put, score

STUDY = {
    "name": "tiny",
    "protocol": "digits-lt",
    "training_seeds": 1,
    "grids": [
        {
            "recipe": str(ROOT / "recipes/digits_lt_ecd.yaml"),
            "set": {
                "target_per_class": 10,
                "source.max_per_class": 8,
                "source.imbalance_factor": 4.0,
                "model.id": "builtin:flat-colours",
            },
            "vary": {"conditioning.method": ["dropout"]},
            "draws": 2,
            "scored": [
                {"set": {"epochs": 1, "network": "test_resnet", "network_args": {}, "features": "none"}}
            ],
        }
    ],
    "contrasts": [{"of": "dropout", "against": "real only"}],
}


# Written out twice: the reader takes no YAML anchors.
TWICE = [json.loads(json.dumps(STUDY["grids"][0])) for _ in range(2)]  # type: ignore[index]


def write(folder: Path, **changes: object) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def grid(**changes: object) -> dict[str, object]:
    return {"grids": [{**STUDY["grids"][0], **changes}]}  # type: ignore[index]


def test_a_study_makes_and_scores_every_release_and_goes_on(cli: Cli) -> None:
    study = write(cli.folder)
    result = cli("study", study)
    assert result.exit_code == 0, result.output
    assert "scores.parquet: 3 scores of 3 releases and sets of real images" in result.stdout
    found = read_scores(cli.folder / "scores.parquet")
    names = [one.score.name for one in found]
    assert names == [f"digits-lt-augcond-dropout-draw{draw}" for draw in (0, 1)] + ["real only"]
    releases = [one.score.release for one in found[:2] if one.score.release]
    assert releases[1].seed == releases[0].seed + 1
    # Draws are kin: they stand in one row.
    assert releases[0].kin == releases[1].kin
    text = cli("compare", "scores.parquet", "--contrasts", study).stdout
    assert "contrast fixed beforehand" in text
    assert "digits-lt-augcond-dropout  real only" in text
    assert " 2 × 1\n" in text
    # What is finished is not done again; what is damaged or missing counts as not finished.
    folder = cli.folder / ".synthkit/studies/tiny"
    kept = sorted((folder / "scores").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    assert cli("study", study).exit_code == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    kept[0].unlink()
    kept[1].write_bytes(kept[1].read_bytes()[:-100])
    results, tasks = Results(folder), tasks_of(load_study(study), study)
    assert sorted(results.has(task) for task in tasks) == [False] * 2 + [True]


def test_a_plan_lists_and_makes_nothing(cli: Cli) -> None:
    lines = cli("study", write(cli.folder), "--plan").stdout.splitlines()
    assert lines[0] == "digits-lt-augcond-dropout-draw0"
    assert lines[2].endswith(
        '(real images alone, by digits-lt epochs=1 features="none" network="test_resnet" network_args={})'
    )
    assert lines[3:] == ["2 releases, and 1 times real images alone: 3 scores of 3 trainings"]
    assert not (cli.folder / ".synthkit").exists()


def test_few_shot_draws_choose_other_shots_and_have_real_images_of_their_own(tmp_path: Path) -> None:
    few = {
        "set": {
            "source.part": "unseen",
            "source.shots": 2,
            "synthetic_per_class": 4,
            "target_per_class": None,
        },
        "vary": {"conditioning.method": ["random-image", "dropout"]},
        "draws": 3,
    }
    tasks = tasks_of(load_study(write(tmp_path, **grid(**few))), tmp_path / "study.yaml")
    assert [task.real_only for task in tasks] == [False] * 6 + [True] * 3
    assert sorted(word for task in tasks[:3] for word in task.changes if "trial" in word) == [
        f"source.trial={draw}" for draw in range(3)
    ]
    assert len({task.key for task in tasks}) == 9
    assert [Task.from_json(task.as_json()) for task in tasks] == tasks


def test_a_way_may_leave_real_images_alone_out(cli: Cli) -> None:
    ways = [{}, {"set": {"images.rotation": 0.0}, "real_only": False}]
    study = write(cli.folder, **grid(scored=ways))
    tasks = tasks_of(load_study(study), study)
    assert all(len(task.ways) == 2 for task in tasks if not task.real_only)
    assert all(not task.ways[0].changes for task in tasks if task.real_only)
    assert [task for task in tasks if task.real_only]
    assert [Task.from_json(task.as_json()) for task in tasks] == tasks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocl": "x"}, "protocl"),
        (grid(vary={"conditioning.methd": ["dropout"]}), "conditioning.methd"),
        (grid(vary={"conditioning.method": ["dropuot"]}), "study.yaml: grids: conditioning.method="),
        (grid(recipe="missing.yaml"), "there is no such recipe"),
        (grid(scored=[{"set": {"epoch": 3}}]), "study.yaml: grids: epoch=3"),
        ({"protocol": "digits-tl"}, "did you mean digits-lt?"),
        ({"contrasts": [{"of": "dropout"}]}, "against"),
        ({"contrasts": [{"of": "dropuot", "against": "random-image"}]}, "did you mean dropout?"),
        (
            {"contrasts": [{"of": "dropout", "by": "digits-lws", "against": "real only"}]},
            "scores nothing by the protocol digits-lws; its protocols are digits-lt",
        ),
        ({"contrasts": [{"of": "dropout", "against": "real only", "against_by": "x"}]}, "by: is missing"),
        ({"grids": TWICE}, "two releases would be called digits-lt-augcond-dropout-draw0"),
        (grid(vary={"conditioning.method": []}), "conditioning.method"),
        (grid(vary={"prompt": ["a " * 60]}), "too long for a release's name"),
        ({"name": "../x"}, "name"),
        ({"grids": []}, "grids"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(
    cli: Cli, changes: dict[str, object], message: str
) -> None:
    result = cli("study", write(cli.folder, **changes))
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (cli.folder / ".synthkit").exists()


def test_what_changes_a_score_changes_the_key_of_its_task(tmp_path: Path) -> None:
    protocol = (ROOT / "eval/protocols/digits-lt.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(protocol)

    def keys(device: str = "auto", **changes: object) -> set[str]:
        path = write(tmp_path, **{"protocol": "mine.yaml", **grid(scored=[{}]), **changes})
        return {task.key for task in tasks_of(load_study(path), path, device)}

    first = keys()
    assert keys() == first
    (tmp_path / "mine.yaml").write_text(protocol.replace("epochs: 10", "epochs: 11"))
    second = keys()
    (tmp_path / "mine.yaml").write_text(protocol.replace("builtin:tiny-unclip-digits", "none"))
    third = keys()
    (tmp_path / "mine.yaml").write_text(protocol)
    others = [second, third, keys("cuda:7"), keys(training_seeds=3)]
    assert len(first.union(*others)) == len(first) * 5
    # Another contrast or summary changes no score.
    assert keys(summary="x", contrasts=[]) == first


def test_real_images_alone_are_trained_once_where_the_protocol_fixes_the_steps(tmp_path: Path) -> None:
    path = ROOT / "eval/studies/few_shot_digits/study.yaml"
    tasks = tasks_of(load_study(path), path)
    # Four numbers of shots, five choices of each; 20 and 100 synthetic images a class need the same.
    assert sum(task.real_only for task in tasks) == 20
    assert len({task.name for task in tasks if not task.real_only}) == len(tasks) - 20


def test_an_error_of_a_release_names_it(cli: Cli) -> None:
    changes = {**STUDY["grids"][0]["set"], "source.max_per_class": 60, "target_per_class": 70}  # type: ignore[index]
    broken = {**changes, "model.id": "missing/folder"}
    one = {**STUDY["grids"][0], "set": broken, "vary": {}, "draws": 1}  # type: ignore[index]
    study = write(cli.folder, grids=[one], contrasts=[])
    result = cli("study", study)
    assert result.exit_code == 1
    assert "error: digits-lt-augcond-draw0: model.id: " in result.stderr
    assert result.stderr.rstrip().endswith("what is finished is kept")


def test_a_contrast_that_no_scores_have_is_refused(cli: Cli) -> None:
    for method, values in (("random-image", RANDOM), ("dropout", ECD)):
        put(cli.folder / "scores", method, score(values, method=method))
    study = write(cli.folder, contrasts=[{"of": "dropout", "against": "mixup"}])
    study.write_text(study.read_text().replace("mixup", "cutmix"))
    result = cli("compare", "scores", "--contrasts", study)
    assert result.exit_code == 1
    assert "contrasts: no scores compare dropout with cutmix; there are " in result.stderr


def test_the_file_of_scores_ends_in_parquet(cli: Cli) -> None:
    result = cli("study", write(cli.folder), "--out", "scores.json")
    assert "--out scores.json: end its name in .parquet" in result.stderr
    with pytest.raises(SynthkitError, match="no such study"):
        load_study(cli.folder / "nothing.yaml")
