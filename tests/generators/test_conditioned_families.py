"""Families that are conditioned otherwise than the paper's model: on tokens, with a weight of the image.

Each makes a release by every method that it takes, which is verified and made again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthkit.release.manifest import read_manifest
from tests.conftest import Cli
from tests.helpers import adapters
from tests.helpers import miniature_flux as flux
from tests.helpers.methods import OF_ANY_MODEL
from tests.helpers.miniature_models import HIDDEN

RECIPE = """\
name: NAME
source: {kind: digits, max_per_class: 3}
synthetic_per_class: 1
conditioning: {method: METHOD, drops: DROPS, scale: SCALE}
model: MODEL
sampler: SAMPLER
output: {size: 32, shard_size: 8}
"""
DDIM = "{scheduler: ddim, steps: 1, guidance_scale: 2, batch_size: 4}"
FLOW = f"{{scheduler: flow-euler, steps: 1, guidance_scale: 1, batch_size: 4, size: {flux.SMALL}}}"
# A box of patches, dropped tokens and a drawn weight; the others take as long each.
METHODS_TRIED = [
    name if name == "embed-cutmix-dropout" else pytest.param(name, marks=pytest.mark.slow)
    for name in OF_ANY_MODEL
]


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def redux(tmp_path_factory: pytest.TempPathFactory) -> str:
    """FLUX with Redux, as a recipe names it."""
    folder = tmp_path_factory.mktemp("flux")
    pieces = {
        "id": str(flux.schnell(folder / "schnell")),
        "encoder": {"id": str(flux.redux(folder / "redux"))},
    }
    return json.dumps(pieces)


def adapter(kind: adapters.Adapter, sd15: Path, sdxl: Path, ip_adapters: Path) -> str:
    """A model with an IP-Adapter, as a recipe names it."""
    model = adapters.Family(kind, sd15, sdxl, ip_adapters).model()
    return json.dumps(model.model_dump(mode="json", exclude_none=True, exclude={"adapter": {"scale"}}))


def made(cli: Cli, name: str, **fields: str) -> tuple[Path, str]:
    """Build a release, verify it, make images of it again; return it, and what the build printed."""
    text = RECIPE.replace("NAME", name)
    for field, value in {"DROPS": "coordinates", "SCALE": "null", "SAMPLER": DDIM, **fields}.items():
        text = text.replace(field, value)
    (cli.folder / f"{name}.yaml").write_text(text)
    release = cli.folder / "releases" / name
    results = [
        cli("build", f"{name}.yaml", "--workers", "1"),
        cli("verify", release),
        cli("replay", release, "3", "7"),
    ]
    assert [result.exit_code for result in results] == [0, 0, 0], results[-1].output
    assert "2 of 2 identical" in results[-1].output
    return release, results[0].output


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_a_plus_adapter_is_conditioned_on_tokens(
    cli: Cli, sd15: Path, sdxl: Path, ip_adapters: Path, method: str
) -> None:
    model = adapter(adapters.SD15_PLUS, sd15, sdxl, ip_adapters)
    release, _ = made(cli, f"plus-{method}", METHOD=method, DROPS="tokens", SCALE="[0.1, 0.9]", MODEL=model)
    manifest = read_manifest(release)
    # A class token and 4x4 patches of the small encoder.
    assert (manifest.format_version, manifest.generator.embedding) == (3, (17, HIDDEN))


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_redux_is_conditioned_on_tokens(cli: Cli, redux: str, method: str) -> None:
    release, _ = made(cli, f"redux-{method}", METHOD=method, DROPS="tokens", MODEL=redux, SAMPLER=FLOW)
    manifest = read_manifest(release)
    assert (manifest.format_version, manifest.generator.embedding) == (2, (16, flux.SIZE))


def test_adapters_of_two_bases_share_the_embeddings_of_real_images(
    cli: Cli, sd15: Path, sdxl: Path, ip_adapters: Path
) -> None:
    outputs = [
        made(
            cli,
            f"plain-{number}",
            METHOD="embed-mixup",
            SCALE=str(number),
            MODEL=adapter(kind, sd15, sdxl, ip_adapters),
        )[1]
        for number, kind in enumerate((adapters.SD15, adapters.SDXL))
    ]
    assert ["embedding real images" in output for output in outputs] == [True, False]
