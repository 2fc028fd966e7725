"""Compares two releases: recipe, environment, counts and images."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from synthkit.errors import ReleaseError
from synthkit.release.record_table import RecordTables, UnreadableRecords
from synthkit.system.environment import changed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest

_SHOWN = 10
# Characters of a value that are shown.
_LONGEST = 300
# The key says where an image stands in its release; the mark in the image file repeats it.
_PLACE = ("key", "image_sha256")
# The fields of a recipe that change when a release grows.
_GROWTH = frozenset({"grown", "version", "target_per_class", "synthetic_per_class", "source.class_order"})
_DIGESTS = frozenset({"recipe_digest", "generation_digest"})


@dataclass(slots=True)
class _Images:
    same: int = 0
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    fields: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs between two releases.

    Images are matched by class and seed. A matched image is the same if its files are equal, `moved` if only
    its key differs (and the mark in its file, which repeats the key), and `changed` otherwise. Keys are those
    of the newer release; for removed images, those of the older.
    """

    versions: tuple[str, str]
    recipe: dict[str, tuple[Any, Any]]
    environment: list[str]
    classes: dict[str, tuple[int, int]]
    same: int
    added: list[str]
    removed: list[str]
    moved: list[str]
    changed: list[str]
    changed_fields: dict[str, int]
    blocks: tuple[int, int] = (1, 1)

    @property
    def grown(self) -> bool:
        """Whether the newer release holds all images of the older one as they were, and new blocks."""
        lost = self.removed or self.moved or self.changed
        return self.blocks[1] > self.blocks[0] and bool(self.added) and not lost

    def to_json(self) -> dict[str, Any]:
        """Return the difference as plain data."""
        return {**asdict(self), "grown": self.grown}


def difference(old: tuple[Path, Manifest, Recipe], new: tuple[Path, Manifest, Recipe]) -> Difference:
    """Compare two releases by their manifests, recipes and records.

    Raises ReleaseError if a table of records cannot be read.
    """
    recipes = [dict(flat_fields(item[2].model_dump(mode="json"))) for item in (old, new)]
    fields = sorted(recipes[0].keys() | recipes[1].keys())
    counts = [{item.name: item.synthetic for item in release[1].classes} for release in (old, new)]
    before, after = _table(*old[:2]), _table(*new[:2])
    images = _images(before, after)
    return Difference(
        versions=(f"{old[1].name} {old[1].version}", f"{new[1].name} {new[1].version}"),
        recipe={
            field: (recipes[0].get(field), recipes[1].get(field))
            for field in fields
            if recipes[0].get(field) != recipes[1].get(field)
        },
        environment=changed(old[1].environment, new[1].environment),
        classes={
            name: (counts[0].get(name, 0), counts[1].get(name, 0))
            for name in sorted(counts[0].keys() | counts[1].keys())
            if counts[0].get(name, 0) != counts[1].get(name, 0)
        },
        same=images.same,
        added=images.added,
        removed=images.removed,
        moved=images.moved,
        changed=images.changed,
        changed_fields=dict(images.fields),
        blocks=(1 + len(old[1].grown), 1 + len(new[1].grown)),
    )


def as_text(found: Difference) -> str:
    """Write the difference for people, one line for each thing that differs."""
    lines = [f"{found.versions[0]} -> {found.versions[1]}"]
    lines += [f"  recipe {line}" for line in _fields(found.recipe)]
    lines += [f"  made with {text}" for text in found.environment]
    lines += [f"  class {name}: {a:,} -> {b:,} images" for name, (a, b) in _some(found.classes)]
    if found.grown:
        alone = found.recipe.keys() <= _GROWTH and not found.environment
        rest = "nothing else changed" if alone else f"the {found.same:,} images before are the same"
        return "\n".join([*lines, f"  grown by {len(found.added):,} images, {rest}"])
    total = found.same + len(found.moved) + len(found.changed) + len(found.removed)
    lines.append(
        f"  images: {found.same:,} the same, {len(found.moved):,} moved, {len(found.changed):,} changed, "
        f"{len(found.added):,} added, {len(found.removed):,} removed (of {total:,} before)"
    )
    for what in ("added", "removed", "moved", "changed"):
        keys = getattr(found, what)
        if keys:
            lines.append(f"    {what}: {', '.join(keys[:_SHOWN])}{' …' if len(keys) > _SHOWN else ''}")
    if found.changed_fields:
        counted = ", ".join(f"{name} ({count:,})" for name, count in found.changed_fields.items())
        lines.append(f"    changed in: {counted}")
    return "\n".join(lines)


def _fields(changed: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    """Yield a line for each field of a recipe that changed; of the prompts of many classes, for the first."""
    prompts = [name for name in changed if name.startswith("prompts.")]
    left_out = set(prompts[_SHOWN:])
    for name, (before, after) in changed.items():
        if name not in left_out:
            yield f"{name}: {_said(before)} -> {_said(after)}"
    if left_out:
        yield f"prompts: … and those of {len(left_out):,} more classes"


def _said(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _some(classes: dict[str, tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    shown = list(classes.items())
    yield from shown[: 2 * _SHOWN]
    if len(shown) > 2 * _SHOWN:
        rest = shown[2 * _SHOWN :]
        yield f"… and {len(rest)} more", (sum(a for _, (a, _) in rest), sum(b for _, (_, b) in rest))


def flat_fields(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field of nested sections that is set, by its dotted name."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from flat_fields(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _table(release: Path, manifest: Manifest) -> pa.Table:
    import pyarrow as pa

    try:
        table = pa.concat_tables(RecordTables(release, manifest).parts())
    except UnreadableRecords as error:
        raise ReleaseError(f"{error.path}: cannot be read: {error.reason}") from None
    if len(table["key"].unique()) != len(table):
        tables = ", ".join(manifest.tables())
        raise ReleaseError(f"{release / tables}: cannot be read: it names an image twice")
    return table


def _images(before: pa.Table, after: pa.Table) -> _Images:
    """Match the images of two tables of records, and say what became of each."""
    old, new = _by_identity(before), _by_identity(after)
    names = [name for name in after.column_names if name in before.column_names and name not in _PLACE]
    found = _Images()
    for identity, row in new.items():
        key = after["key"][row].as_py()
        if identity not in old:
            found.added.append(key)
            continue
        place = old[identity]
        if before["image_sha256"][place] == after["image_sha256"][row]:
            found.same += 1
            continue
        fields = [name for name in names if before[name][place] != after[name][row]]
        if set(fields) <= _DIGESTS and before["key"][place] != after["key"][row]:
            found.moved.append(key)
        else:
            found.changed.append(key)
            found.fields.update(fields)
    found.removed.extend(before["key"][row].as_py() for identity, row in old.items() if identity not in new)
    return found


def _by_identity(table: pa.Table) -> dict[tuple[str, int], int]:
    """Return the row number of every image by its class and seed."""
    pairs = zip(table["class_name"].to_pylist(), table["seed"].to_pylist(), strict=True)
    return {pair: row for row, pair in enumerate(pairs)}
