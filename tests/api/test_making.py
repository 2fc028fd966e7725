"""Planning and building from Python: the same code and the same bytes as the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthkit
from synthkit.builder.shard import ShardBuilder
from synthkit.errors import BuildError, RecipeError
from synthkit.release.manifest import read_manifest
from tests.conftest import FLAT, SMALL, Cli

HEAVY = ("torch", "numpy", "pydantic", "yaml", "datasets", "pyarrow", "rich", "typer", "pandas")


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import synthkit, sys; dir(synthkit); synthkit.SynthkitError; synthkit.build; "
        f"sys.exit(str([name for name in {HEAVY} if name in sys.modules]) if "
        f"any(name in sys.modules for name in {HEAVY}) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_and_no_other() -> None:
    for name in synthkit.__all__:
        assert getattr(synthkit, name) is not None
    assert dir(synthkit) == synthkit.__all__
    with pytest.raises(AttributeError, match="no attribute 'builds'"):
        synthkit.builds  # noqa: B018 (what is not there is asked for)


def test_a_plan_reads_as_the_command_prints_it(cli: Cli, flat: dict[str, Any], tmp_path: Path) -> None:
    printed = cli("plan", cli.recipe(), *FLAT, "--out", tmp_path).output
    plan = synthkit.plan(flat, out=tmp_path)
    assert str(plan).splitlines() == [line.rstrip() for line in printed.splitlines()]
    assert repr(plan) == "<plan of small 1.2.3: 76 synthetic images of 10 classes in 4 shard(s)>"
    assert (plan.synthetic, plan.classes[9].name, plan.classes[9].synthetic) == (76, "nine", 10)


def test_a_plan_is_plain_text_where_colours_are_asked_for(
    flat: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = str(synthkit.plan(flat))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(synthkit.plan(flat)) == plain
    assert "\x1b" not in plain


def test_a_mapping_builds_the_release_of_its_file(
    flat: dict[str, Any], flat_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = synthkit.build(flat, out=tmp_path)
    assert built.path == tmp_path / "small"
    assert (built.name, built.version, built.images, built.made, built.preview) == (
        *("small", "1.2.3", 76, 76, False),
    )
    assert read_manifest(built.path).seal == read_manifest(flat_release).seal
    assert built.samples.is_file()
    assert synthkit.build(flat, out=str(tmp_path)).made == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "generating: 76 of 76 images" in told.err


def test_a_file_with_overrides_makes_a_preview(cli: Cli, tmp_path: Path) -> None:
    overrides = {"model.id": "builtin:flat-colours", "seed": np.int64(3), "sampler": {"steps": 3}}
    built = synthkit.build(cli.recipe(), overrides, out=tmp_path, limit=5)
    assert (built.path.name, built.images, built.preview) == ("small-preview", 5, True)
    record = built.open()[0].record
    # A section that is given whole replaces the recipe's, as with --set.
    assert (record.steps, record.batch_size, record.model) == (3, 16, "builtin:flat-colours")


def test_a_mapping_may_extend_a_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.recipe(name="base.yaml")
    monkeypatch.chdir(cli.folder)
    plan = synthkit.plan({"extends": "base.yaml", "name": "other", "target_per_class": 9})
    assert (plan.recipe.name, plan.synthetic) == ("other", 46)


def test_an_interrupt_keeps_what_is_finished(
    flat: dict[str, Any], flat_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, count = ShardBuilder.build, 0

    def interrupted(self: ShardBuilder, shard: int, observer: Any) -> Any:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return build(self, shard, observer)

    with monkeypatch.context() as patched:
        patched.setattr(ShardBuilder, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            synthkit.build(flat, out=tmp_path, workers=1)
    built = synthkit.build(flat, out=tmp_path, workers=1)
    assert built.made == 76 - 2 * 24
    assert read_manifest(built.path).seal == read_manifest(flat_release).seal


def itself() -> dict[str, Any]:
    """A mapping that holds itself."""
    found: dict[str, Any] = {}
    found["source"] = found
    return found


@pytest.mark.parametrize(
    ("recipe", "overrides", "told"),
    [
        ("", None, "recipe: is ''; no file or folder has such a name"),
        (3, None, "recipe: is 3; give a path or a mapping"),
        ("no\0name", None, "recipe: is 'no\\x00name'; no file or folder has such a name"),
        ("missing.yaml", None, "missing.yaml: there is no such recipe"),
        ({}, None, "recipe: 4 errors"),
        ({"nam": "x"}, None, "nam: unknown key (did you mean name?)"),
        ({1: "x"}, None, "recipe: has the key 1; keys are text"),
        (itself(), None, "is nested too deeply, or holds itself"),
        ({"name": {"a", "b"}}, None, "recipe: name: is of type set; give text, a number, true or false"),
        ({"extends": "no.yaml"}, None, "recipe: extends: there is no file no.yaml"),
        ({"extends": 3}, None, "extends: must be the path of another recipe"),
        ({"name": "x"}, ["seed=3"], "overrides: is ['seed=3']; give a mapping"),
        ({"name": "x"}, {"seed": object()}, "overrides: seed: is of type object"),
        (None, {"conditioning.method": "cutmixx"}, "did you mean cutmix?"),
        (None, {"": 1}, "write it as section.field=value"),
        (None, {"a=b.c": 1}, "unknown key"),
        (None, {"extends": "x.yaml"}, "extends cannot be set"),
    ],
)
def test_a_recipe_that_is_none_is_an_error_of_one_kind(
    recipe: Any, overrides: Any, told: str, flat: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError) as raised:
        synthkit.plan(flat if recipe is None else recipe, overrides)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limit": 0}, "limit: is 0; give a whole number from 1"),
        ({"limit": True}, "limit: is True; give a whole number"),
        ({"limit": "8"}, "limit: is '8'; give a whole number"),
        ({"workers": 0}, "workers: is 0; give a whole number from 1 to 1,024"),
        ({"out": 3}, "out: is 3; give a path"),
        ({"out": "s3://bucket/x"}, "out: s3://bucket/x: give a folder"),
        ({"device": "cuda:99"}, "--device cuda:99"),
        ({"engine": "slurm"}, "--engine slurm"),
        ({"address": "host:1"}, "--address host:1: only Ray connects to a cluster"),
        ({"engine": "ray", "address": 6379}, "address: is 6379; give text"),
        ({"tokens": 3}, "tokens: is 3; give a path"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], told: str, flat: dict[str, Any]) -> None:
    with pytest.raises(BuildError) as raised:
        synthkit.build(flat, **options)
    assert told in str(raised.value)


@pytest.mark.parametrize("price", [-1, float("nan"), 1e9, "3"])
def test_a_price_that_is_none(flat: dict[str, Any], price: Any) -> None:
    with pytest.raises(BuildError, match=r"price: is .*; give a number from 0 to 1,000,000"):
        synthkit.plan(flat, price=price)


def test_numbers_of_numpy_are_numbers(flat: dict[str, Any], tmp_path: Path) -> None:
    built = synthkit.build(flat, out=tmp_path, limit=np.int64(3))  # type: ignore[arg-type]
    assert (built.images, built.preview) == (3, True)
    assert synthkit.plan(flat, price=np.float32(2)).sampling is not None  # type: ignore[arg-type]


def test_a_fault_of_the_machine_is_an_error_of_synthkit(flat: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(synthkit.SynthkitError, match="is not a folder") as raised:
        synthkit.build(flat, out=tmp_path / "file")
    assert isinstance(raised.value.__cause__, OSError)


def test_the_recipe_of_the_tests_says_the_same_in_both_forms(flat: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert synthkit.plan(path, {"model.id": "builtin:flat-colours"}).recipe == synthkit.plan(flat).recipe
