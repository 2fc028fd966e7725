"""What the fuzz tests need: a world to write in, mutations, and what must never happen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from synthkit.errors import ReleaseError, SynthkitError
from synthkit.recipe.load import load
from synthkit.recipe.schema import Recipe
from synthkit.release.files import MANIFEST
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.release.plan import balance
from synthkit.sources import open_source
from synthkit.system.files import sha256_of
from synthkit.verification.faults import Fault
from synthkit.verification.verify import verify_release
from tests.helpers.paths import ROOT

RELEASE = ROOT / "tests" / "data" / "release-format-1"
SHARD = "data/train-00000-of-00001.tar"
TABLE = "provenance/train.parquet"
KEYS = ("000000000", "000000001")
SHIPPED = sorted(path.name for path in (ROOT / "recipes").glob("*.yaml"))
FULL = """\
name: mine
source:
  kind: digits
  max_per_class: 8
  imbalance_factor: 4
  groups: {many_above: 6, few_below: 4}
  exclude: [digits/1745]
prompt: "{name}"
target_per_class: 12
conditioning:
  method: dropout
  dropout: 0.5
model: {id: builtin:tiny-unclip-digits}
sampler: {steps: 3, guidance_scale: 2.0}
output: {format: jpeg, quality: 90, shard_size: 24}
hub: {repo_id: me/mine}
seed: 7
"""
# The first finds its images on any machine.
BASES = [FULL] * len(SHIPPED) + [(ROOT / "recipes" / name).read_text() for name in SHIPPED]

# Of the process, so that a busy machine is no failure.
MOST_SECONDS = 3.0
HUGE = [2**31, 2**63, 10**30, -1, -(2**63), 10**400]
SNIPPETS = [
    *("&a", "*a", "*b", "&a [*a]", "<<: *a", "!!python/object/apply:os.system [id]", "!!binary x"),
    *("!!set {a}", "? ", ": ", "- ", "{", "}", "[", "]", "[" * 2000, "{a: " * 500, "|", ">", "'", '"', "#"),
    *("%YAML 9.9\n", "---\n", "...\n", "\t", "\r", "\0", "\x1b[2J", "\x85", "\ufeff", "\ud7ff", "\U0001f600"),
    *("null", "~", "yes", ".nan", ".inf", "1e999", "0x" + "f" * 4000, "9" * 5000, "1:" * 3000 + "1"),
    *("2024-13-45", "2024-01-01", "extends: mine.yaml", "extends: .", "extends: ../..", "extends: [a]"),
    *("extends: /dev/zero", "{name!r}", "{0}", "../../x", "/etc/passwd", "~nobody/x", "x" * 5000),
]


@dataclass(frozen=True)
class World:
    """A folder with all that a case may touch; `release` lies three deep in it, for names with `..`."""

    root: Path

    @property
    def release(self) -> Path:
        return self.root / "a" / "b" / "release"

    @property
    def recipes(self) -> Path:
        return self.root / "recipes"

    def copy(self) -> None:
        """A whole release again."""
        shutil.rmtree(self.release, ignore_errors=True)
        shutil.copytree(RELEASE, self.release)

    def reseal(self, path: str) -> None:
        """Make the manifest fit a changed file."""
        manifest, target = read_manifest(RELEASE), self.release / path
        facts = {"bytes": target.stat().st_size, "sha256": sha256_of(target)}
        files = [file.model_copy(update=facts if file.path == path else {}) for file in manifest.files]
        sealed = manifest.model_copy(update={"files": files}).sealed()
        (self.release / MANIFEST).write_bytes(sealed.to_json())

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """What happens inside must be quick and write nothing."""
        before, started = self._listing(), time.process_time()
        yield
        assert time.process_time() - started < MOST_SECONDS
        assert self._listing() == before

    def _listing(self) -> dict[str, tuple[int, int]]:
        states = {path.relative_to(self.root).as_posix(): path.lstat() for path in self.root.rglob("*")}
        return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


def verified(world: World, *, deep: bool = True) -> list[Fault]:
    """The faults of the release; one if it has no manifest to read."""
    with world.unharmed():
        try:
            manifest = read_manifest(world.release)
        except ReleaseError as error:
            return [Fault(MANIFEST, str(error))]
        return verify_release(world.release, manifest, lambda count: None, deep=deep)


def traced(world: World) -> int:
    """How many of the release's images can be read."""
    count = 0
    with world.unharmed():
        for key in KEYS:
            try:
                read_image(world.release, read_manifest(world.release), key)
                count += 1
            except SynthkitError:
                pass
    return count


def loaded(world: World, path: Path, *overrides: str) -> None:
    """Load a recipe and, if it is one, count what it would make."""
    with world.unharmed():
        try:
            opened(load(path, overrides))
        except SynthkitError as error:
            assert str(error)


def opened(recipe: Recipe) -> None:
    places = [value for value in vars(recipe.source).values() if isinstance(value, str)]
    if any(is_there(place) for place in places):
        # It happens to name a folder of this machine, such as `/`.
        return
    balance(recipe, open_source(recipe.source).listing)


def is_there(place: str) -> bool:
    try:
        return place not in ("", ".") and Path(place).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


# Values.

texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(SNIPPETS)
numbers = st.integers() | st.floats() | st.sampled_from(HUGE)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
plausible = (
    st.integers(0, 20)
    | st.floats(0, 2)
    | st.sampled_from(
        [
            "digits",
            "test",
            "cutmix",
            "dropout",
            "png",
            "webp",
            "one",
            "validation",
            "skip",
            ["one", "two"],
            [1, 3],
        ]
    )
)
odd_keys = st.sampled_from([{1: 2}, {None: 1}, {1.5: 2}])
yaml_values = plausible | json_values | st.dates() | st.binary(max_size=8) | odd_keys


def put_somewhere(data: st.DataObject, document: Any, values: st.SearchStrategy[Any]) -> None:
    """Replace, remove, add or repeat one value, at any depth."""
    places = list(containers(document))
    node = data.draw(st.sampled_from(places))
    keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
    how = data.draw(st.sampled_from(["replace", "remove", "add", "repeat"] if keys else ["add"]))
    key = data.draw(st.sampled_from(keys)) if keys else 0
    match how, node:
        case "remove", _:
            del node[key]
        case "add", dict():
            node[data.draw(texts)] = deepcopy(data.draw(values))
        case "add", _:
            node.append(deepcopy(data.draw(values)))
        case "repeat", list():
            node.append(deepcopy(node[key]))
        case _:
            node[key] = deepcopy(data.draw(values))


def containers(node: Any) -> Iterator[Any]:
    if isinstance(node, (dict, list)):
        yield node
        for value in node.values() if isinstance(node, dict) else node:
            yield from containers(value)


def with_bytes_changed(data: st.DataObject, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(0, len(changed) - 1)))
        length = data.draw(st.sampled_from([0, 1, 1, 1, 4, 100]))
        changed[start : start + length] = data.draw(st.binary(max_size=4))
    return bytes(changed)
