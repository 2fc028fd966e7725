"""Checks a release folder: every byte against its manifest, and everything that readers rely on.

The manifest names every file with its SHA-256 and seals itself; records, labels, images, Parquet,
card, recipe and counts must agree with each other. Every fault is told, not the first.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS
from synthkit.errors import RecipeError
from synthkit.recipe.load import load_complete
from synthkit.recipe.portable import unportable
from synthkit.release.files import AUDIT, AUDIT_PICTURE, CARD, CROISSANT, MANIFEST, RECIPE, RECORDS, SAMPLES
from synthkit.release.manifest import leads_elsewhere, unlisted
from synthkit.release.records import key_of
from synthkit.release.shards import shard_name
from synthkit.system.progress import progress
from synthkit.verification.audit import audit_faults
from synthkit.verification.collected import Found, OfShard, contradicting
from synthkit.verification.derived_files import card_faults, croissant_faults, recipe_faults
from synthkit.verification.faults import Fault, FaultLog
from synthkit.verification.manifest import STATED, against_recipe, filter_faults, own_faults
from synthkit.verification.pictures import audit_picture_faults, samples_faults
from synthkit.verification.record_rules import RecordRules
from synthkit.verification.shard import ShardReport, check_shard
from synthkit.verification.table_rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import FileFacts, Manifest

_AUDITS = (AUDIT, AUDIT_PICTURE)
_REQUIRED = (CARD, CROISSANT, RECORDS, RECIPE, SAMPLES)
# What git, DVC and the Hub's client keep beside the files of a copy.
_THEIRS = frozenset({".git", ".gitattributes", ".gitignore", ".cache", ".dvc", ".huggingface"})
_CHUNK = 1 << 20


def verify_release(
    release: Path, manifest: Manifest, advance: Callable[[int], None], *, deep: bool = False
) -> list[Fault]:
    """Check every file of a release, on all cores; `advance` is told of bytes.

    `deep` also decodes every image. Returns the faults in the order of the files: of those that repeat,
    the first ones and how many more there are.
    """
    log = FaultLog()
    log.add(MANIFEST, _manifest(release, manifest))
    for name in unlisted(release, manifest):
        if name.split("/")[0] not in _THEIRS:
            log.add(name, ["is not in the manifest"])
    recipe = _recipe(release, manifest, log)
    rules = None if recipe is None else RecordRules(recipe, manifest)
    found = Found.begin(release, manifest)
    rows = Rows(release / RECORDS, [shard.images or 0 for shard in manifest.shards])
    firsts = _first_indices(manifest)

    def check(file: FileFacts) -> tuple[list[str], OfShard | None]:
        reasons = list(_check_file(release, file, advance))
        if file.images is None or not _is_file(release / file.path):
            return reasons, None
        number, first = firsts[file.path]
        report = check_shard(release / file.path, first, manifest, deep=deep)
        reasons += _complete(report, file)
        of_shard = OfShard(first, list(rows.differences(number, report.records)), report.labels)
        if rules is not None:
            reasons += rules.faults(first, report.records)
            of_shard.read(rules, report.records, found.wanted)
        return reasons, of_shard

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, (reasons, of_shard) in zip(manifest.files, pool.map(check, manifest.files), strict=True):
            log.add(file.path, reasons)
            if of_shard is not None:
                log.add(RECORDS, of_shard.differences)
                found.shards.append(of_shard)
    log.add(RECORDS, rows.faults())
    _across(manifest, found, log)
    if recipe is not None:
        _derived(release, manifest, recipe, found, log, deep=deep)
    return log.all()


def _across(manifest: Manifest, found: Found, log: FaultLog) -> None:
    """What the shards say together: counts, which real images stand where, how large an embedding is."""
    labels = sum((shard.labels for shard in found.shards), Counter[int]())
    if labels.total() == manifest.images:
        # Otherwise the shard that lacks some has been told.
        log.add(MANIFEST, _counts(manifest, labels))
    if manifest.filters is not None and all(shard.filters is not None for shard in found.shards):
        log.add(MANIFEST, filter_faults(manifest.filters, [shard.filters for shard in found.shards]))
    paths = {first: path for path, (_, first) in _first_indices(manifest).items()}
    firsts = sorted(paths)
    for index, reason in contradicting(found.shards):
        log.add(paths[firsts[bisect_right(firsts, index) - 1]], [reason])


def _derived(
    release: Path, manifest: Manifest, recipe: Recipe, found: Found, log: FaultLog, *, deep: bool
) -> None:
    """The files that follow from the manifest, the recipe and the records: derived again and compared."""

    def check(name: str, faults: Callable[[Path], Iterator[str]]) -> None:
        # A file of another size or content than the manifest's has been told.
        if not log.has(name) and _is_file(release / name):
            log.add(name, faults(release / name))

    example = found.records.get(key_of(0))
    if _is_quotable(manifest, log):
        if example is not None:
            check(CARD, lambda path: card_faults(path, manifest, example))
        check(CROISSANT, lambda path: croissant_faults(path, manifest))
    check(RECIPE, lambda path: recipe_faults(path, manifest, recipe))
    check(SAMPLES, lambda path: samples_faults(path, manifest, deep=deep))
    if AUDIT in {file.path for file in manifest.files}:
        audit, records = found.audit, found.records
        if audit is None:
            check(AUDIT, lambda path: iter(["is not what synthkit audit writes"]))
            return
        check(AUDIT, lambda path: audit_faults(manifest, audit, records))
        check(AUDIT_PICTURE, lambda path: audit_picture_faults(path, manifest, len(audit.pairs), deep=deep))


def _is_quotable(manifest: Manifest, log: FaultLog) -> bool:
    """Whether nothing is wrong with what card and metadata quote: it would be told again of them."""
    quoted = (MANIFEST, RECORDS, *(shard.path for shard in manifest.shards))
    whole = manifest.method in METHODS and manifest.classes and manifest.environment.keys() >= STATED
    return bool(whole) and not any(log.has(path) for path in quoted)


def _manifest(release: Path, manifest: Manifest) -> Iterator[str]:
    """The manifest against itself: its seal, the files it must name, its totals."""
    if (release / MANIFEST).read_bytes() != manifest.to_json():
        yield "was edited: it is not written as manifests are"
    elif manifest.seal != manifest.sealed().seal:
        yield "was edited: its seal does not fit"
    yield from (fault.reason for fault in named_files(manifest))
    yield from own_faults(manifest)


def named_files(manifest: Manifest) -> Iterator[Fault]:
    """Files that a manifest lacks, and those that no release has: nothing else is ever fetched or trusted."""
    named = {file.path for file in manifest.files}
    shards = len(manifest.shards)
    wanted = {*_REQUIRED, *(f"data/{shard_name(shard, shards)}" for shard in range(shards))}
    for name in sorted(wanted - named):
        yield Fault(MANIFEST, f"does not name {name}")
    for name in sorted(named - wanted - {*_AUDITS}):
        yield Fault(MANIFEST, f"names {name}, which no release has")
    for name in _AUDITS:
        if (name in named) is not (manifest.audit is not None):
            there = "names" if name in named else "does not name"
            yield Fault(MANIFEST, f"{there} {name}, and has {'no' if manifest.audit is None else 'an'} audit")


def verified(release: Path, manifest: Manifest, *, deep: bool = False) -> list[Fault]:
    """`verify_release` with its progress shown."""
    with progress("verifying", manifest.size / 1e3, unit="kB") as advance:
        return verify_release(release, manifest, lambda count: advance(count / 1e3), deep=deep)


def _recipe(release: Path, manifest: Manifest, log: FaultLog) -> Recipe | None:
    """The recipe, if it is the one that the manifest and every record name by its digest."""
    path = release / RECIPE
    if not _is_file(path) or leads_elsewhere(release, manifest, RECIPE):
        # Its SHA-256 is told to be wrong.
        return None
    try:
        recipe = load_complete(path)
    except RecipeError as error:
        log.add(RECIPE, [" ".join(str(error).replace(f"{path}: ", "").split())])
        return None
    if faults := list(unportable(recipe)):
        # Its digest would read a classifier's file.
        log.add(RECIPE, faults)
        return None
    source, generator = manifest.source, manifest.generator
    digest = recipe.digest(listing_digest=source.digest, model=generator.name, revision=generator.revision)
    for name in ("name", "version", "summary", "license"):
        if getattr(recipe, name) != getattr(manifest, name):
            log.add(RECIPE, [f"{name} is {getattr(recipe, name)!r:.64}, not the manifest's"])
    if digest != manifest.recipe_digest:
        log.add(RECIPE, [f"has digest {digest[:16]}, the manifest {manifest.recipe_digest[:16]:.16}"])
        # What follows from it would be told of every record.
        return None
    log.add(MANIFEST, against_recipe(manifest, recipe))
    return recipe


def _first_indices(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Of each shard, its number and the index of its first image."""
    firsts: dict[str, tuple[int, int]] = {}
    index = 0
    for number, file in enumerate(manifest.shards):
        firsts[file.path] = (number, index)
        index += file.images or 0
    return firsts


def _check_file(release: Path, file: FileFacts, advance: Callable[[int], None]) -> Iterator[str]:
    path = release / file.path
    if not _is_file(path):
        yield "is missing"
        return
    size = path.stat().st_size
    if size != file.bytes:
        yield f"has {size:,} bytes, the manifest says {file.bytes:,}"
        return
    try:
        digest = _sha256(path, advance)
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    if digest != file.sha256:
        yield f"has sha256 {digest}, the manifest says {file.sha256}"


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


def _counts(manifest: Manifest, labels: Counter[int]) -> Iterator[str]:
    for item in manifest.classes:
        if labels[item.label] != item.synthetic:
            yield f"class {item.label} has {item.synthetic} images there, {labels[item.label]} in shards"
