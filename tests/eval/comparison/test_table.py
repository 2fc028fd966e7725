"""The table of `synthkit compare`: its rows, its numbers, and what it says of a difference."""

from __future__ import annotations

import re
from pathlib import Path

from scipy import stats

from tests.conftest import Cli
from tests.helpers.scores import ECD, line, row, table


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
