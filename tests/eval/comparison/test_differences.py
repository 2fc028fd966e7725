"""Which scores compare, with which others each is compared, and how far they are apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from synthkit.errors import ScoreError
from synthkit_eval.comparison.differences import compare_scores
from synthkit_eval.comparison.find import find_scores
from synthkit_eval.contrast import Contrast
from tests.conftest import Cli
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, line, put, row, score, table


def test_a_difference_is_paired_and_told_with_its_interval(cli: Cli, scores: Path) -> None:
    found = row(table(cli, "digits-lt-ecd", "digits-lt-random-image"), "digits-lt-ecd")
    assert float(found["to_random_image"]) == pytest.approx(2.85)
    # By hand: 0.961 - 0.9025 = 0.0585.
    assert float(found["to_real_only"]) == pytest.approx(5.85)
    low, high = (float(found[f"to_real_only_{end}"]) for end in ("low", "high"))
    assert 0 < low < 5.85 < high
    assert low + high == pytest.approx(2 * 5.85, abs=1e-4)
    shown = line(cli("compare", "scores").stdout, "digits-lt-ecd", after="difference in points")
    assert re.split(" {2,}", shown)[2:4] == ["+5.85", f"{low:+.2f} to {high:+.2f}"]


def test_one_run_has_an_interval_over_images_alone_and_says_so(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "real", score([0.9]))
    put(folder, "a", score([0.95], method="mixup"))
    found = row(table(cli, "scores"), "digits-lt-mixup")
    assert (found["overall"], found["overall_ci95"], found["to_real_only"]) == ("95.0", "", "5.0")
    assert float(found["to_real_only_low"]) > 0
    text = cli("compare", "scores").stdout
    assert "A difference of single runs knows nothing of how runs vary" in text
    # Of unlike numbers of runs, all count: the single one is taken to vary as the others do.
    put(folder, "real", score([0.88, 0.92, 0.90]))
    found = row(table(cli, "scores"), "digits-lt-mixup")
    assert found["to_real_only"] == "5.0"
    assert float(found["to_real_only_low"]) < 0
    assert "A difference of single runs" not in cli("compare", "scores").stdout


def test_contrasts_take_the_reference_of_as_many_steps_and_none_vanishes(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "a", score(ECD, method="dropout"))
    put(folder, "b", score(RANDOM, method="random-image"))
    put(folder, "c", score(REAL))
    put(folder, "d", score(MIXUP, steps=1800))
    contrasts = [
        {"of": "dropout", "against": "real only"},
        {"of": "dropout", "against": "real only"},
        {"of": "random-image", "against": "dropout"},
        {"of": "dropout", "against": "random-image", "part": "few"},
    ]
    files = find_scores([str(folder)]).files
    (section,) = compare_scores(files, [], [Contrast.model_validate(one) for one in contrasts])
    declared = [(d.mine.label, d.baseline.name, d.family) for d in section.differences if d.declared]
    assert declared == [
        ("dropout", "real only, 900 steps", 2),
        ("random-image", "digits-lt-dropout", 2),
    ]
    looked = [(d.mine.label, d.baseline.name) for d in section.differences if not d.declared]
    assert looked == [("random-image", "real only, 900 steps")]
    # All classes of these scores have many images.
    assert any(note.startswith("Not tested: digits-lt-dropout against ") for note in section.notes)


def test_a_contrast_across_protocols_is_paired_by_image(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "a", score(ECD, method="dropout"))
    put(folder, "b", score(RANDOM, protocol="digits-lt-glmc", protocol_digest="f" * 64, steps=1800))
    put(folder, "c", score(REAL))
    other = {"data": "another", "training": "1" * 64, "evaluation": "2" * 64}
    put(folder, "d", score(REAL, protocol="digits-lt-glmc", protocol_digest="f" * 64, **other))
    contrast = {"of": "dropout", "by": "digits-lt", "against": "real only", "against_by": "digits-lt-glmc"}
    files = find_scores([str(folder)]).files
    found = compare_scores(files, [], [Contrast.model_validate(contrast)])
    (only,) = (d for section in found for d in section.differences if d.declared)
    assert (only.mine.name, only.baseline.name) == ("digits-lt-dropout", "real only by digits-lt-glmc")
    assert only.points == pytest.approx(100 * (np.mean(ECD) - np.mean(RANDOM)), abs=0.1)
    # In the section of what may be better, beside the differences that were looked for there.
    assert [len([d for d in section.differences if d.declared]) for section in found] == [1, 0, 0]


def test_a_contrast_of_a_protocol_that_scored_nothing_says_what_there_is(cli: Cli) -> None:
    put(cli.folder / "scores", "a", score(ECD, method="dropout"))
    put(cli.folder / "scores", "c", score(REAL))
    contrast = Contrast(of="dropout", by="digits-lt", against="real only", against_by="digits-lt-lws")
    files = find_scores([str(cli.folder / "scores")]).files
    with pytest.raises(
        ScoreError,
        match="no scores compare dropout by digits-lt with real only by digits-lt-lws; there are dropout by "
        "digits-lt, real only by digits-lt",
    ):
        compare_scores(files, [], [contrast])


def test_mixtures_of_real_and_synthetic_images_compare_and_are_named(cli: Cli) -> None:
    folder = cli.folder / "scores"
    for share, values in ((0.25, ECD), (0.5, MIXUP)):
        facts = {"settings": {"batches": {"real": share}}, "digest": f"{share}"}
        changed = [] if share == 0.5 else [f"batches.real={share}"]
        put(folder, f"d{share}", score(values, method="dropout", changed=changed, **facts))
        put(folder, f"r{share}", score(RANDOM, method="random-image", changed=changed, **facts))
    rows = table(cli, "scores")
    names = {f"digits-lt-{method}, {n} % real" for method in ("random-image", "dropout") for n in (25, 50)}
    assert {one["name"] for one in rows} == names
    assert {one["section"] for one in rows} == {"1"}
    for share in (25, 50):
        found = row(rows, f"digits-lt-dropout, {share} % real")
        assert found["to_random_image_baseline"] == f"digits-lt-random-image, {share} % real"
    assert "with batches.real" not in cli("compare", "scores").stdout


def test_releases_of_other_seeds_are_one_row_and_their_runs(cli: Cli) -> None:
    folder = cli.folder / "scores"
    for seed in range(3):
        for method, value in (("random-image", 0.93), ("dropout", 0.95)):
            values = [value + 0.002 * seed, value + 0.001 * seed]
            made = score(values, method=method, name=f"lt-{method}-seed{seed}", seed=seed, kin=method)
            put(folder, f"{method}-{seed}", made)
    put(folder, "real", score(REAL))
    rows = table(cli, "scores")
    assert [one["name"] for one in rows] == ["real only", "lt-random-image", "lt-dropout"]
    found = row(rows, "lt-dropout")
    assert (found["releases"], found["seeds"], found["overall"]) == ("3", "2", "95.15")
    means = [95, 95.15, 95.3]
    assert float(found["overall_ci95"]) == pytest.approx(stats.sem(means) * stats.t.ppf(0.975, 2), rel=1e-4)
    assert float(found["to_random_image"]) == pytest.approx(2.0)
    text = cli("compare", "scores").stdout
    assert " 3 × 2\n" in text
    assert "Rows of one release" not in text


def test_choices_of_shots_are_one_row_and_paired_by_the_images_they_share(cli: Cli) -> None:
    folder = cli.folder / "scores"
    for trial in range(4):
        facts = {"training": f"{trial}" * 64, "evaluation": f"e{trial}" * 32, "data": "digits", "shots": 2}
        put(folder, f"real-{trial}", score([0.80, 0.81], **{**facts, "shots": None}))
        for method, value in (("random-image", 0.85), ("dropout", 0.88 + 0.001 * trial)):
            made = score(
                [value] * 2, method=method, name=f"few-{method}-draw{trial}", trial=trial, kin=method, **facts
            )
            put(folder, f"{method}-{trial}", made)
    rows = table(cli, "scores")
    assert [(one["section"], one["name"]) for one in rows] == [
        *(("1", "real only"), ("1", "few-random-image"), ("1", "few-dropout")),
    ]
    found = row(rows, "few-dropout")
    assert (found["releases"], float(found["to_random_image"])) == ("4", pytest.approx(3.15))
    assert float(found["to_real_only"]) == pytest.approx(7.65)


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
