"""The table of `synthkit compare`: its rows, its numbers, and what it says of a difference."""

from __future__ import annotations

import re
from pathlib import Path

from scipy import stats

from tests.conftest import Cli
from tests.helpers.scores import ECD, line, put, row, score, table


def test_the_table_of_a_folder(cli: Cli, scores: Path) -> None:
    text = cli("compare", "scores").stdout
    assert text.startswith("digits-lt version 1: 180 real training images, 2,000 evaluation images\n")
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


def test_of_a_difference_interval_correction_and_conclusion_are_told(cli: Cli, scores: Path) -> None:
    text = cli("compare", "scores").stdout
    assert re.split(" {2,}", line(text, "difference in points")) == [
        *("difference in points", "compared with", "difference", "95 % interval", "p, corrected", "shown"),
        "visible from",
    ]
    # Three releases against real images alone, two against random-image.
    shown = line(text, "Shown (among 5 differences): ")
    assert "digits-lt-ecd is 5.9 points better than real only (" in shown
    assert "corrected for the number of comparisons (Holm)" in text
    rows = table(cli, "scores")
    assert [key for key in rows[0] if key.startswith("to_real_only")] == [
        f"to_real_only{end}"
        for end in ("", "_baseline", "_low", "_high", "_p_corrected", "_visible", "_family", "_declared")
    ]
    assert row(rows, "digits-lt-random-image")["to_random_image"] == ""
    assert row(rows, "real only")["to_real_only"] == ""


def test_what_is_not_shown_is_told_with_what_could_have_been_seen(cli: Cli) -> None:
    put(cli.folder / "s", "a", score([0.935, 0.93, 0.94], method="random-image"))
    put(cli.folder / "s", "b", score([0.9355, 0.931, 0.938], method="mixup"))
    text = cli("compare", "s").stdout
    found = row(table(cli, "s"), "digits-lt-mixup")
    visible = float(found["to_random_image_visible"])
    assert visible > float(found["to_random_image_high"]) > 0
    told = f"digits-lt-mixup against digits-lt-random-image (-0.0; visible from {visible:.1f})."
    assert f"Not shown (a single comparison): {told}" in text


def test_what_sampling_took_has_a_column_where_it_differs(cli: Cli) -> None:
    put(cli.folder / "s", "a", score(ECD, method="mixup", images=1000, operations=139.0))
    put(cli.folder / "s", "b", score(ECD, method="cutmix", images=1000, operations=139.0))
    assert "TFLOP" not in cli("compare", "s").stdout
    put(cli.folder / "s", "c", score(ECD, method="mixup", name="half", images=500, operations=139.0))
    put(cli.folder / "s", "d", score(ECD, method="dropout", name="unknown"))
    text = cli("compare", "s").stdout
    assert line(text, "half").split()[:4] == ["half", "mixup", "2", "69,500"]
    assert line(text, "unknown").split()[:4] == ["unknown", "dropout", "2", "–"]
    assert "TFLOP: what sampling all images of a release took, all draws counted" in text
