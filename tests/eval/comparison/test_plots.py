"""The plots of `synthkit compare`: what is drawn, and that nothing that is to be read lies on anything."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from dvc.repo import Repo
from matplotlib.collections import LineCollection
from PIL import Image

from synthkit_eval.comparison.correlations import correlations
from synthkit_eval.comparison.plot_curves import guidance_figures, shots_figures
from synthkit_eval.comparison.plot_style import styled
from synthkit_eval.comparison.plots import FID, VENDI, cost_figures, groups_figures, set_figures
from synthkit_eval.score import Score
from tests.conftest import Cli
from tests.helpers.paths import ROOT
from tests.helpers.plots import assert_readable, sections
from tests.helpers.scores import ECD, REAL, imagenet, put, score

LONG = "a-name-of-a-method-as-long-as-names-can-be-in-a-release"


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def some(count: int, kind: str) -> list[Score]:
    """Scores of so many releases, and of real images alone."""
    made = [score([0.97, 0.975, 0.965])]
    for place in range(count):
        values, fid = [0.97 + 0.001 * (place % 4) + more for more in (-0.01, 0.004, 0.006)], 6 + 0.03 * place
        name = f"method-{place}"
        match kind:
            case "identical":
                values, fid = [0.97, 0.98, 0.975], 7.0
            case "outlier":
                values, fid = ([0.1, 0.2, 0.3], 9000.0) if place == 1 else (values, fid)
            case "wide":
                values = [0.0, 0.5, 1.0] if place % 2 else [0.93, 0.99, 1.0]
            case "one seed":
                values = values[:1]
            case "long":
                name = f"{LONG}-{place}"
        made.append(score(values, method=name, name=f"release-{place}", fid=fid))
    return made


def numbers(labels: Iterable[str]) -> list[int]:
    """What "1, 4–7" and the like say."""
    runs = [run.split("–") for label in labels for run in label.split(", ")]
    return sorted(number for run in runs for number in range(int(run[0]), int(run[-1]) + 1))


KINDS = ("near", "identical", "outlier", "wide", "one seed", "long")
FEW = {(3, "wide"), (12, "identical"), (20, "long")}
CASES = [
    pytest.param(count, kind, marks=[] if (count, kind) in FEW else [pytest.mark.slow])
    for count in (2, 3, 7, 12, 20, 40)
    for kind in KINDS
]


@pytest.mark.parametrize(("count", "kind"), CASES)
def test_every_name_is_clear_of_points_bars_and_names(count: int, kind: str) -> None:
    made = some(count, kind)
    with styled():
        ((_, figure),) = set_figures(sections(made), FID)
        texts = assert_readable(figure)
        named = [text for text in texts if "method-" in text or "…" in text]
        assert len(named) == count
        if figure.legends:
            assert numbers(text.get_text() for text in figure.axes[0].texts) == [*range(1, count + 1)]
        ((_, figure),) = groups_figures(sections(made))
        assert_readable(figure)


def test_accuracy_is_drawn_and_told_against_diversity() -> None:
    values = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96]
    made = [
        score([value] * 3, method=f"m{n}", fid=9.0 - n % 2, vendi=3.0 + n) for n, value in enumerate(values)
    ]
    found = sections(made)
    ((_, figure),) = set_figures(found, VENDI)
    assert "accuracy against Vendi score" in figure.axes[0].get_title()
    told = correlations(found)[1]
    assert told.startswith("Rank correlation of accuracy with FID ")
    assert "Vendi score +1.00 (7 rows, p 0.000, shown)" in told
    assert "not shown" in told
    # Of another number of images the metrics are others, too.
    more = [score([0.5] * 3, method=f"x{n}", images=5000, fid=1.0, vendi=90.0 - n) for n in range(5)]
    assert correlations(sections([*made, *more]))[1] == told
    assert not correlations(sections(made[:5]))


def test_the_names_of_a_few_points_stand_beside_them() -> None:
    with styled():
        ((_, figure),) = set_figures(sections(some(3, "near")), FID)
        assert_readable(figure)
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.texts] == ["method-0", "method-1", "method-2"]
        assert figure.legends == []


def test_no_interval_is_drawn_beyond_0_and_100(cli: Cli) -> None:
    made = [*some(4, "wide"), score([0.0, 0.6, 1.0], method="wide", guidance=4.0, name="wide")]
    made.append(score([0.0, 0.7, 1.0], method="wide", guidance=8.0, name="wider"))
    with styled():
        for figures in (partial(set_figures, metric=FID), groups_figures, guidance_figures):
            ((_, figure),) = figures(sections(made))
            ends = [
                value
                for axes in figure.axes
                for lines in axes.findobj(LineCollection)
                for segment in lines.get_segments()
                for value in np.asarray(segment)[:, 0 if figures is groups_figures else 1]
            ]
            assert ends
            assert min(ends) >= 0
            assert max(ends) <= 100
            assert max(ends) == pytest.approx(100)


def curves(methods: int, scales: Sequence[float], name: str = "method") -> list[Score]:
    return [
        score(
            [0.9, 0.93, 0.91],
            method=f"{name}-{number}",
            guidance=scale,
            name=f"r{number}-{scale}",
            protocol="p" * 90,
        )
        for number in range(methods)
        for scale in scales
    ]


@pytest.mark.parametrize(
    ("methods", "scales", "name"),
    [
        (2, (1.0, 2.0, 10.0), "method"),
        pytest.param(11, (1.0, 1.5, 2.0, 2.25, 7.0, 10.0), LONG, marks=[pytest.mark.slow]),
        (5, (1.0, 1.1, 1.2, 1.3, 50.0), "W" * 30),
    ],
)
def test_curves_are_readable(methods: int, scales: Sequence[float], name: str) -> None:
    with styled():
        ((_, figure),) = guidance_figures(sections(curves(methods, scales, name)))
        assert_readable(figure)
        (axes,) = figure.axes
        places = sorted(
            (segment[0][0], number)
            for number, container in enumerate(axes.containers)
            for segment in container.lines[2][0].get_segments()
        )
    # Equal accuracies are drawn beside each other, those of one scale together.
    assert len({x for x, _ in places}) == methods * len(scales)
    groups = [
        {number for _, number in places[start : start + methods]} for start in range(0, len(places), methods)
    ]
    assert all(group == set(range(methods)) for group in groups)


def few_shot() -> list[Score]:
    made = []
    for shots in (1, 2, 4, 8, 16):
        facts = {"training": f"{shots:02}" * 32, "protocol": "few-shot", "classes": 20}
        made.append(score(REAL, **facts))
        for number in range(4):
            facts |= {"name": f"voc-{shots}shot", "shots": shots}
            made.append(score([0.9, 0.95, 0.99], method=f"{LONG}-{number}", **facts))
    return made


def test_the_curves_of_shots_are_readable() -> None:
    with styled():
        ((_, figure),) = shots_figures(sections(few_shot()), [])
        assert_readable(figure)
        (axes,) = figure.axes
        x = [segment[0][0] for bars in axes.containers for segment in bars.lines[2][0].get_segments()]
    assert len(set(x)) == len(x) == 5 * 5


def test_cost_is_what_sampling_all_images_took() -> None:
    costs = {"slow": 139.0, "fast": 52.4, "faster": 10.6, "unknown": None}
    made = [
        score(ECD, method=name, images=1000, operations=cost, fid=9.0, vendi=5.0 + number)
        for number, (name, cost) in enumerate(costs.items())
    ]
    # Three times as many images cost three times as much.
    made += [score(ECD, method="fast", name="more", images=3000, operations=52.4, fid=9.0, vendi=6.0)]
    made.append(score(REAL))
    for metric in (None, VENDI):
        with styled():
            ((_, figure),) = cost_figures(sections(made), metric)
            assert_readable(figure)
            (axes,) = figure.axes
            drawn_at = {round(float(bars.lines[0].get_xdata()[0])) for bars in axes.containers}
            labels = [label.get_text() for label in axes.get_xticklabels()]
        assert drawn_at == {139_000, 52_400, 10_600, 157_200}
        assert "100,000" in labels


def test_learned_tokens_cost_too_and_what_takes_no_sampling_is_a_line() -> None:
    made = [
        score(ECD, method="dropout", operations=0.004),
        score(ECD, method="da-fusion", operations=0.004, learning=6.0),
        score(ECD, method="retrieval", operations=0.0),
        score(ECD, method="unknown"),
        score(REAL),
    ]
    with styled():
        ((_, figure),) = cost_figures(sections(made))
        assert_readable(figure)
    (axes,) = figure.axes
    assert [round(float(bars.lines[0].get_xdata()[0]), 3) for bars in axes.containers] == [4.0, 10.0]
    assert "learned tokens" in axes.get_xlabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["real only", "retrieval"]
    heights = [float(line.get_ydata()[0]) for line in axes.get_lines() if line.get_linestyle() in ("--", ":")]
    assert heights == pytest.approx([100 * np.mean(REAL), 100 * np.mean(ECD)], abs=0.1)


def test_no_plot_of_cost_without_two_costs() -> None:
    alike = [score(ECD, method=name, operations=7.2, fid=9.0, vendi=5.0) for name in ("one", "other")]
    unknown = [score(ECD, method=name, fid=9.0, vendi=5.0) for name in ("one", "other")]
    assert not [*cost_figures(sections(alike)), *cost_figures(sections(unknown), VENDI)]


def test_plots_are_images_and_the_same_bytes_twice(cli: Cli) -> None:
    for number, one in enumerate(some(4, "near")):
        put(cli.folder / "scores", str(number), one)
    result = cli("compare", "scores", "--plots", "one")
    assert result.exit_code == 0, result.output
    assert "one: drew groups, differences, fid (PNG and SVG)\n" in result.stderr
    assert "guidance: not drawn: it takes a method at two guidance scales\n" in result.stderr
    assert "shots: not drawn: it takes a method with two numbers of shots\n" in result.stderr
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}):
        cli("compare", "scores", "--plots", "two")
    one = drawn(cli.folder / "one")
    assert one == drawn(cli.folder / "two")
    assert list(one) == [
        f"{kind}.{suffix}" for kind in ("differences", "fid", "groups") for suffix in ("png", "svg")
    ]
    for name, content in one.items():
        if name.endswith(".svg"):
            assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
            assert b"dc:date" not in content
        else:
            with Image.open(io.BytesIO(content)) as image:
                assert image.width == 1440
                assert "Software" not in image.info


def test_the_plot_of_guidance_takes_one_method_at_two(cli: Cli) -> None:
    folder = cli.folder / "scores"
    put(folder, "a", imagenet(guidance=2.0))
    put(folder, "b", imagenet(guidance=2.0, method="mixup", name="b"))
    assert "guidance: not drawn" in cli("compare", "scores", "--plots", "p").stderr
    put(folder, "c", imagenet(guidance=10.0, name="c"))
    result = cli("compare", "scores", "--plots", "p")
    assert "p: drew groups, fid, guidance (PNG and SVG)\n" in result.stderr
    assert (cli.folder / "p" / "guidance.svg").is_file()


def test_the_plot_of_shots_joins_sections(cli: Cli) -> None:
    folder = cli.folder / "scores"
    for shots in (1, 4):
        for trial in (0, 1):
            facts = {"training": f"{shots}{trial}" * 32, "protocol": "few-shot", "classes": 20}
            put(folder, f"real-{shots}-{trial}", score(REAL, **facts))
            made = score(ECD, method="dropout", name=f"voc-{shots}shot", shots=shots, trial=trial, **facts)
            put(folder, f"voc-{shots}-{trial}", made)
    result = cli("compare", "scores", "--plots", "p")
    assert "groups-1, groups-2, groups-3, groups-4, differences-1, " in result.stderr
    assert ", shots (PNG and SVG)" in result.stderr
    assert (cli.folder / "p" / "shots.png").is_file()


def test_more_lines_than_can_be_told_apart_are_a_plot_for_each_generator(cli: Cli) -> None:
    for shots, (number, p) in itertools.product(
        (1, 4), enumerate([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    ):
        for model in ("one", "two"):
            name = f"few-{model}-shots-{shots}-dropout-0-{p * 10:g}"
            facts = {"training": f"{shots}" * 64, "protocol": "few-shot", "shots": shots, "kin": name}
            made = score([0.9 + number / 99] * 3, method="dropout", name=name, **facts)
            release = made.release.model_copy(update={"generator": model})  # type: ignore[union-attr]
            put(cli.folder / "s", name, made.model_copy(update={"release": release}))
    assert "shots-1, shots-2 (PNG and SVG)" in cli("compare", "s", "--plots", "p").stderr
    first, second = (texts(cli.folder / "p" / f"shots-{number}.svg") for number in (1, 2))
    assert any(", one: accuracy against shots" in text for text in first)
    assert any(", two: accuracy against shots" in text for text in second)


def test_a_study_that_varies_shots_and_another_field_has_a_line_for_each(cli: Cli) -> None:
    for shots in (1, 4):
        for place, p in enumerate((0.2, 0.4)):
            name = f"few-shots-{shots}-dropout-0-{p * 10:g}"
            facts = {"training": f"{shots}" * 64, "protocol": "few-shot", "shots": shots, "kin": f"{p}"}
            put(cli.folder / "s", name, score([0.9 + place / 50] * 3, method="dropout", name=name, **facts))
    assert "shots (PNG and SVG)" in cli("compare", "s", "--plots", "p").stderr
    assert {"dropout 0.2", "dropout 0.4"} <= texts(cli.folder / "p" / "shots.svg")
    bars = texts(cli.folder / "p" / "groups-1.svg")
    assert {"dropout 0.2", "dropout 0.4"} <= bars


@pytest.mark.slow
def test_releases_of_other_sizes_are_lines_of_their_own(cli: Cli) -> None:
    for shots, method in itertools.product((1, 4), ("random-image", "dropout")):
        for images, more in ((200, ""), (1000, "synthetic-per-class-100-")):
            name = f"digits-few-shot-{more}shots-{shots}-{method}"
            facts = {"training": f"{shots}" * 64, "shots": shots, "kin": name, "images": images}
            made = score([0.9] * 3, method=method, name=name, protocol="few-shot", **facts)
            put(cli.folder / "s", name, made)
    assert "shots (PNG and SVG)" in cli("compare", "s", "--plots", "p").stderr
    lines = texts(cli.folder / "p" / "shots.svg")
    assert {"random-image", "dropout", "synthetic-per-class-100-dropout"} <= lines


def test_the_only_group_of_classes_has_no_bars_of_its_own() -> None:
    made = [score([0.9] * 3, method=method) for method in ("dropout", "mixup")]
    no_groups = {"many": None, "medium": None}
    alone = [one.model_copy(update={"accuracy": one.accuracy.model_copy(update=no_groups)}) for one in made]
    with styled():
        ((_, figure),) = groups_figures(sections(alone))
    assert [axes.get_title() for axes in figure.axes] == ["overall"]


def texts(svg: Path) -> set[str]:
    """What is to be read in a plot."""
    return set(re.findall(r"<!-- (.+?) -->", svg.read_text()))


def test_dvc_shows_each_plot_of_the_project_once(tmp_path: Path) -> None:
    for name in (".dvcignore", "dvc.yaml", "params.yaml", "eval/studies/dvc.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("comparison/plots", "docs/images/dropout_glyphs", "docs/images/few_shot_digits"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("groups.png", "groups.svg", "fid.png", "fid.svg"):
            (tmp_path / folder / name).write_bytes(b"")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    Repo.init(str(tmp_path))
    with Repo(str(tmp_path)) as repo:
        (shown,) = repo.plots.show().values()
    assert sorted(shown["sources"]["data"]) == ["comparison/plots/fid.png", "comparison/plots/groups.png"]
