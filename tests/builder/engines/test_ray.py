"""Builds on a Ray cluster: two nodes on this machine, which lose each other as real ones do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Cli, digests
from tests.helpers.families import FAMILIES, Models, write_recipe
from tests.helpers.miniatures import photo
from tests.helpers.paths import ROOT
from tests.helpers.warm import Warm, WarmProcess

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

# A node's death is noticed within two seconds, not half a minute.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
# No model, and many shards that take some seconds: a kill lands among them.
FLAT = ("--set", "model.id=builtin:flat-colours")
MANY = (*FLAT, "--set", "target_per_class=20", "--set", "output.size=512", "--set", "output.shard_size=4")


class RayCluster:
    """A head that makes nothing, and a node; others come and go."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH},
        )
        self.address: str = self._cluster.address
        self.first = self.add()

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, include_dashboard=False)

    def lose(self, node: Any) -> None:
        """As when its machine goes: everything on it at once."""
        for actor in actors(node):
            with suppress(psutil.NoSuchProcess):
                actor.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


def actors(node: Any) -> list[psutil.Process]:
    """The processes of a node that are making a shard."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [process for process in raylet.children() if "Actor.build" in _command(process)]


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    home = tmp_path_factory.mktemp("node")
    for number in range(4):
        photo(home / "real" / "cat" / f"{number}.png", number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("TMPDIR", str(home))
        # The names of sockets may not be long.
        patch.setenv("RAY_TMPDIR", sockets := tempfile.mkdtemp(prefix="ray-"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "eval")]))
        patch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
        patch.delenv("RAY_ADDRESS", raising=False)
        before = set(psutil.Process().children(recursive=True))
        started = RayCluster(home)
    try:
        yield started
    finally:
        every = set(psutil.Process().children(recursive=True)) - before
        started.close()
        _, alive = psutil.wait_procs([process for process in every if "ray" in _command(process)], 5)
        for process in alive:
            process.kill()
        shutil.rmtree(sockets, ignore_errors=True)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a build of this machine alone makes."""
    cli = Cli(tmp_path_factory.mktemp("many"))
    assert cli("build", cli.recipe(), *MANY).exit_code == 0
    return digests(cli.folder / "releases" / "small")


def wait_for(condition: Callable[[], object], process: WarmProcess, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def leftovers(folder: Path) -> list[Path]:
    return [*folder.rglob("*.tmp"), *folder.rglob("*.draft")]


@pytest.mark.slow
def test_a_lost_node_and_a_stopped_driver_change_no_byte(
    cli: Cli, warm: Warm, ray_cluster: RayCluster, many: dict[str, str]
) -> None:
    cli.recipe()
    command = ("build", "recipe.yaml", *MANY, "--engine", "ray", "--address", ray_cluster.address)
    doomed = ray_cluster.add()
    process = warm.start(*command, cwd=cli.folder)
    wait_for(lambda: actors(doomed) and actors(ray_cluster.first), process)
    ray_cluster.lose(doomed)
    printed = Path(process.printed) / "stderr"
    wait_for(lambda: "was lost with its node; another takes its place" in printed.read_text(), process)
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate()
    assert process.returncode == 143, error
    assert "stopped; what is finished is kept, and the same command goes on" in error
    assert "Traceback" not in error
    assert output == ""
    result = cli(*command)
    assert result.exit_code == 0, result.output
    made_now = int(result.output.split(" of them made now")[0].split()[-1])
    assert 0 < made_now < 156
    assert digests(cli.folder / "releases" / "small") == many
    assert not leftovers(cli.folder)


@pytest.mark.slow
def test_a_dead_and_a_silent_actor_are_replaced(
    cli: Cli, warm: Warm, ray_cluster: RayCluster, many: dict[str, str]
) -> None:
    cli.recipe()
    silence = ("--worker-timeout", "15")
    process = warm.start(
        "build",
        "recipe.yaml",
        *MANY,
        "--engine",
        "ray",
        "--address",
        ray_cluster.address,
        *silence,
        cwd=cli.folder,
    )
    printed = Path(process.printed) / "stderr"
    for number, told in (
        (signal.SIGKILL, "an actor on"),
        (signal.SIGSTOP, "showed no sign of life for 15 s"),
    ):
        found: list[psutil.Process] = []
        wait_for(lambda: found.extend(actors(ray_cluster.first)) or found, process)  # type: ignore[func-returns-value]  # noqa: B023
        found[0].send_signal(number)
        wait_for(lambda: told in printed.read_text(), process)  # noqa: B023
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert digests(cli.folder / "releases" / "small") == many
    assert not leftovers(cli.folder)


@pytest.mark.slow
def test_shards_at_an_address_become_the_same_release(
    cli: Cli, ray_cluster: RayCluster, tmp_path: Path
) -> None:
    recipe = cli.recipe()
    assert cli("build", recipe, *FLAT, "--out", "alone").exit_code == 0
    url = f"file://{tmp_path}/store"
    command = ("build", recipe, *FLAT, "--engine", "ray", "--address", ray_cluster.address, "--out", url)
    result = cli(*command)
    assert result.exit_code == 0, result.output
    assert f"{url}: 4 of 4 shards are there, 76 images made now" in result.output
    assert f"synthkit merge {recipe} --set model.id=builtin:flat-colours {url}" in result.output
    assert not leftovers(tmp_path / "store")
    assert not list(ray_cluster.home.rglob("*.tar"))
    # One that is cut off is made again, and the others are not.
    shards = next((tmp_path / "store").glob(".synthkit/small-*/shards"))
    (shards / "train-00002.records").write_bytes(b"half")
    assert "train-00002.tar: is not what its sidecar says" in cli("merge", recipe, *FLAT, url).output
    assert "4 of 4 shards are there, 24 images made now" in cli(*command).output
    merged = cli("merge", recipe, *FLAT, url)
    assert merged.exit_code == 0, merged.output
    assert digests(cli.folder / "releases" / "small") == digests(cli.folder / "alone" / "small")
    assert not leftovers(cli.folder)


def test_altered_bytes_at_an_address_are_not_merged(cli: Cli) -> None:
    """Sizes do not tell; the content does, when it is fetched."""
    recipe = cli.recipe()
    assert cli("build", recipe, *FLAT, "--out", "alone").exit_code == 0
    shards = next((cli.folder / "alone").glob(".synthkit/small-*/shards"))
    with (shards / "train-00001.tar").open("r+b") as tar:
        tar.seek(700)
        tar.write(b"XX")
    result = cli("merge", recipe, *FLAT, f"file://{shards}")
    assert result.exit_code == 1
    assert "train-00001.tar: is not what its sidecar says" in result.output
    assert not (cli.folder / "releases" / "small").exists()
    assert not leftovers(cli.folder)


@pytest.mark.slow
def test_a_node_with_other_real_images_is_refused(
    cli: Cli, ray_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(cli.folder))
    for number in range(5):
        photo(cli.folder / "real" / "cat" / f"{number}.png", number)
    recipe = cli.recipe()
    digits = recipe.read_text()
    folder = re.sub(r"source:\n(  .*\n)+", "source: {kind: folder, root: ~/real}\n", digits)
    recipe.write_text(folder)
    result = cli("build", recipe, *FLAT, "--engine", "ray", "--address", ray_cluster.address)
    assert result.exit_code == 1
    assert "error: node " in result.output
    assert "has other real images or another model than where the build was started" in result.output
    shutil.rmtree(ray_cluster.home / "real")
    result = cli("build", recipe, *FLAT, "--engine", "ray", "--address", ray_cluster.address)
    assert result.exit_code == 1
    assert "error: node " in result.output
    assert "real" in result.output.splitlines()[-1]


def test_another_environment_is_not_mixed_in(cli: Cli, ray_cluster: RayCluster) -> None:
    recipe = cli.recipe()
    assert cli("build", recipe, *FLAT).exit_code == 0
    shutil.rmtree(cli.folder / "releases")
    sidecars = sorted(cli.folder.glob(".synthkit/*/shards/*.json"))
    sidecars[0].unlink()
    for path in sidecars[1:]:
        path.write_text(path.read_text().replace('"device":"none"', '"device":"cuda (a GPU)"'))
    result = cli("build", recipe, *FLAT, "--engine", "ray", "--address", ray_cluster.address)
    assert result.exit_code == 1
    assert "was begun in another environment (device cuda (a GPU) -> none)" in result.output


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_what_one_worker_makes(
    cli: Cli, ray_cluster: RayCluster, models: Models, family: str
) -> None:
    recipe = write_recipe(cli.folder / "recipe.yaml", models, family, "cutmix-dropout")
    made = []
    for name, engine in (("here", ()), ("there", ("--engine", "ray", "--address", ray_cluster.address))):
        result = cli("build", recipe, "--out", name, "--workers", "1", *engine)
        assert result.exit_code == 0, result.output
        made.append(digests(cli.folder / name / "small"))
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "learned",
    [
        ("conditioning.method=da-fusion", "conditioning.strength=0.6", "tokens.steps=3"),
        ("conditioning.method=fill-up", "tokens.steps=3"),
        (
            "conditioning.method=random-image",
            "sampler.feedback={scale: 30, every: 2, classifier: {network: test_resnet, size: 32, "
            "training: {steps: 5}}}",
        ),
    ],
    ids=["da-fusion", "fill-up", "feedback"],
)
def test_what_is_learned_first_comes_to_every_node(
    cli: Cli, ray_cluster: RayCluster, learned: tuple[str, ...]
) -> None:
    recipe = cli.recipe()
    settings = [word for setting in learned for word in ("--set", setting)]
    made = []
    for name, engine in (("here", ()), ("there", ("--engine", "ray", "--address", ray_cluster.address))):
        result = cli("build", recipe, *settings, "--out", name, *engine)
        assert result.exit_code == 0, result.output
        made.append(digests(cli.folder / name / "small"))
    assert made[0] == made[1]


def test_a_cluster_without_gpus_is_told(cli: Cli, ray_cluster: RayCluster) -> None:
    options = ("--device", "cuda", "--worker-timeout", "1")
    result = cli("build", cli.recipe(), "--engine", "ray", "--address", ray_cluster.address, *options)
    assert result.exit_code == 1
    assert "no node with a free GPU came up within 1 s (the cluster has " in result.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--engine", "ray", "--address", "127.0.0.1:1"), "nothing answers there (Connection refused)"),
        (("--engine", "ray", "--address", "nonsense"), "is not an address; it must be HOST:PORT"),
        (
            ("--engine", "ray", "--address", "ray://10.0.0.1:10001"),
            "is for clients outside the cluster",
        ),
        (("--engine", "dask"), "--engine dask: there is no such engine; there are local and ray"),
        (("--address", "127.0.0.1:1"), "give --engine ray with it"),
        (("--out", "s3://bucket/releases"), "only --engine ray writes to an address; give a folder"),
    ],
)
def test_what_cannot_be_is_one_line(cli: Cli, options: tuple[str, ...], told: str) -> None:
    started = time.monotonic()
    result = cli("build", cli.recipe(), *options)
    assert time.monotonic() - started < 15
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert told in result.output
    assert len(result.output.splitlines()) == 1


def test_no_cluster_is_one_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray finds whatever runs on this machine, so it is told for it that nothing does."""
    import ray

    def none(**settings: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", none)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = cli("build", cli.recipe(), *FLAT, "--engine", "ray")
    assert result.exit_code == 1
    assert "any running Ray instance; start a cluster (`ray start --head`)" in result.output


def test_missing_packages_are_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    result = cli("merge", cli.recipe(), "s3://bucket/releases")
    assert result.output.splitlines()[-1] == "error: s3://bucket/releases: needs a package: pip install s3fs"
    monkeypatch.setitem(sys.modules, "ray", None)
    result = cli("build", "recipe.yaml", "--engine", "ray")
    assert (
        result.output
        == "error: --engine ray: Ray is not installed here: in the clone of synthkit, pip install '.[ray]'\n"
    )
