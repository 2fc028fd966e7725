"""Checks a release folder: every byte against its manifest, and everything that readers rely on.

The manifest names every file with its SHA-256 and seals itself; records, labels, images, Parquet,
card, recipe and counts must agree with each other. Every fault is told, not the first.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from synthkit.errors import RecipeError
from synthkit.manifest import MANIFEST, RECIPE, leads_elsewhere, unlisted
from synthkit.portable import unportable
from synthkit.progress import progress
from synthkit.recipe_file import load_complete
from synthkit.records import Provenance
from synthkit.shards import SPLIT, shard_name, table_of
from synthkit.verify_shard import ShardReport, check_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow.parquet as pq

    from synthkit.manifest import FileFacts, Manifest

RECORDS = f"provenance/{SPLIT}.parquet"
_AUDIT = ("audit.json", "audit.png")
# Of the environment that a manifest states, what the card tells.
_STATED = frozenset({"device", "synthkit", "torch", "diffusers"})
_REQUIRED = ("README.md", "croissant.json", RECORDS, RECIPE, "samples.png")
# What git, DVC and the Hub's client keep beside the files of a copy.
_THEIRS = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".dvc", ".huggingface"})
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and in which file."""

    path: str
    reason: str


def verify_release(
    release: Path, manifest: Manifest, advance: Callable[[int], None], *, deep: bool = False
) -> list[Fault]:
    """Check every file of a release, on all cores; `advance` is told of bytes.

    `deep` also decodes every image. Returns every fault, in the order of the files.
    """
    faults = [*_manifest(release, manifest), *_strays(release, manifest), *_recipe(release, manifest)]
    rows = _Rows(release / RECORDS, len(manifest.shards))
    firsts = _first_indices(manifest)
    labels: Counter[int] = Counter()

    def check(file: FileFacts) -> tuple[list[Fault], ShardReport | None]:
        found = list(_check_file(release, file, advance))
        if file.images is None or not _is_file(release / file.path):
            return found, None
        number, first = firsts[file.path]
        report = check_shard(release / file.path, first, manifest, deep=deep)
        found += [Fault(file.path, reason) for reason in _complete(report, file)]
        found += [Fault(RECORDS, reason) for reason in rows.differences(number, report.records)]
        return found, ShardReport(labels=report.labels)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, report in pool.map(check, manifest.files):
            faults += found
            labels += report.labels if report else Counter()
    return [*faults, *rows.faults(), *_counts(manifest, labels)]


def _manifest(release: Path, manifest: Manifest) -> Iterator[Fault]:
    """The manifest against itself: its seal, the files it must name, its totals."""
    if (release / MANIFEST).read_bytes() != manifest.to_json():
        yield Fault(MANIFEST, "was edited: it is not written as manifests are")
    elif manifest.seal != manifest.sealed().seal:
        yield Fault(MANIFEST, "was edited: its seal does not fit")
    yield from named_files(manifest)
    for name in sorted(_STATED - manifest.environment.keys()):
        yield Fault(MANIFEST, f"does not say with which {name} it was made")
    for name, times in Counter(file.path for file in manifest.files).items():
        if times > 1:
            yield Fault(MANIFEST, f"names {name} {times} times")
    if [item.label for item in manifest.classes] != list(range(len(manifest.classes))):
        yield Fault(MANIFEST, "does not number its classes 0, 1, 2 …")
    if [shard.path for shard in manifest.shards] != sorted(shard.path for shard in manifest.shards):
        yield Fault(MANIFEST, "names shards out of order")
    in_shards = sum(shard.images or 0 for shard in manifest.shards)
    in_classes = sum(item.synthetic for item in manifest.classes)
    if not manifest.images == in_shards == in_classes:
        yield Fault(
            MANIFEST,
            f"counts differ: {manifest.images} images, {in_shards} in shards, {in_classes} in classes",
        )


def named_files(manifest: Manifest) -> Iterator[Fault]:
    """Files that a manifest lacks, and those that no release has: nothing else is ever fetched or trusted."""
    named = {file.path for file in manifest.files}
    shards = len(manifest.shards)
    wanted = {*_REQUIRED, *(f"data/{shard_name(shard, shards)}" for shard in range(shards))}
    for name in sorted(wanted - named):
        yield Fault(MANIFEST, f"does not name {name}")
    for name in sorted(named - wanted - {*_AUDIT}):
        yield Fault(MANIFEST, f"names {name}, which no release has")


def verified(release: Path, manifest: Manifest, *, deep: bool = False) -> list[Fault]:
    """`verify_release` with its progress shown."""
    with progress("verifying", manifest.size / 1e3, unit="kB") as advance:
        return verify_release(release, manifest, lambda count: advance(count / 1e3), deep=deep)


def _strays(release: Path, manifest: Manifest) -> Iterator[Fault]:
    for name in unlisted(release, manifest):
        if name.split("/")[0] not in _THEIRS:
            yield Fault(name, "is not in the manifest")


def _recipe(release: Path, manifest: Manifest) -> Iterator[Fault]:
    """The recipe must be the one that the manifest and every record name by its digest."""
    path = release / RECIPE
    if not path.is_file() or leads_elsewhere(release, manifest, RECIPE):
        # Its SHA-256 is told to be wrong.
        return
    try:
        recipe = load_complete(path)
    except RecipeError as error:
        yield Fault(RECIPE, " ".join(str(error).replace(f"{path}: ", "").split()))
        return
    faults = [Fault(RECIPE, reason) for reason in unportable(recipe)]
    if faults:
        # Its digest would read a classifier's file.
        yield from faults
        return
    source, generator = manifest.source, manifest.generator
    digest = recipe.digest(listing_digest=source.digest, model=generator.name, revision=generator.revision)
    if digest != manifest.recipe_digest:
        yield Fault(RECIPE, f"has digest {digest[:16]}, the manifest {manifest.recipe_digest[:16]}")
    for name in ("name", "version", "summary", "license"):
        if getattr(recipe, name) != getattr(manifest, name):
            yield Fault(RECIPE, f"{name} is {getattr(recipe, name)!r:.64}, not the manifest's")


def _first_indices(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Of each shard, its number and the index of its first image."""
    firsts: dict[str, tuple[int, int]] = {}
    index = 0
    for number, file in enumerate(manifest.shards):
        firsts[file.path] = (number, index)
        index += file.images or 0
    return firsts


def _check_file(release: Path, file: FileFacts, advance: Callable[[int], None]) -> Iterator[Fault]:
    path = release / file.path
    if not _is_file(path):
        yield Fault(file.path, "is missing")
        return
    size = path.stat().st_size
    if size != file.bytes:
        yield Fault(file.path, f"has {size:,} bytes, the manifest says {file.bytes:,}")
        return
    try:
        digest = _sha256(path, advance)
    except OSError as error:
        yield Fault(file.path, f"cannot be read: {error.strerror}")
        return
    if digest != file.sha256:
        yield Fault(file.path, f"has sha256 {digest}, the manifest says {file.sha256}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name that is too long for any file, say.
        return False


def _sha256(path: Path, advance: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _complete(report: ShardReport, file: FileFacts) -> Iterator[str]:
    yield from report.faults
    if len(report.records) != file.images:
        yield f"holds {len(report.records)} images, the manifest says {file.images}"


def _counts(manifest: Manifest, labels: Counter[int]) -> Iterator[Fault]:
    if labels.total() != manifest.images:
        # The shard that lacks them has been told.
        return
    for item in manifest.classes:
        if labels[item.label] != item.synthetic:
            yield Fault(
                MANIFEST,
                f"class {item.label} has {item.synthetic} images there, {labels[item.label]} in shards",
            )


class _Rows:
    """The Parquet file of records, whose row groups are the shards."""

    def __init__(self, path: Path, shards: int) -> None:
        self._path, self._shards = path, shards
        self._lock = Lock()
        self._file: pq.ParquetFile | None = None
        self._fault = ""
        self._open()

    def _open(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from synthkit.records import arrow_schema

        if not self._path.is_file():
            return
        try:
            file = pq.ParquetFile(self._path)
            if not file.schema_arrow.equals(arrow_schema()):
                self._fault = "its columns are not those of provenance records"
            elif file.num_row_groups != self._shards:
                self._fault = f"it has {file.num_row_groups} row groups for {self._shards} shards"
            else:
                self._file = file
        except (pa.ArrowException, OSError, ValueError) as error:
            self._fault = f"it is not a Parquet file: {' '.join(str(error).split())[:200]}"

    def faults(self) -> Iterator[Fault]:
        """What is wrong with the file as a whole."""
        if self._fault:
            yield Fault(RECORDS, self._fault)

    def differences(self, shard: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Rows of a shard that are not the records in it."""
        import pyarrow as pa

        if self._file is None:
            return
        try:
            with self._lock:
                table = self._file.read_row_group(shard)
            known = [record for record in records if record is not None]
            if len(known) == len(records) and table.equals(table_of(known)):
                return
            found = [msgspec.convert(row, Provenance) for row in table.to_pylist()]
        except (pa.ArrowException, OSError, ValueError) as error:
            yield f"the rows of shard {shard} cannot be read: {' '.join(str(error).split())[:200]}"
            return
        if len(found) != len(records):
            yield f"has {len(found)} rows for shard {shard}, in which {len(records)} images were found"
        for row, record in zip(found, records, strict=False):
            if record is not None and row != record:
                yield f"the row of {record.key} is not its record"
