"""`sampler.guidance_interval` and `sampler.cads` in a recipe: what is refused, and what a release says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import FLAT, Cli

NO_INTERVAL = "must be two numbers [from, to] from 0 to 1, is"
NO_GUIDANCE = "needs guidance, and guidance_scale is 1; remove {0}, or raise guidance_scale"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("guidance_interval=[-0.1, 0.5]", f"guidance_interval: {NO_INTERVAL} [-0.1, 0.5]"),
        ("guidance_interval=[0.5, 1.1]", f"guidance_interval: {NO_INTERVAL} [0.5, 1.1]"),
        ("guidance_interval=[0.5]", f"guidance_interval: {NO_INTERVAL} [0.5]"),
        ("guidance_interval=0.5", f"guidance_interval: {NO_INTERVAL} 0.5"),
        ("guidance_interval=[0, true]", f"guidance_interval: {NO_INTERVAL} [0, True]"),
        ("guidance_interval=[.nan, 1]", f"guidance_interval: {NO_INTERVAL} [nan, 1]"),
        (
            "guidance_interval=[0.7, 0.2]",
            "guidance_interval: must begin where there is less noise, is [0.7, 0.2]; write [0.2, 0.7]",
        ),
        ("cads={tau1: 0.9, tau2: 0.6, scale: 0.1}", "cads.tau2: must be more than tau1, 0.9, is 0.6"),
        ("cads={tau1: 0.6, tau2: 0.6, scale: 0.1}", "cads.tau2: must be more than tau1, 0.6, is 0.6"),
        ("cads={tau1: 0.6, tau2: 1.1, scale: 0.1}", "cads.tau2: must be at most 1, is 1.1"),
        ("cads={tau1: -0.1, tau2: 1, scale: 0.1}", "cads.tau1: must be at least 0, is -0.1"),
        ("cads={tau1: 0.6, tau2: 0.9, scale: -1}", "cads.scale: must be at least 0, is -1"),
        ("cads={tau1: 0.6, tau2: 0.9, scale: 0.1, psi: 2}", "cads.psi: must be at most 1, is 2"),
        (
            "cads={tau1: 0.6, tau2: 0.9}",
            "cads.scale: is missing: Standard deviation of the noise; 0 switches CADS off.",
        ),
    ],
)
def test_what_no_recipe_may_say(cli: Cli, change: str, told: str) -> None:
    result = cli("plan", cli.recipe(), *FLAT, "--set", f"sampler.{change}")
    assert result.exit_code == 1
    assert f"sampler.{told}\n" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    "change", ["guidance_interval=[0.2, 0.7]", "cads={tau1: 0.6, tau2: 0.9, scale: 0.25}"]
)
def test_both_need_guidance(cli: Cli, change: str) -> None:
    field = change.partition("=")[0]
    result = cli(
        "plan", cli.recipe(), *FLAT, "--set", f"sampler.{change}", "--set", "sampler.guidance_scale=1.0"
    )
    assert result.exit_code == 1
    assert f"sampler.{field}: {NO_GUIDANCE.format(field)}\n" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    "change", ["guidance_interval=[0.2, 0.7]", "cads={tau1: 0.6, tau2: 0.9, scale: 0.25}"]
)
def test_a_model_without_guidance_refuses_both(cli: Cli, schnell: Path, redux: Path, change: str) -> None:
    pieces = ("--set", f"model.id={schnell}", "--set", f"model.encoder={{id: {redux}}}")
    result = cli("build", cli.recipe(), *pieces, "--set", f"sampler.{change}")
    assert result.exit_code == 1
    field = change.partition("=")[0]
    assert result.output == f"error: sampler.{field}: this model does not have it; remove it\n"


def test_a_release_says_them_and_no_other_digest_moves(cli: Cli) -> None:
    recipe = cli.recipe()
    cads = "sampler.cads={tau1: 0.6, tau2: 0.9, scale: 0.25}"
    fields = ("--set", "sampler.guidance_interval=[0.2, 0.7]", "--set", cads)
    unset = ("--set", "sampler.guidance_interval=null", "--set", "sampler.cads=null")
    default = ("--set", cads, "--set", "sampler.cads.psi=1.0")
    digests = [
        _digest(cli("digest", recipe, *FLAT, *more).output)
        for more in ((), unset, fields, fields[:2], fields[2:], default)
    ]
    assert digests[0] == digests[1] and digests[4] == digests[5] and len({*digests}) == 4
    assert cli("build", recipe, *FLAT, *fields).exit_code == 0
    release = cli.folder / "releases" / "small"
    written = (release / "recipe.yaml").read_text()
    assert "  guidance_interval:\n  - 0.2\n  - 0.7\n" in written
    assert "  cads:\n    tau1: 0.6\n    tau2: 0.9\n    scale: 0.25\n" in written
    assert (
        "batches of 8, guidance_interval [0.2, 0.7], cads {tau1: 0.6, tau2: 0.9, scale: 0.25, psi: 1.0}; seed"
    ) in cli("show", release).output
    assert cli("verify", release).exit_code == 0
    assert "3 of 3 identical" in cli("replay", release, "--sample", "3").output


def _digest(printed: str) -> str:
    return str(json.loads(printed[printed.index("{") :])["digest"])
