"""What all tests share: a recipe that builds in seconds, and the release it makes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Two test workers on two cores: one thread each. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
# A home of its own: `datasets` would serve a release of an earlier run from its cache.
os.environ["HF_HOME"] = tempfile.mkdtemp()

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from typer.testing import CliRunner, Result

from synthkit.cli import app

if TYPE_CHECKING:
    from tests.helpers.families import Models
    from tests.helpers.hub_client import Client
    from tests.helpers.hub_server import HubServer
    from tests.helpers.warm import Warm

atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

# Tests must not depend on how busy a machine is.
hypothesis.settings.register_profile("synthkit", deadline=None)
hypothesis.settings.load_profile("synthkit")

SMALL = """\
name: small
version: 1.2.3
summary: A release for tests.
license: cc-by-4.0
released: 2026-12-01
source:
  kind: digits
  max_per_class: 8
  imbalance_factor: 4
  groups: {many_above: 6, few_below: 4}
prompt: "{name}"
target_per_class: 12
model:
  id: builtin:tiny-unclip-digits
sampler:
  steps: 2
  guidance_scale: 2.0
  batch_size: 8
output:
  shard_size: 24
seed: 7
"""


# What starts a process that loads libraries for seconds, and is shared by the tests of one test worker.
_SHARED = ("warm", "quick"), ("synthkit", "hub", "project")

# Images of one colour, which no model makes: no process has to load one.
FLAT = ("--set", "model.id=builtin:flat-colours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that share a process to one test worker of two, the longest of them first.

    Each worker starts with one half of the tests in order; then it takes from the end of the other half.
    """
    first, second = ([item for item in items if _shares(item, names)] for names in _SHARED)
    second = [item for item in second if item not in first]
    rest = [item for item in items if item not in first and item not in second]
    middle = max(0, len(items) // 2 - len(first))
    first.sort(key=lambda item: "test_chaos" not in item.nodeid)
    second.sort(key=lambda item: "test_whole_life" not in item.nodeid)
    items[:] = [*first, *rest[:middle], *second, *rest[middle:]]


def _shares(item: pytest.Item, names: tuple[str, ...]) -> bool:
    return any(name in getattr(item, "fixturenames", ()) for name in names)


class Cli:
    """Runs commands in this process, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> Result:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            os.chdir(before)

    def recipe(self, *changes: str, name: str = "recipe.yaml") -> Path:
        """Write the small recipe; a change `key: value` adds or replaces a top-level line."""
        text = SMALL
        for change in changes:
            key = change.split(":")[0]
            kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "\n".join([*kept, change, ""])
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished release of the small recipe. Read it, do not change it."""
    cli = Cli(tmp_path_factory.mktemp("small"))
    result = cli("build", cli.recipe())
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


@pytest.fixture(scope="session")
def flat_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small recipe without a model, built in two seconds: for tests of what no model changes."""
    cli = Cli(tmp_path_factory.mktemp("flat"))
    result = cli("build", cli.recipe(), *FLAT)
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


@pytest.fixture(scope="session")
def parquet_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `flat_release`, its shards Parquet files."""
    cli = Cli(tmp_path_factory.mktemp("parquet"))
    result = cli("build", cli.recipe(), *FLAT, "--set", "output.container=parquet")
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


@pytest.fixture(scope="session")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.5 in miniature. Read it, do not change it."""
    from tests.helpers.miniature_models import stable_diffusion

    return stable_diffusion(tmp_path_factory.mktemp("hub") / "stable-diffusion-v1-5")


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL in miniature. Read it, do not change it."""
    from tests.helpers.miniature_models import stable_diffusion_xl

    return stable_diffusion_xl(tmp_path_factory.mktemp("hub") / "stable-diffusion-xl-base-1.0")


@pytest.fixture(scope="session")
def ip_adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of IP-Adapters for both of them in miniature. Read it, do not change it."""
    from tests.helpers.miniature_models import ip_adapter

    return ip_adapter(tmp_path_factory.mktemp("hub") / "IP-Adapter")


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kandinsky 2.2's decoder in miniature. Read it, do not change it."""
    from tests.helpers import miniature_kandinsky

    return miniature_kandinsky.decoder(tmp_path_factory.mktemp("hub") / "kandinsky-2-2-decoder")


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of Kandinsky 2.2's prior in miniature. Read it, do not change it."""
    from tests.helpers import miniature_kandinsky

    return miniature_kandinsky.prior(tmp_path_factory.mktemp("hub") / "kandinsky-2-2-prior")


@pytest.fixture(scope="session")
def schnell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1-schnell in miniature. Read it, do not change it."""
    from tests.helpers import miniature_flux

    return miniature_flux.schnell(tmp_path_factory.mktemp("hub") / "FLUX.1-schnell")


@pytest.fixture(scope="session")
def redux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.1 Redux in miniature. Read it, do not change it."""
    from tests.helpers import miniature_flux

    return miniature_flux.redux(tmp_path_factory.mktemp("hub") / "FLUX.1-Redux-dev")


@pytest.fixture(scope="session")
def models(
    sd15: Path, sdxl: Path, ip_adapters: Path, decoder: Path, prior: Path, schnell: Path, redux: Path
) -> Models:
    """Every family in miniature."""
    from tests.helpers.families import Models

    return Models(sd15, sdxl, ip_adapters, decoder, prior, schnell, redux)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Starts commands in processes that need not load libraries."""
    from tests.helpers.warm import Warm

    with Warm() as started:
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[HubServer]:
    from tests.helpers.hub_server import HubServer

    with HubServer() as started:
        yield started


@pytest.fixture(scope="session")
def quick(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """As `warm`, of fewer libraries, so that more commands fit in a second; they know the Hub of `hub`."""
    from tests.helpers.warm import FEW_LIBRARIES, Warm

    home = tmp_path_factory.mktemp("quick")
    with Warm(FEW_LIBRARIES, server.environment(home, server.WRITE_TOKEN)) as started:
        yield started


@pytest.fixture
def hub(server: HubServer) -> HubServer:
    """A Hub without repositories."""
    server.reset()
    return server


@pytest.fixture(scope="session")
def synthkit(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """`synthkit` commands in a process that knows the Hub of `hub`, with a token that may write to lab."""
    from tests.helpers.hub_client import Client

    home = tmp_path_factory.mktemp("home")
    with Client(server.environment(home, server.WRITE_TOKEN), home) as client:
        yield client


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a few images, to be published. Read it, do not change it."""
    from tests.helpers.publishing import build

    return build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its next version, with other images and one shard more."""
    from tests.helpers.publishing import build

    return build(tmp_path_factory.mktemp("next"), "version=1.1.0", "seed=1", "target_per_class=8")


@pytest.fixture
def copy(release: Path, tmp_path: Path) -> Path:
    """The release to be published, to be changed."""
    return Path(shutil.copytree(release, tmp_path / "small"))


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by relative path."""
    import hashlib

    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_member(tar: Path, name: str) -> bytes:
    """A file in a tar, by Python's own reader."""
    import tarfile

    with tarfile.open(tar) as archive:
        return archive.extractfile(name).read()  # type: ignore[union-attr]
