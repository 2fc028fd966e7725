"""`synthkit compare`, as its users see it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scipy import stats

from synthkit.errors import ScoreError
from synthkit_eval.comparison.differences import compare
from synthkit_eval.comparison.find import find_scores
from synthkit_eval.comparison.published import load_tables, read_table
from synthkit_eval.comparison.rendering import as_rich
from synthkit_eval.comparison.table import pages
from tests.conftest import Cli
from tests.helpers.paths import ROOT
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, imagenet, put, score


@pytest.fixture
def scores(cli: Cli) -> Path:
    """A folder with real only and three methods."""
    folder = cli.folder / "scores"
    put(folder / "real-only", "digits", score(REAL))
    put(folder, "digits-lt-random-image", score(RANDOM, method="random-image", fid=20.181))
    put(folder, "digits-lt-mixup", score(MIXUP, method="mixup", fid=24.115))
    put(folder, "digits-lt-ecd", score(ECD, method="embed-cutmix-dropout", name="digits-lt-ecd", fid=20.433))
    return folder


def table(cli: Cli, *arguments: str | Path) -> list[dict[str, str]]:
    """What `--format csv` prints."""
    result = cli("compare", *arguments, "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def row(rows: list[dict[str, str]], name: str) -> dict[str, str]:
    (found,) = (row for row in rows if row["name"] == name)
    return found


def line(text: str, start: str, after: str = "") -> str:
    """The line that starts with a word, after another line does."""
    return next(one for one in text[text.index(after) :].splitlines() if one.startswith(start))


# What is compared


def test_the_table_of_a_folder(cli: Cli, scores: Path) -> None:
    text = cli("compare", "scores").stdout
    assert text.startswith("digits-lt version 1: 180 real training images, 360 evaluation images\n")
    assert [one.split()[0] for one in text.splitlines()[4:8]] == [
        "real",
        "digits-lt-random-image",
        "digits-lt-ecd",
        "digits-lt-mixup",
    ]
    spread = 100 * stats.sem(ECD) * stats.t.ppf(0.975, 3)
    assert line(text, "digits-lt-ecd").split() == [
        *("digits-lt-ecd", "embed-cutmix-dropout", "2"),
        *(cell for mean in ("96.1", "98.1", "96.1", "93.1") for cell in (mean, f"±{spread:.1f}")),
        *("20.43", "4"),
    ]
    assert "Feature space of FID: builtin:tiny-unclip-digits." in text
    assert "would move overall by about ±1.2" in text


def test_a_difference_is_welchs_over_the_epochs_that_count(cli: Cli, scores: Path) -> None:
    found = row(table(cli, "digits-lt-ecd", "digits-lt-random-image"), "digits-lt-ecd")
    interval = stats.ttest_ind(ECD, RANDOM, equal_var=False).confidence_interval(0.95)
    assert float(found["to_random_image"]) == pytest.approx(2.85)
    assert float(found["to_random_image_low"]) == pytest.approx(100 * interval.low, abs=1e-5)
    assert float(found["to_random_image_high"]) == pytest.approx(100 * interval.high, abs=1e-5)
    # By hand: 0.961 - 0.9025 = 0.0585; s²/n of both sides.
    assert float(found["to_real_only"]) == pytest.approx(5.85)
    a, b = 2e-5 / 3 / 4, 1.25e-4 / 3 / 4
    freedom = (a + b) ** 2 / (a**2 / 3 + b**2 / 3)
    half = 100 * stats.t.ppf(0.975, freedom) * (a + b) ** 0.5
    assert float(found["to_real_only_low"]) == pytest.approx(5.85 - half, abs=1e-5)
    assert float(found["to_real_only_high"]) == pytest.approx(5.85 + half, abs=1e-5)
    shown = line(cli("compare", "scores").stdout, "digits-lt-ecd", after="difference in points")
    assert shown.split()[1:5] == ["+5.85", f"{5.85 - half:+.2f}", "to", f"{5.85 + half:+.2f}"]


def test_of_a_difference_its_own_interval_is_told_and_nothing_else(cli: Cli, scores: Path) -> None:
    text = cli("compare", "scores").stdout
    head = line(text, "difference in points")
    assert re.split(" {2,}", head) == [
        *(
            "difference in points",
            "to real only",
            "its 95 % interval",
            "to random-image",
            "its 95 % interval",
        ),
    ]
    for word in ("overlap", "apart"):
        assert word not in text
    assert "one that holds 0 leaves open which of the two is better" in text
    rows = table(cli, "scores")
    assert [key for key in rows[0] if key.startswith("to_real_only")] == [
        *("to_real_only", "to_real_only_baseline", "to_real_only_low", "to_real_only_high"),
    ]
    assert row(rows, "digits-lt-random-image")["to_random_image"] == ""
    assert row(rows, "real only")["to_real_only"] == ""


def test_one_seed_has_no_interval_and_equal_ones_have_no_width(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "real", score([0.9, 0.9, 0.9]))
    put(folder, "a", score([0.95], method="mixup"))
    put(folder, "b", score([0.93, 0.93], method="cutmix"))
    rows = table(cli, "scores")
    one, equal = row(rows, "digits-lt-mixup"), row(rows, "digits-lt-cutmix")
    assert (one["overall"], one["overall_ci95"]) == ("95.0", "")
    assert (one["to_real_only"], one["to_real_only_low"], one["to_real_only_high"]) == ("5.0", "", "")
    assert (equal["to_real_only_low"], equal["to_real_only_high"]) == ("3.0", "3.0")
    assert line(cli("compare", "scores").stdout, "digits-lt-mixup", after="difference").split()[1:] == [
        *("+5.00", "–"),
    ]


def test_real_only_is_found_beside_a_score_when_it_was_trained_alike(cli: Cli) -> None:
    folder = cli.folder / "mine"
    given = put(folder, "ecd", score(ECD, method="dropout"))
    put(folder, "release", score(RANDOM, method="random-image"))
    for stem, other in (
        ("steps", score(REAL, steps=901)),
        ("protocol", score(REAL, protocol_digest="f" * 64)),
        ("training", score(REAL, training="f" * 64)),
        ("evaluation", score(REAL, evaluation="f" * 64)),
    ):
        put(folder, stem, other)
    alone = cli("compare", given)
    assert "real only" not in alone.stdout
    assert (
        "No real-only score of 900 steps lies beside digits-lt-dropout: nothing to subtract." in alone.stdout
    )
    command = "`synthkit eval releases/digits-lt-dropout --protocol digits-lt --real-only` makes one."
    assert command in alone.stdout
    for place in (folder / "real-only", folder):
        found = put(place, "right", score(REAL))
        rows = table(cli, given)
        assert [one["name"] for one in rows] == ["real only", "digits-lt-dropout"]
        assert float(row(rows, "digits-lt-dropout")["to_real_only"]) == pytest.approx(5.85)
        found.unlink()


def test_a_real_only_score_of_other_steps_is_shown_and_not_subtracted(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "a", score(ECD, method="dropout"))
    put(folder, "b", score(REAL, steps=1800))
    put(folder, "c", score(REAL, steps=450))
    rows = table(cli, "scores")
    assert [one["name"] for one in rows] == [
        "real only, 1,800 steps",
        "real only, 450 steps",
        "digits-lt-dropout",
    ]
    assert row(rows, "digits-lt-dropout")["to_real_only"] == ""


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (
            {"protocol": "few-shot", "protocol_digest": "1" * 64},
            "another protocol (few-shot version 1, not digits-lt version 1)",
        ),
        (
            {"protocol_digest": "1" * 64, "settings": {"epochs": 5, "optimizer": {"name": "sgd"}}},
            "another protocol (epochs 5, not 20; optimizer.name sgd, not None)",
        ),
        ({"training": "1" * 64}, "other real training images"),
        ({"evaluation": "1" * 64}, "other evaluation images"),
    ],
)
def test_scores_that_do_not_compare_are_never_subtracted(
    cli: Cli, scores: Path, other: dict[str, Any], why: str
) -> None:
    put(cli.folder, "other", score(ECD, method="cutmix", **other))
    result = cli("compare", "scores", "other.json")
    assert "1. digits-lt version 1" in result.stdout
    assert f"Does not compare with section 1: {why}." in result.stdout
    rows = table(cli, "scores", "other.json")
    apart = row(rows, "digits-lt-cutmix")
    assert (apart["section"], apart["to_real_only"], apart["to_random_image"]) == ("2", "", "")
    assert {one["section"] for one in rows if one is not apart} == {"1"}


def test_the_random_image_of_the_same_guidance_counts(cli: Cli) -> None:
    folder = cli.folder / "scores"
    for guidance, values in ((2.0, RANDOM), (10.0, MIXUP)):
        made = score(values, method="random-image", guidance=guidance, name=f"random-{guidance:g}")
        put(folder, f"random-{guidance:g}", made)
    put(folder, "ten", score(ECD, method="dropout", guidance=10.0, name="ten"))
    put(folder, "seven", score(ECD, method="dropout", guidance=7.0, images=500, name="seven"))
    rows = table(cli, "scores")
    assert row(rows, "ten")["to_random_image_baseline"] == "random-10"
    assert row(rows, "seven")["to_random_image_baseline"] == "random-10"
    text = cli("compare", "scores").stdout
    assert "Compared with seven, random-10 has guidance 10, not 7, 1,000 images, not 500." in text
    assert "Compared with ten" not in text


def test_two_versions_of_a_release_have_two_names(cli: Cli) -> None:
    for version in ("1.0.0", "1.1.0"):
        put(cli.folder / "s", version, score(ECD, method="dropout", version=version))
    for copy in ("x", "y"):
        put(cli.folder / "s", copy, score(ECD, method="mixup"))
    names = [one["name"] for one in table(cli, "s")]
    assert names[:2] == ["digits-lt-dropout 1.0.0", "digits-lt-dropout 1.1.0"]
    assert names[2:] == ["digits-lt-mixup 1.0.0 (s/x.json)", "digits-lt-mixup 1.0.0 (s/y.json)"]


# What an argument names


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


# Published numbers

PUBLISHED = {
    # (place, name, data, guidance, shots): overall, many, medium, few, FID
    ("Table 1", "random-image", "imagenet-lt-90", 10.0, None): (63.0, 72.4, 61.4, 55.3, 20.181),
    ("Table 1", "cutmix", "imagenet-lt-90", 10.0, None): (63.8, 69.5, 63.0, 59.0, 26.623),
    ("Table 1", "embed-mixup-dropout", "imagenet-lt-90", 10.0, None): (66.2, 72.2, 63.7, 62.7, 24.558),
    ("Table 1", "embed-cutmix-dropout", "imagenet-lt-90", 10.0, None): (66.9, 72.0, 65.2, 63.5, 20.433),
    ("Table 2", "Mix-Up GLMC", "imagenet-lt", None, None): (57.21, 64.76, 55.67, 42.19, None),
    ("Table 2", "Fill-Up", "imagenet-lt", None, None): (63.7, 69.0, 62.3, 54.6, None),
    ("Table 2", "LDM (txt)", "imagenet-lt", None, None): (57.9, 64.8, 54.6, 50.3, None),
    ("Table 2", "embed-cutmix-dropout", "imagenet-lt", 2.0, None): (59.6, 66.3, 56.6, 51.1, None),
    ("Table 3", "embed-cutmix-dropout", "imagenet-lt-90", 2.0, None): (73.3, 75.5, 72.0, 72.3, None),
    ("Table 3", "embed-cutmix-dropout", "imagenet-lt-90", 7.0, None): (70.5, 74.5, 68.5, 68.5, None),
    ("Figure 5", "DA-Fusion", "coco", None, 1): (62.5, None, None, None, None),
    ("Figure 5", "RandAugment", "coco", None, 16): (77.5, None, None, None, None),
    ("Figure 5", "Real Guidance", "voc", None, 2): (69.6, None, None, None, None),
    ("Figure 5", "DA-Fusion", "caltech101", None, 4): (92.2, None, None, None, None),
    ("Figure 5", "RandAugment", "flowers102", None, 8): (83.3, None, None, None, None),
}


def test_published_numbers_are_those_of_the_paper() -> None:
    rows = {
        (table.place, row.name, table.data, row.guidance_scale, row.shots): (
            *(row.overall, row.many, row.medium, row.few, row.fid),
        )
        for table in load_tables()
        for row in table.scores
    }
    assert {key: rows[key] for key in PUBLISHED} == PUBLISHED
    places = [table.place for table in load_tables() for _ in table.scores]
    assert {place: places.count(place) for place in places} == {
        **{"Table 1": 10, "Table 2": 10, "Table 3": 4, "Figure 5": 60},
    }
    # Nearly all of them are of balanced tests in three groups; a slip of the pen would stand out.
    for printed in rows.values():
        overall, *groups = printed[:4]
        assert None in groups or min(groups) < overall < max(groups)


def test_published_rows_stand_beside_a_score_of_their_protocol(cli: Cli) -> None:
    put(cli.folder, "mine", imagenet(changed=["evaluation.list=/data/ImageNet_LT_test.txt"]))
    text = cli("compare", "mine.json").stdout
    printed = [one.split() for one in text.splitlines() if one.startswith("published: ")]
    assert len(printed) == 14
    assert printed[0] == [
        *("published:", "random-image", "random-image", "10", "63.0", "72.4", "61.4", "55.3", "–", "20.181"),
        *("–", "arXiv", "2502.04475,", "Table", "1"),
    ]
    assert "Feature space of FID 1: inception, FID 2: Inception (clean-fid)." in text
    assert "Table 3: ResNet-18; differs from the protocol: the best epoch on the test images" in text
    rows = table(cli, "mine.json")
    assert [one["published"] for one in rows] == ["no"] + 14 * ["yes"]
    assert {one["source"] for one in rows[1:]} == {"arXiv 2502.04475, Table 1", "arXiv 2502.04475, Table 3"}
    assert all(one["to_real_only"] == "" for one in rows)


@pytest.mark.parametrize(
    "changes",
    [{"changed": ["epochs=5"]}, {"changed": ["images.size=32"]}, {"classes": 89}, {"protocol": "mine"}],
)
def test_published_rows_stay_away_from_other_protocols(cli: Cli, changes: dict[str, Any]) -> None:
    put(cli.folder, "mine", imagenet(**changes))
    assert "published" not in cli("compare", "mine.json").stdout


def test_published_rows_of_few_shot_are_of_the_data_set_and_the_shots(cli: Cli) -> None:
    facts = {"method": "dropout", "protocol": "few-shot", "trial": 0}
    put(cli.folder, "voc", score(ECD, name="voc-4shot", shots=4, classes=20, **facts))
    assert [(one["name"], one["overall"]) for one in table(cli, "voc.json")[1:]] == [
        *(("DA-Fusion", "76.4"), ("Real Guidance", "75.0"), ("RandAugment", "71.4")),
    ]
    put(cli.folder, "mine", score(ECD, name="my-birds", shots=4, classes=20, **facts))
    assert len(table(cli, "mine.json")) == 1


def test_a_published_file_with_a_slip_is_told(tmp_path: Path) -> None:
    good = (ROOT / "eval" / "published" / "few_shot_voc.yaml").read_text()
    for bad, message in (
        (
            good.replace("overall: 65.7", "overall: 657"),
            "scores.0.overall: Input should be less than or equal to 100",
        ),
        (good.replace("overall: 65.7", "accuracy: 65.7"), "scores.0.overall: Field required"),
        (good.replace("classes: 20", "classes: '20'"), "classes: Input should be a valid integer"),
        (good.replace("classes: 20", "classes: ["), "is not plain YAML"),
    ):
        path = tmp_path / "bad.yaml"
        path.write_text(bad)
        with pytest.raises(ScoreError, match=re.escape(f"{path}: {message}")):
            read_table(path)


# Forms

ODD = 'a|b\nc, "d" <b>`_*$x$ \x1b[31m名'


def test_odd_names_break_no_form(cli: Cli) -> None:
    put(cli.folder / "s", "a", score(ECD, method="mixup", name=ODD, fid=2.0))
    put(cli.folder / "s", "b", score(RANDOM, method="mixup", name="plain", fid=3.0))
    put(cli.folder / "s", "c", score(REAL))
    for form in ("terminal", "markdown"):
        lines = cli("compare", "s", "--format", form).stdout.splitlines()
        assert len([one for one in lines if "c, " in one and "名" in one]) == 2
        assert not any("\x1b" in one for one in lines)
    cells = [one for one in lines if one.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", one)) for one in cells[:5]} == {11}
    assert r"a\|b\\nc, " in cells[2] + cells[3]
    assert r"\<b\>\`\_\*\$x\$" in cells[2] + cells[3]
    written = cli.folder / "out.csv"
    assert cli("compare", "s", "--out", written, "--plots", "p").exit_code == 0
    with written.open(encoding="utf-8", newline="") as stream:
        assert ODD in [one["name"] for one in csv.DictReader(stream)]


def test_out_takes_its_form_from_the_name(cli: Cli, scores: Path) -> None:
    for name, start in (
        ("a.md", "### digits-lt version 1"),
        ("a.CSV", "section,name"),
        ("a.txt", "digits-lt ver"),
    ):
        result = cli("compare", "scores", "--out", f"deep/{name}")
        assert result.stdout == f"deep/{name}: 4 score(s) in 1 section(s)\n"
        assert (cli.folder / "deep" / name).read_text().startswith(start)
    cli("compare", "scores", "--out", "a.md", "--format", "csv")
    assert (cli.folder / "a.md").read_text().startswith("section,name")
    assert cli("compare", "scores", "--format", "csv").stdout == (cli.folder / "a.md").read_text()


def test_a_narrow_terminal_shows_the_rest_below(
    cli: Cli, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cli.folder)
    found = pages(compare(find_scores(["scores"]).files, []))
    stream = io.StringIO()
    Console(file=stream, width=60, highlight=False).print(as_rich(found, 60))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    # Every name stands once in each part: three of the accuracies, two of the differences.
    assert [sum(one.startswith(name) for one in lines) for name in ("real only", "digits-lt-ecd")] == [3, 5]


# Mistakes


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
        case "epoch":
            data["seeds"][1]["epoch"] = 9
        case "no run":
            data["seeds"] = []
        case "accuracy":
            data["accuracy"]["overall"]["mean"] = 96.1
        case "history":
            data["seeds"][0]["history"][3]["overall"] = -1
        case "release":
            data["release"] = None
        case "fid":
            data["set_metrics"]["overall"]["fid"] = float("inf")
        case "key":
            data["extra"] = 1
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", "s.json: is not a score: Invalid JSON"),
        ("key", "s.json: is not a score: extra: Extra inputs are not permitted"),
        ("epoch", "s.json: is damaged: seed 1 counts epoch 9 of 5; score the release again"),
        ("no run", "s.json: is damaged: it holds no training run; score the release again"),
        ("accuracy", "s.json: is damaged: it has an accuracy that is not between 0 and 1; score"),
        ("history", "s.json: is damaged: seed 0 has an accuracy that is not between 0 and 1; score"),
        ("release", "s.json: is damaged: trained on real and synthetic, without a release; score"),
        ("fid", "s.json: is damaged: its FID is not a number; score the release again"),
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["scores/mixup.json"],
            "scores/mixup.json: there is no such score file; did you mean scores/digits-lt-mixup.json?",
        ),
        (["nowhere/x.json"], "nowhere/x.json: there is no such score file; `synthkit eval` makes one"),
        (["empty"], "empty: holds no scores; `synthkit eval` writes them into scores"),
        (["scores", "--out", "table.html"], "table.html: end its name in .md, .csv, .txt, or give --format"),
        (["scores", "--plots", "file"], "file: is not a folder; choose another --out"),
    ],
)
def test_other_mistakes_are_one_line(cli: Cli, scores: Path, arguments: list[str], message: str) -> None:
    (cli.folder / "empty").mkdir()
    (cli.folder / "file").write_text("")
    result = cli("compare", *arguments)
    assert result.exit_code == 1
    assert result.stderr == f"error: {message}\n"


def test_help_has_an_example(cli: Cli) -> None:
    text = cli("compare", "--help").output
    assert "Examples" in text
    assert "synthkit compare scores" in text
