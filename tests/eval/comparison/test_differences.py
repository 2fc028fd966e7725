"""Which scores compare, with which others each is compared, and how far they are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from tests.conftest import Cli
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, line, put, row, score, table


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
