"""A package brings a family: the one in docs/example-generator, installed as its pyproject.toml says."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthkit.conformance.builds import BUILDS, BuildCase, shared
from synthkit.conformance.case import Case
from synthkit.conformance.generators import CHECKS
from synthkit.generators import families
from synthkit.generators.checkpoint import locate
from synthkit.recipe.load import load
from tests.conftest import Cli
from tests.helpers.paths import ROOT

EXAMPLE = ROOT / "docs" / "example-generator"
RECIPE = f"""\
name: small
source: {{kind: digits, max_per_class: 4}}
prompt: ""
synthetic_per_class: 1
model: {{id: {EXAMPLE / "model"}}}
sampler: {{batch_size: 4}}
output: {{shard_size: 5}}
"""


def install(folder: Path, name: str, version: str, points: dict[str, str]) -> None:
    """Write what an installer writes of a package beside its modules."""
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (facts / "entry_points.txt").write_text(f"[{families.GROUP}]\n{lines}")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path of Python in which the package is installed."""
    folder = tmp_path_factory.mktemp("packages")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(folder, project["name"], project["version"], project["entry-points"][families.GROUP])
    return folder


@pytest.fixture
def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    places = [str(package), str(EXAMPLE)]
    for place in places:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*places, *sys.path]))
    families.brought.cache_clear()
    yield
    families.brought.cache_clear()
    sys.modules.pop("patchwork", None)


@pytest.fixture
def recipe(cli: Cli) -> Path:
    path = cli.folder / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.usefixtures("installed")
def test_it_passes_the_conformance_suite(recipe: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    loaded = load(recipe)
    case = Case(locate(loaded.model), loaded, [Image.fromarray(image) for image in pixels])
    for check in CHECKS:
        check(case)
    builds = BuildCase(loaded, tmp_path / "builds")
    for build_check in BUILDS:
        # Two workers are two processes, and many tests start them.
        if build_check is not shared:
            build_check(builds)


@pytest.mark.usefixtures("installed")
def test_a_release_names_the_package(cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("doctor", recipe).exit_code == 0
    built = cli("build", recipe)
    assert built.exit_code == 0, built.output
    release = cli.folder / "releases" / "small"
    told = json.loads((release / "manifest.json").read_text())["environment"]
    assert told["family"] == "synthkit-patchwork 0.1.0"
    assert cli("verify", release).exit_code == 0
    # Where it is not installed, the release can be read and checked; its images cannot be made again.
    monkeypatch.undo()
    families.brought.cache_clear()
    assert cli("verify", release).exit_code == 0
    replayed = cli("replay", release, "0", "--set", f"model.id={EXAMPLE / 'model'}")
    assert replayed.exit_code == 1
    assert replayed.output.startswith("error: model model: is a Patchwork; synthkit runs StableUnCLIP")
    assert replayed.output.endswith(", and what installed packages bring (docs/generators.md)\n")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("points", "told"),
    [
        (
            {"Patchwork": "other:Patchwork"},
            "model model: several packages bring Patchwork: other 2.0, synthkit-patchwork 0.1.0; "
            "uninstall all but one",
        ),
        # What synthkit has, no package replaces.
        ({"FlatColours": "gone:Flat"}, None),
    ],
)
def test_two_packages_for_one_family(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch, points: dict[str, str], told: str | None
) -> None:
    install(cli.folder / "packages", "other", "2.0", points)
    monkeypatch.syspath_prepend(str(cli.folder / "packages"))
    families.brought.cache_clear()
    if told is None:
        flat = ("--set", "model={id: builtin:flat-colours}")
        assert cli("build", recipe, *flat, "--limit", "1").exit_code == 0
        return
    built = cli("build", recipe)
    assert (built.exit_code, built.output) == (1, f"error: {told}\n")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import a_module_that_is_not_here\n",
            "ModuleNotFoundError: No module named 'a_module_that_is_not_here'",
        ),
        ("Broken = print\n", "TypeError: broken:Broken is no class"),
    ],
)
def test_a_package_that_does_not_work(
    cli: Cli, recipe: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    (cli.folder / "broken.py").write_text(code)
    install(cli.folder / "packages", "broken", "3.0", {"Broken": "broken:Broken"})
    for place in (cli.folder, cli.folder / "packages"):
        monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    families.brought.cache_clear()
    (cli.folder / "model").mkdir()
    (cli.folder / "model" / "model_index.json").write_text('{"_class_name": "Broken"}')
    built = cli("build", recipe, "--set", "model.id=./model")
    assert built.exit_code == 1
    assert built.output.splitlines()[-1] == (
        f"error: model model: broken 3.0, which brings Broken, does not work: {told}"
    )
