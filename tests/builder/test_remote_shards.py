"""Addresses of shards, without a cluster."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from synthkit.builder.engines import ray_driver
from synthkit.builder.remote_shards import RemoteShards, refuse_password
from synthkit.errors import BuildError
from tests.conftest import Cli

FLAT = ("--set", "model.id=builtin:flat-colours")


@pytest.mark.parametrize("url", ["ftp://user:secret@127.0.0.1:1/set", "sftp://user:sec/ret@127.0.0.1/set"])
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_password_in_an_address_is_refused_and_never_shown(cli: Cli, url: str, engine: str) -> None:
    recipe = cli.recipe()
    build = ("build", recipe, *FLAT, "--engine", engine, "--out", url)
    for command in (build, ("merge", recipe, *FLAT, url)):
        result = cli(*command)
        assert result.exit_code == 1
        assert "error: an address with a password in it" in result.output.splitlines()[-1]
        assert not re.search(r"sec(ret|/ret)|user:sec", result.output)
    with pytest.raises(BuildError, match=r"give it in the store's own configuration or environment"):
        refuse_password(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b:c",
        "hf://datasets/user/set@main",
        "abfs://container@account.dfs.core.windows.net/a:b",
        "ftp://user@host:21/a@b",
        "ftp://host:21/a@b",
        "ftp://[::1]:21/a@b",
        "file:///a:b@c",
    ],
)
def test_other_addresses_hold_none(url: str) -> None:
    refuse_password(url)


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("gs://bucket/set", "gcsfs", "gcsfs"),
        ("az://container/set", "adlfs", "adlfs"),
        ("sftp://host/set", "paramiko", "paramiko"),
        ("smb://host/share/set", "smbclient", "smbprotocol"),
        ("oss://bucket/set", "ossfs", "ossfs"),
        ("webdav://host/set", "webdav4", "webdav4"),
    ],
)
def test_a_store_whose_package_is_missing_says_how_to_install_it(
    url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BuildError, match=f"^{url}: needs a package: pip install {package}$"):
        RemoteShards(url)


@pytest.mark.parametrize("part", [None, "1/2"])
def test_marks_of_stopped_builds_are_removed_by_the_next(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str | None
) -> None:
    """And neither anything else, nor those of other parts, which may be running."""

    seen: list[str] = []

    def stop(address: str | None) -> None:
        seen[:] = [path.name for path in there.iterdir()] if there is not None else []
        raise BuildError("stopped")

    there: Path | None = None
    monkeypatch.setattr(ray_driver, "connected", stop)
    recipe = cli.recipe()
    command = ("build", recipe, *FLAT, "--engine", "ray", "--out", f"file://{tmp_path}/store")
    command += ("--shards", part) if part else ()
    assert "stopped" in cli(*command).output
    there = next((tmp_path / "store").glob(".synthkit/small-*/shards"))
    assert not list(there.iterdir())
    others = {".ray-2-of-2-00ff.tmp", "notes.tmp", "train-00000.tar"}
    for name in {".ray-1-of-1-00ff.tmp", ".ray-1-of-2-00ff.tmp", *others}:
        (there / name).touch()
    assert "stopped" in cli(*command).output
    mark = next(name for name in seen if re.fullmatch(r"\.ray-\d-of-\d-[0-9a-f]{16}\.tmp", name))
    kept = others | {".ray-1-of-1-00ff.tmp"} if part else others - {".ray-2-of-2-00ff.tmp"}
    assert set(seen) == kept | {mark}
    assert {path.name for path in there.iterdir()} == kept


def test_a_shard_of_other_inputs_at_an_address_is_refused(cli: Cli, tmp_path: Path) -> None:
    recipe, store = cli.recipe(), tmp_path / "store"
    assert cli("build", recipe, *FLAT).exit_code == 0
    shutil.copytree(cli.folder / ".synthkit", store / ".synthkit")
    command = ("build", recipe, *FLAT, "--engine", "ray", "--out", f"file://{store}")
    assert "4 of 4 shards are there, 0 images made now" in cli(*command).output
    sidecar = next(store.glob(".synthkit/small-*/shards/train-00002.json"))
    stated = json.loads(sidecar.read_bytes())
    stated["origin"]["digest"] = "0" * 64
    sidecar.write_text(json.dumps(stated))
    result = cli(*command)
    assert result.exit_code == 1
    assert (
        f"{sidecar.with_suffix('.tar')}: was made from another recipe or other real images" in result.output
    )
