"""From what a user names to score files: names, folders, files, and what is no score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers.scores import ECD, MIXUP, REAL, put, score, table


def test_a_release_is_named_by_its_name_or_its_folder(cli: Cli, scores: Path) -> None:
    put(scores, "digits-lt-mixup-few-shot", score(ECD, method="mixup", protocol_digest="1" * 64))
    put(scores, "digits-lt-mixup-dropout", score(ECD, method="mixup-dropout"))
    (cli.folder / "releases" / "digits-lt-mixup").mkdir(parents=True)
    (cli.folder / "releases" / "digits-lt-mixup" / "manifest.json").write_text("{}")
    for argument in ("digits-lt-mixup", "releases/digits-lt-mixup", "releases/digits-lt-mixup/"):
        rows = table(cli, argument)
        assert [(one["section"], one["name"]) for one in rows] == [
            *(("1", "real only"), ("1", "digits-lt-mixup"), ("2", "digits-lt-mixup")),
        ]


def test_scores_where_eval_writes_them(cli: Cli) -> None:
    for protocol in ("digits-lt", "few-shot"):
        folder, facts = cli.folder / "scores" / protocol, {"protocol": protocol, "protocol_digest": protocol}
        put(folder, "digits-lt-mixup", score(MIXUP, method="mixup", **facts))
        put(folder, "real-only-bbbbbbbb-900", score(REAL, **facts))
    expected = [(section, name) for section in ("1", "2") for name in ("real only", "digits-lt-mixup")]
    for argument in ("digits-lt-mixup", "scores"):
        assert [(one["section"], one["name"]) for one in table(cli, argument)] == expected
    assert "did you mean digits-lt-mixup?" in cli("compare", "digits-mixup").stderr


def test_a_score_given_twice_is_one(cli: Cli, scores: Path) -> None:
    assert len(table(cli, "scores", "digits-lt-ecd", scores / "digits-lt-ecd.json", "scores/real-only")) == 4


def test_guidance_2_stands_before_guidance_10(cli: Cli) -> None:
    for guidance in (10.0, 2.0):
        put(
            cli.folder / "s",
            f"g{guidance:g}",
            score(ECD, method="mixup", guidance=guidance, name=f"g{guidance:g}"),
        )
    assert [one["name"] for one in table(cli, "s")] == ["g2", "g10"]


def test_other_files_of_a_folder_are_passed_over(cli: Cli, scores: Path) -> None:
    (scores / "other.json").write_text('{"version": "1.0.0"}')
    (scores / "broken.json").write_text("{")
    (scores / "folder.json").mkdir()
    result = cli("compare", "scores")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_a_damaged_real_only_score_is_passed_over_and_told(cli: Cli, scores: Path) -> None:
    damaged = scores / "real-only" / "digits.json"
    damaged.write_text(damaged.read_text()[:500])
    result = cli("compare", "digits-lt-ecd")
    assert result.exit_code == 0
    assert result.stderr.startswith("passed over scores/real-only/digits.json: is not a score: ")


def test_a_name_without_a_score_says_what_makes_one(cli: Cli, scores: Path) -> None:
    for name, near in (
        ("digits-lt-mixpu", "did you mean digits-lt-mixup or digits-lt-random-image or digits-lt-ecd? Else "),
        ("flowers", ""),
    ):
        result = cli("compare", name)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: {name}: there is no score of it in scores; {near[:30]}")
        assert f"`synthkit eval releases/{name} --protocol …` makes one\n" in result.stderr
        assert result.stderr.count("\n") == 1


def broken(change: str) -> str:
    """A score file with something wrong."""
    data = json.loads(score(ECD, method="mixup", fid=2.0).model_dump_json())
    match change:
        case "truncated":
            return json.dumps(data)[:1000]
        case "no run":
            data["seeds"] = []
        case "accuracy":
            data["accuracy"]["overall"]["mean"] = 96.1
        case "run":
            data["seeds"][0]["overall"] = -1
        case "release":
            data["release"] = None
        case "fid":
            data["set_metrics"]["overall"]["fid"] = float("inf")
        case "images":
            data["release"]["images"] = 10**400
        case "operations":
            data["release"]["operations"] = 1e300
        case "key":
            data["extra"] = 1
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", "s.json: is not a score: Invalid JSON"),
        ("key", "s.json: is not a score: extra: Extra inputs are not permitted"),
        ("no run", "s.json: is damaged: it holds no training run; score the release again"),
        ("accuracy", "s.json: is damaged: it has an accuracy that is not between 0 and 1; score"),
        ("run", "s.json: is damaged: seed 0 has an accuracy that is not between 0 and 1; score"),
        ("release", "s.json: is damaged: trained on real and synthetic, without a release; score"),
        ("images", "s.json: is not a score: release.images: "),
        ("operations", "s.json: is not a score: release.operations: Input should be less than or equal to"),
        ("fid", "s.json: is not a score: set_metrics.overall.fid: Input should be a finite number"),
    ],
)
def test_a_damaged_file_is_one_line(cli: Cli, change: str, message: str) -> None:
    folder = cli.folder / "s"
    folder.mkdir()
    (folder / "s.json").write_text(broken(change))
    for argument in ("s/s.json", "s"):
        result = cli("compare", argument)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: s/{message}")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
