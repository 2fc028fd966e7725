"""Random single faults in a release, a thousand with `-m slow`: `verify` finds every one."""

from __future__ import annotations

import collections
import hashlib
import json
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from synthkit.errors import ReleaseError
from synthkit.release.files import table_path
from synthkit.release.manifest import read_manifest
from synthkit.verification.verify import verify_release
from tests.conftest import Cli
from tests.helpers.forging import Members, reseal, rewrite_shard


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of nine images in three shards."""
    cli = Cli(tmp_path_factory.mktemp("whole"))
    values = ("output.shard_size=3", "sampler.batch_size=3", "sampler.steps=1")
    flags = [word for value in values for word in ("--set", value)]
    assert cli("build", cli.recipe(), "--limit", "9", *flags).exit_code == 0
    return cli.folder / "releases" / "small-preview"


def is_found(release: Path) -> bool:
    try:
        return bool(verify_release(release, read_manifest(release), lambda count: None))
    except ReleaseError:
        return True


def test_the_whole_release_has_no_fault(whole: Path) -> None:
    assert not is_found(whole)


@pytest.mark.parametrize(("seed", "count"), [(4, 100), pytest.param(5, 1000, marks=pytest.mark.slow)])
def test_every_one_of_many_faults_is_found(whole: Path, tmp_path: Path, seed: int, count: int) -> None:
    rng = random.Random(seed)
    made = collections.Counter[str]()
    missed: list[str] = []
    copy = tmp_path / "copy"
    for number in range(count):
        shutil.copytree(whole, copy)
        fault = rng.choice(FAULTS)
        before = state(copy)
        what = fault(copy, rng)
        if state(copy) == before:  # the fault happened to change nothing, as swapping equal bytes
            shutil.rmtree(copy)
            continue
        made[fault.__name__] += 1
        if not is_found(copy):
            missed.append(f"{number} {fault.__name__}: {what}")
        shutil.rmtree(copy)
    print(f"{made.total()} faults made and {made.total() - len(missed)} found: {dict(made)}")
    assert missed == []
    assert made.total() > 0.95 * count
    assert len(made) == len(FAULTS)


def state(release: Path) -> dict[str, str]:
    return {
        path.relative_to(release).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in release.rglob("*")
        if path.is_file()
    }


def some_file(release: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in release.rglob("*") if path.is_file()))


def bit_flipped(release: Path, rng: random.Random) -> str:
    path = some_file(release, rng)
    raw = bytearray(path.read_bytes())
    place = rng.randrange(len(raw))
    raw[place] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    return f"{path.name} at {place}"


def truncated(release: Path, rng: random.Random) -> str:
    path = some_file(release, rng)
    raw = path.read_bytes()
    path.write_bytes(raw[: rng.randrange(len(raw))])
    return path.name


def file_missing(release: Path, rng: random.Random) -> str:
    path = some_file(release, rng)
    path.unlink()
    return path.name


def file_extra(release: Path, rng: random.Random) -> str:
    path = some_file(release, rng).parent / f"{rng.choice(['x', '.x', 'train-00003'])}.tar"
    path.write_bytes(b"")
    return path.name


def files_swapped(release: Path, rng: random.Random) -> str:
    first, second = rng.sample(sorted((release / "data").iterdir()), 2)
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    return f"{first.name} and {second.name}"


def manifest_edited(release: Path, rng: random.Random) -> str:
    path = release / "manifest.json"
    manifest = json.loads(path.read_text())
    keys: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            if isinstance(value, (dict, list)):
                collect(value)
            else:
                keys.append((node, key))

    collect(manifest)
    node, key = rng.choice(keys)
    value = node[key]
    node[key] = value + 1 if isinstance(value, int) else f"{value}x" if isinstance(value, str) else "new"
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return str(key)


# The faults below come with a manifest that fits them, as after a careful but wrong repair.


def rewritten(release: Path, rng: random.Random, change: Callable[[Members], None]) -> str:
    path = rng.choice(sorted((release / "data").iterdir()))
    rewrite_shard(release, f"data/{path.name}", change)
    return path.name


def member_removed(release: Path, rng: random.Random) -> str:
    return rewritten(release, rng, lambda members: members.pop(rng.randrange(len(members))) and None)


def member_duplicated(release: Path, rng: random.Random) -> str:
    return rewritten(
        release, rng, lambda members: members.insert(rng.randrange(len(members)), rng.choice(members))
    )


def members_reordered(release: Path, rng: random.Random) -> str:
    def swap(members: Members) -> None:
        a, b = rng.sample(range(len(members)), 2)
        members[a], members[b] = members[b], members[a]

    return rewritten(release, rng, swap)


def member_renamed(release: Path, rng: random.Random) -> str:
    names = ["../../x.png", "/etc/x.png", "000000099.png", "a/b.cls", "x" * 90]

    def rename(members: Members) -> None:
        members[rng.randrange(len(members))][0].name = rng.choice(names)

    return rewritten(release, rng, rename)


def member_stamped(release: Path, rng: random.Random) -> str:
    def stamp(members: Members) -> None:
        field, value = rng.choice([("mtime", 1), ("uid", 1000), ("gname", "me"), ("mode", 0o755)])
        setattr(members[rng.randrange(len(members))][0], field, value)

    return rewritten(release, rng, stamp)


def member_made_a_link(release: Path, rng: random.Random) -> str:
    def link(members: Members) -> None:
        member = members[rng.randrange(len(members))][0]
        member.type, member.linkname = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]), "/etc/passwd"

    return rewritten(release, rng, link)


def record_edited(release: Path, rng: random.Random) -> str:
    def edit(members: Members) -> None:
        place = 3 * rng.randrange(len(members) // 3) + 1
        record = json.loads(members[place][1])
        key = rng.choice(sorted(record))
        value = record[key]
        if isinstance(value, (int, float)):
            record[key] = value + 1
        elif isinstance(value, str):
            record[key] = value[:-1] + ("0" if value[-1:] != "0" else "1")
        else:
            record[key] = value[1:] or ["new"]
        edited = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        members[place] = (members[place][0], edited)

    return rewritten(release, rng, edit)


def image_replaced(release: Path, rng: random.Random) -> str:
    def replace(members: Members) -> None:
        members[2] = (members[2][0], members[5][1])

    return rewritten(release, rng, replace)


def label_changed(release: Path, rng: random.Random) -> str:
    def change(members: Members) -> None:
        place = 3 * rng.randrange(len(members) // 3)
        members[place] = (members[place][0], str((int(members[place][1]) + 1) % 10).encode())

    return rewritten(release, rng, change)


def parquet_rows_swapped(release: Path, rng: random.Random) -> str:
    path = release / table_path(0)
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    number = rng.randrange(len(groups))
    order = rng.choice([[1, 0, 2], [0, 2, 1], [2, 1, 0], [0, 0, 1], [0, 1]])
    groups[number] = groups[number].take(order)
    with pq.ParquetWriter(path, groups[0].schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(group)
    reseal(release, table_path(0))
    return f"shard {number}: {order}"


def recipe_edited(release: Path, rng: random.Random) -> str:
    path = release / "recipe.yaml"
    old, new = rng.choice(
        [
            ("guidance_scale: 2.0", "guidance_scale: 3.0"),
            ("seed: 7", "seed: 8"),
            ("name: small", "name: large"),
        ]
    )
    text = path.read_text()
    path.write_text(text.replace(old, new, 1))
    reseal(release, "recipe.yaml")
    return new


FAULTS = [
    bit_flipped,
    truncated,
    file_missing,
    file_extra,
    files_swapped,
    manifest_edited,
    member_removed,
    member_duplicated,
    members_reordered,
    member_renamed,
    member_stamped,
    member_made_a_link,
    record_edited,
    image_replaced,
    label_changed,
    parquet_rows_swapped,
    recipe_edited,
]
