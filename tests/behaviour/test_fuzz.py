"""Whatever a recipe or a release holds: one kind of error, every damage told, nothing written, no long wait.

The cases of the normal suite are the same in every run; `pytest -m slow` searches on, at random.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkit.errors import RecipeError, SynthkitError
from synthkit.recipe.load import load
from synthkit.release.files import MANIFEST
from synthkit.release.manifest import Manifest
from tests.helpers.fuzzing import (
    BASES,
    FULL,
    KEYS,
    RELEASE,
    ROOT,
    SHARD,
    SHIPPED,
    SNIPPETS,
    TABLE,
    World,
    json_values,
    loaded,
    opened,
    plausible,
    put_somewhere,
    texts,
    traced,
    verified,
    with_bytes_changed,
    yaml_values,
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    import datasets
    import huggingface_hub

    # A recipe may name any data set of the Hub.
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    world = World(tmp_path / "world")
    shutil.copytree(ROOT / "recipes", world.recipes)
    empty = world.root / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    world.copy()
    # Imports and caches are no part of a case's time.
    assert verified(world) == []
    with pytest.raises(SynthkitError):
        opened(load(world.recipes / "cifar10_lt_ecd.yaml"))
    opened(load(world.recipes / "digits_lt_ecd.yaml"))
    return world


# The properties.


def a_recipe_with_other_text(world: World, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(BASES))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.sampled_from([0, 0, 1, 3, 30])))
        lines = text.splitlines(keepends=True)
        what = data.draw(st.sampled_from(["snippet", "text", "value", "line twice", "line away"]))
        if what in ("snippet", "text"):
            new = data.draw(st.sampled_from(SNIPPETS) if what == "snippet" else st.text(max_size=5))
            text = text[:start] + new + text[stop:]
        elif lines:
            line = data.draw(st.integers(0, len(lines) - 1))
            key, colon, _ = lines[line].partition(":")
            replaced = f"{key}{colon} {data.draw(st.sampled_from(SNIPPETS))}\n"
            lines[line] = {"value": replaced, "line twice": lines[line] * 2, "line away": ""}[what]
            text = "".join(lines)
    path = world.recipes / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    loaded(world, path)


def a_recipe_with_other_bytes(world: World, data: st.DataObject) -> None:
    raw = (ROOT / "recipes" / data.draw(st.sampled_from(SHIPPED))).read_bytes()
    path = world.recipes / "mine.yaml"
    path.write_bytes(with_bytes_changed(data, raw))
    loaded(world, path)


def a_recipe_with_another_value(world: World, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(BASES))
    recipe = yaml.safe_load(text)
    for _ in range(data.draw(st.integers(1, 2))):
        put_somewhere(data, recipe, yaml_values)
    path = world.recipes / "mine.yaml"
    path.write_text(yaml.dump(recipe, Dumper=Plain, allow_unicode=data.draw(st.booleans())), encoding="utf-8")
    loaded(world, path)


class Plain(yaml.SafeDumper):
    """Writes values out, without anchors, which recipes may not have."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


FIELDS = [
    *("name", "source", "source.kind", "source.groups.many_above", "source.classes", "source.subset"),
    *("source.exclude", "source.halve", "source.shots", "source.long_tail.imbalance_factor", "prompt"),
    *("target_per_class", "synthetic_per_class", "conditioning.method", "conditioning.dropout", "model.id"),
    *("model.revision", "sampler.guidance_scale", "sampler.steps", "output.quality", "hub.repo_id", "seed"),
    *("summary", "version", "extends", "filters", "filters.max_draws", "hub.private", "source.max_per_class"),
]


WELL_MEANT = [
    *("seed=5", "prompt=a {name}", "target_per_class=40", "target_per_class=1", "synthetic_per_class=3"),
    *(
        "source.part=test",
        "source.part=pretrain",
        "source.subset=[1, 3]",
        "source.subset=[99]",
        "source.shots=1",
    ),
    *(
        "source.shots=999",
        "source.trial=2",
        "source.classes={one: two}",
        "source.classes=[one]",
        "summary=1.0",
    ),
    *("source.classes=[none]", "source.halve={}", "source.halve.part=validation", "source.limit_per_class=1"),
    *(
        "source.long_tail.imbalance_factor=5",
        "source.exclude=[x]",
        "source.groups.many_above=0",
        "hub.repo_id=",
    ),
    *("source.kind=folder", "source.root=x", "source.kind=hub", "source.id=x", "source.on_error=skip"),
]


def an_override(world: World, data: st.DataObject) -> None:
    def one() -> str:
        if data.draw(st.booleans()):
            return data.draw(st.sampled_from(WELL_MEANT))
        field = data.draw(st.sampled_from(FIELDS) | texts)
        aliased = st.sampled_from(["[&a [*a], *a]", "&a {a: *a}"])
        value = data.draw(plausible.map(str) | texts | json_values.map(repr) | aliased)
        odd = [field, f"={value}", f"{field}.x={value}"]
        return data.draw(st.sampled_from([f"{field}={value}"] * 8 + odd))

    path = world.recipes / "mine.yaml"
    path.write_text(FULL)
    loaded(world, path, *(one() for _ in range(data.draw(st.sampled_from([1, 1, 2, 3])))))


def a_manifest_with_another_value(world: World, data: st.DataObject) -> None:
    document = json.loads((RELEASE / MANIFEST).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        put_somewhere(data, document, json_values)
    # As another program would write it: lone surrogates and NaN among it.
    text = json.dumps(document, indent=2, ensure_ascii=data.draw(st.booleans()))
    raw = text.encode("utf-8", "surrogatepass") + b"\n"
    manifest = world.release / MANIFEST
    manifest.write_bytes(raw)
    faults = verified(world)
    assert faults or raw == (RELEASE / MANIFEST).read_bytes()
    if faults and faults[0].reason.startswith("was edited"):
        # The same with a seal that fits; most of these are faults, but a new summary is a new summary.
        manifest.write_bytes(Manifest.model_validate_json(raw).sealed().to_json())
        verified(world)


def a_manifest_with_other_bytes(world: World, data: st.DataObject) -> None:
    raw = (RELEASE / MANIFEST).read_bytes()
    changed = with_bytes_changed(data, raw)
    (world.release / MANIFEST).write_bytes(changed)
    assert verified(world) or changed == raw


def a_parquet_file_with_other_bytes(world: World, data: st.DataObject) -> None:
    """Under a manifest that fits; what Parquet leaves unread may differ."""
    raw = (RELEASE / TABLE).read_bytes()
    (world.release / TABLE).write_bytes(with_bytes_changed(data, raw))
    world.reseal(TABLE)
    verified(world)


def a_recipe_of_a_release(world: World, data: st.DataObject) -> None:
    raw = (RELEASE / "recipe.yaml").read_bytes()
    (world.release / "recipe.yaml").write_bytes(with_bytes_changed(data, raw))
    world.reseal("recipe.yaml")
    verified(world)


Members = list[tuple[tarfile.TarInfo, bytes]]


def members() -> Members:
    with tarfile.open(RELEASE / SHARD) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]


def a_record(world: World, data: st.DataObject) -> None:
    """Under a manifest that fits."""
    found = members()
    place = data.draw(st.sampled_from([1, 4]))
    raw = found[place][1]
    changed = data.draw(st.sampled_from(RECORDS_CHANGED))(data, raw)
    found[place] = (found[place][0], changed)
    write_tar(world, found)
    assert verified(world) or changed == raw
    assert traced(world) <= len(KEYS)


def value_in_record(data: st.DataObject, raw: bytes) -> bytes:
    record = json.loads(raw)
    put_somewhere(data, record, json_values)
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=data.draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


def key_repeated(data: st.DataObject, raw: bytes) -> bytes:
    key, value = data.draw(st.sampled_from(sorted(json.loads(raw).items())))
    again = json.dumps({key: data.draw(st.just(value) | json_values)}, separators=(",", ":"))[1:-1].encode()
    return data.draw(st.sampled_from([raw[:-1] + b"," + again + b"}", b"{" + again + b"," + raw[1:]]))


def raw_value_in_record(data: st.DataObject, raw: bytes) -> bytes:
    key = data.draw(st.sampled_from(sorted(json.loads(raw))))
    values = [b"9" * 10_000, b"1e999", b"-1e-999", b"NaN", b"[" * 50_000, b'{"a":' * 50_000, b"0" * 400_000]
    values += [
        b'"\x00"',
        b'"\x1b[2J"',
        b'"\\u001b[2J\\ud800"',
        b'"\xff"',
        b'""',
        b"[[[]]]",
        b"9223372036854775808",
    ]
    return raw.replace(
        f'"{key}":'.encode(), f'"{key}":'.encode() + data.draw(st.sampled_from(values)) + b",", 1
    )


def bytes_in_record(data: st.DataObject, raw: bytes) -> bytes:
    return with_bytes_changed(data, raw)


def space_in_record(data: st.DataObject, raw: bytes) -> bytes:
    return data.draw(
        st.sampled_from([b"", b" " + raw, raw + b"\n", b"\xef\xbb\xbf" + raw, raw * 2, raw + b" " * 10**6])
    )


RECORDS_CHANGED: list[Callable[[st.DataObject, bytes], bytes]] = [
    value_in_record,
    key_repeated,
    raw_value_in_record,
    bytes_in_record,
    space_in_record,
]


def write_tar(world: World, found: Members) -> None:
    with tarfile.open(world.release / SHARD, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in found:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    world.reseal(SHARD)


TYPES = [
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
    tarfile.DIRTYPE,
]
TYPES += [tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b"Z", b"\xff"]


def a_tar(world: World, data: st.DataObject) -> None:
    """Under a manifest that fits."""
    archive = bytearray()
    changed = data.draw(st.integers(0, 5))
    how = data.draw(st.sampled_from(["name", "type", "size", "sparse", "header", "second", "bomb"]))
    for place, (member, content) in enumerate(members()):
        block = header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
        if place == changed:
            names = [
                "../../x",
                "../../../../x",
                f"{world.root}/x",
                "/etc/passwd",
                "a/../b",
                ".",
                "",
                "\x1b[2J",
            ]
            match how:
                case "name":
                    set_field(header, 0, 100, data.draw(st.sampled_from(names)).encode())
                case "type":
                    header[156:157] = data.draw(st.sampled_from(TYPES))
                    targets = [*names, member.name, "000000001.json", f"../{member.name}"]
                    set_field(header, 157, 100, data.draw(st.sampled_from(targets)).encode())
                case "size":
                    sizes = [b"7" * 11, b"77777777777", b"-1", b"", b"\xff" * 12, b"12345"]
                    sizes.append(b"\x80" + (10**10).to_bytes(11))
                    set_field(header, 124, 12, data.draw(st.sampled_from(sizes)))
                case "sparse":
                    block = sparse(member, data.draw(st.sampled_from([1, 10**10, 2**62])))
                case "header":
                    at = data.draw(st.integers(0, 511))
                    header[at] ^= 1 << data.draw(st.integers(0, 7))
                case "second":
                    block = block + content + bytes(-len(content) % 512) + block
            if how not in ("sparse", "second"):
                checksum(header)
        archive += block + content + bytes(-len(content) % 512)
    archive += bytes(1024)
    archive += bytes(-len(archive) % tarfile.RECORDSIZE)
    if how == "bomb":
        import gzip

        archive = bytearray(gzip.compress(bytes(archive) + bytes(10**7)))
    path = world.release / SHARD
    path.write_bytes(archive)
    world.reseal(SHARD)
    whole = bytes(archive) == (RELEASE / SHARD).read_bytes()
    assert verified(world) or whole
    assert traced(world) <= len(KEYS)


def set_field(header: bytearray, start: int, size: int, value: bytes) -> None:
    header[start : start + size] = value[:size].ljust(size, b"\0")


def checksum(header: bytearray) -> None:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)


def sparse(member: tarfile.TarInfo, size: int) -> bytearray:
    """The header of a member that claims to be of any size, nearly all of it holes."""
    info = tarfile.TarInfo(member.name)
    info.size = member.size
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": f"0,{member.size}",
    }
    info.pax_headers["GNU.sparse.size"] = str(size)
    return bytearray(info.tobuf(tarfile.PAX_FORMAT))


PROPERTIES: dict[Callable[[World, st.DataObject], None], int] = {
    a_recipe_with_other_text: 50,
    a_recipe_with_other_bytes: 20,
    a_recipe_with_another_value: 50,
    an_override: 40,
    a_manifest_with_another_value: 40,
    a_manifest_with_other_bytes: 20,
    a_recipe_of_a_release: 10,
    a_parquet_file_with_other_bytes: 10,
    a_record: 30,
    a_tar: 30,
}
every_property = pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)


@every_property
def test_three_hundred_cases(world: World, holds: Callable[[World, st.DataObject], None]) -> None:
    search(world, holds, PROPERTIES[holds], derandomize=True)


@pytest.mark.slow
@every_property
def test_five_thousand_cases(world: World, holds: Callable[[World, st.DataObject], None]) -> None:
    search(world, holds, PROPERTIES[holds] * 5000 // sum(PROPERTIES.values()), derandomize=False)


def search(
    world: World, holds: Callable[[World, st.DataObject], None], cases: int, *, derandomize: bool
) -> None:
    @settings(
        max_examples=cases,
        derandomize=derandomize,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.data())
    def case(data: st.DataObject) -> None:
        world.copy()
        holds(world, data)

    case()


# What the search has found.


def test_a_path_too_long_for_any_file_is_a_fault(world: World) -> None:
    document = json.loads((RELEASE / MANIFEST).read_bytes())
    document["files"].append({"path": "x" * 5000, "bytes": 1, "sha256": "0" * 64, "images": None})
    (world.release / MANIFEST).write_bytes(Manifest.model_validate(document).sealed().to_json())
    reasons = [fault.reason for fault in verified(world)]
    assert reasons == [f"names {'x' * 5000}, which no release has", "is missing"]


def test_a_file_that_is_named_twice_and_classes_out_of_order_are_faults(world: World) -> None:
    document = json.loads((RELEASE / MANIFEST).read_bytes())
    document["files"].append(document["files"][0])
    document["classes"][0]["label"] = 1
    (world.release / MANIFEST).write_bytes(Manifest.model_validate(document).sealed().to_json())
    reasons = [fault.reason for fault in verified(world)]
    assert reasons == ["names README.md 2 times", "does not number its classes 0, 1, 2 …"]


def test_of_a_huge_recipe_no_more_is_read_than_a_recipe_has(world: World) -> None:
    with (world.release / "recipe.yaml").open("r+b") as stream:
        stream.truncate(3 << 30)
    reasons = " ".join(fault.reason for fault in verified(world))
    assert "is more than 1,000,000 bytes long; that is not a recipe" in reasons


LAUGHS = ", ".join(f"&{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    "overrides",
    [
        ("seed=0x" + "f" * 4000,),
        ("source.kind=0:", "source.root=x"),
        ("source.kind=[a]", "source.root={"),
        ("seed=&a [*a]",),
        ("seed=[&a [1, 1], " + LAUGHS + "]",),
    ],
)
def test_settings_that_once_were_an_accident(world: World, overrides: tuple[str, ...]) -> None:
    path = world.recipes / "mine.yaml"
    path.write_text(FULL)
    with world.unharmed(), pytest.raises(RecipeError):
        load(path, overrides)


@pytest.mark.parametrize(
    "change",
    [{"type": tarfile.SYMTYPE, "linkname": "000000000.json"}, {"type": tarfile.DIRTYPE}, {"sparse": 10**10}],
    ids=["link to itself", "folder", "holes"],
)
def test_a_member_that_is_no_plain_file_is_not_read(world: World, change: dict[str, Any]) -> None:
    member, content = members()[1]
    if "sparse" in change:
        header = sparse(member, change["sparse"])
    else:
        for name, value in change.items():
            setattr(member, name, value)
        header, content = bytearray(member.tobuf(tarfile.USTAR_FORMAT)), b""
    (world.release / SHARD).write_bytes(header + content + bytes(-len(content) % 512 + 1024))
    world.reseal(SHARD)
    assert traced(world) == 0
    assert verified(world)
