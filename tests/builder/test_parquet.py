"""Builds of releases in Parquet: in parts, at an address, stopped, grown; always the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from synthkit.builder.drafts import draft_path
from synthkit.builder.folder_shards import FolderShards
from synthkit.builder.remote_shards import RemoteShards
from synthkit.release.manifest import read_manifest
from tests.conftest import FLAT, Cli, digests

PARQUET = (*FLAT, "--set", "output.container=parquet")


def ok(cli: Cli, *command: str | Path) -> str:
    result = cli(*command)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(cli: Cli, *command: str | Path) -> str:
    result = cli(*command)
    assert result.exit_code == 1, result.output
    return str(result.output.strip().splitlines()[-1])


def test_parts_at_an_address_are_the_whole(cli: Cli, parquet_release: Path) -> None:
    recipe = cli.recipe()
    for part in ("1/2", "2/2"):
        ok(cli, "build", recipe, *PARQUET, "--shards", part)
    (folder,) = cli.folder.glob(".synthkit/*/shards")
    assert sorted(path.name for path in folder.iterdir() if path.stem == "train-00000") == [
        "train-00000.json",
        "train-00000.parquet",
        "train-00000.records",
    ]
    address = RemoteShards(f"file://{cli.folder}/store")
    for facts in FolderShards(folder).sidecars().values():
        assert facts is not None
        address.deliver(folder, facts, lambda: None)
    shutil.rmtree(cli.folder / ".synthkit")
    ok(cli, "merge", recipe, *PARQUET, address.url)
    assert digests(cli.folder / "releases" / "small") == digests(parquet_release)


def test_a_damaged_shard_is_made_again(cli: Cli, parquet_release: Path) -> None:
    recipe = cli.recipe()
    ok(cli, "build", recipe, *PARQUET)
    shutil.rmtree(cli.folder / "releases")
    (shard,) = cli.folder.glob(".synthkit/*/shards/train-00001.parquet")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    draft_path(shard.parent, shard.name).write_bytes(b"left over")
    (shard.parent / f".{shard.name}.00000000.tmp").write_bytes(b"half")
    assert "24 of them made now" in ok(cli, "build", recipe, *PARQUET)
    assert digests(cli.folder / "releases" / "small") == digests(parquet_release)
    assert {path.suffix for path in shard.parent.iterdir()} == {".parquet", ".records", ".json"}


def test_it_grows_as_tars_do(cli: Cli, parquet_release: Path) -> None:
    release = cli.folder / "releases" / "small"
    shutil.copytree(parquet_release, release)
    recipe = cli.recipe()
    text = recipe.read_text().replace("tiny-unclip-digits", "flat-colours")
    recipe.write_text(text.replace("shard_size: 24", "shard_size: 24\n  container: parquet"))
    ok(cli, "grow", recipe, "--target", "13")
    told = ok(cli, "build", recipe)
    assert "86 images in 5 shard(s), 10 of them made now" in told
    before, after = digests(parquet_release), digests(release)
    kept = {path for path in before if path.startswith(("data/", "provenance/"))}
    assert len(kept) == 5 and all(after[path] == before[path] for path in kept)
    assert "intact" in ok(cli, "verify", release, "--deep")
    assert len(pd.read_parquet(release / "data")) == 86


def test_a_release_does_not_grow_in_another_container(cli: Cli, flat_release: Path) -> None:
    release = cli.folder / "releases" / "small"
    shutil.copytree(flat_release, release)
    recipe = cli.recipe("version: 1.3.0", "target_per_class: 13", "grown: [12]")
    told = refused(cli, "build", recipe, *PARQUET)
    assert "output.container is parquet now, and was tar; earlier shards stay as they are" in told
    assert digests(release) == digests(flat_release)


@pytest.mark.parametrize("both", ["[tar, parquet]", "tar+parquet"])
def test_a_recipe_with_both_containers_is_refused_in_one_line(cli: Cli, both: str) -> None:
    told = refused(cli, "build", cli.recipe(), *FLAT, "--set", f"output.container={both}")
    assert "output.container: must be one of tar, parquet; is" in told


def test_the_card_and_the_manifest_state_the_container(parquet_release: Path) -> None:
    assert read_manifest(parquet_release).container == "parquet"
    card = (parquet_release / "README.md").read_text()
    assert "path: data/train-*.parquet" in card
    assert "webdataset" not in card.lower()
    assert "container: parquet" in (parquet_release / "recipe.yaml").read_text()
