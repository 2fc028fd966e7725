"""Checks a release folder: every byte against its manifest, and everything that readers rely on.

The manifest names every file with its SHA-256 and carries a seal over itself. Records, labels, images,
Parquet, card, recipe and counts must agree with each other. Every fault is reported, not only the first.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.errors import RecipeError, ReleaseError, one_line
from synthkit.recipe.load import load_complete
from synthkit.recipe.portable import unportable
from synthkit.release.captions import find_captions
from synthkit.release.files import FILES, MANIFEST, PUT_THERE_BY_TOOLS, RECIPE, TOKENS
from synthkit.release.learned_tokens import read_tokens, words_of
from synthkit.release.manifest import leads_elsewhere, unlisted
from synthkit.release.places import Received
from synthkit.system.progress import progress
from synthkit.verification.checks import CHECKS, Known
from synthkit.verification.collected import Collected, ShardSummary, contradicting
from synthkit.verification.content_credentials import require_c2pa
from synthkit.verification.faults import Fault, FaultLog, total
from synthkit.verification.manifest import STATED, against_recipe, filter_faults, misnamed_files, own_faults
from synthkit.verification.record_rules import RecordRules
from synthkit.verification.shard import ShardReport, check_shard
from synthkit.verification.table_rows import TableRows

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import FileFacts
    from synthkit.release.manifest import Manifest

_CHUNK = 1 << 20


def refuse_damaged(
    release: Path, manifest: Manifest, advice: str, *, name: str | None = None, but: Container[str] = ()
) -> None:
    """Verify a release, showing progress, and raise ReleaseError if it is not what its manifest says.

    The error names the first fault, says how many more there are, and ends with `advice`. `name` is what
    the user calls the release; by default, its folder. Faults of the files in `but` do not count: the caller
    is about to replace them.
    """
    faults = [fault for fault in verify_with_progress(release, manifest) if fault.path not in but]
    if not faults:
        return
    called, more = name or str(release), total(faults) - 1
    others = f" (and {more:,} more: synthkit verify {called} lists all)" if more else ""
    raise ReleaseError(f"{called}: {faults[0].path}: {faults[0].reason}{others}; {advice}")


def verify_with_progress(release: Path, manifest: Manifest, *, deep: bool = False) -> list[Fault]:
    """Verify a release while a progress bar counts its bytes; return what `verify_release` returns."""
    with progress("verifying", manifest.size / 1e3, unit="kB") as advance:
        return verify_release(release, manifest, lambda count: advance(count / 1e3), deep=deep)


def verify_release(
    release: Path, manifest: Manifest, advance: Callable[[int], None], *, deep: bool = False
) -> list[Fault]:
    """Check every file of a release, on all cores; `advance` is called with the number of bytes read.

    `deep` also decodes every image. Return the faults in the order of the files. Of faults that repeat,
    the first ten are listed, and one more entry says how many others there are. Raises SignatureError if the
    images are signed and the packages are missing that check this.
    """
    if manifest.c2pa is not None:
        require_c2pa(f"{release}: its images are signed (C2PA), and checking them needs")
    log = FaultLog()
    log.add(MANIFEST, _manifest(release, manifest))
    for name in unlisted(release, manifest):
        if name.split("/")[0] not in PUT_THERE_BY_TOOLS:
            log.add(name, ["is not in the manifest"])
    recipe = _recipe(release, manifest, log)
    collected = _read_files(release, manifest, recipe, log, advance, deep=deep)
    _check_across_shards(manifest, collected, log)
    if recipe is not None:
        known = Known(
            manifest,
            recipe,
            collected.records,
            collected.audit,
            _is_quotable(manifest, log),
            deep,
            collected.pixels(manifest.images),
        )
        _check_derived(release, known, log)
    return log.all()


def _read_files(
    release: Path,
    manifest: Manifest,
    recipe: Recipe | None,
    log: FaultLog,
    advance: Callable[[int], None],
    *,
    deep: bool,
) -> Collected:
    """Read every file once: compare its hash, and check what each shard holds and its rows in the table."""
    rules = None if recipe is None else _rules(release, manifest, recipe)
    collected = Collected.begin(release, manifest)
    tables = _tables(release, manifest)
    firsts = _first_indices(manifest)

    def check(file: FileFacts) -> tuple[list[str], ShardSummary | None]:
        reasons = list(_check_file(release, file, advance))
        if file.images is None or not _is_file(release / file.path):
            return reasons, None
        number, first = firsts[file.path]
        report = check_shard(release / file.path, first, manifest, deep=deep)
        reasons += _complete(report, file)
        table = tables[manifest.table_of(number)]
        summary = ShardSummary(first, list(table.differences(number, report.records)), report.labels)
        if rules is not None:
            reasons += rules.faults(number, first, report.records)
            summary.read(rules, report.records, collected.wanted)
        if report.pixels:
            summary.pixels = np.stack(report.pixels)
        return reasons, summary

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, (reasons, summary) in zip(manifest.files, pool.map(check, manifest.files), strict=True):
            log.add(file.path, reasons)
            if summary is not None:
                log.add(manifest.table_of(firsts[file.path][0]), summary.row_faults)
                collected.shards.append(summary)
    for path, table in tables.items():
        log.add(path, table.faults())
    return collected


def _rules(release: Path, manifest: Manifest, recipe: Recipe) -> RecordRules:
    captions = find_captions(Received(release, manifest, recipe, frozenset()))
    return RecordRules(recipe, manifest, captions, _words(release, manifest, recipe))


def _words(release: Path, manifest: Manifest, recipe: Recipe) -> dict[int, str] | None:
    """Return the words of the release's learned tokens; None if there are none, or none can be read."""
    if recipe.tokens is None or leads_elsewhere(release, manifest, TOKENS):
        return None
    try:
        return words_of(read_tokens(release / TOKENS))
    except ReleaseError:
        return None


def _tables(release: Path, manifest: Manifest) -> dict[str, TableRows]:
    """Return the rows of every table of records, by its path."""
    tables, first = {}, 0
    for path, images in manifest.tables().items():
        tables[path] = TableRows(release / path, images, manifest.format_version, first)
        first += len(images)
    return tables


def _check_across_shards(manifest: Manifest, collected: Collected, log: FaultLog) -> None:
    """Check what no single shard shows: counts, real images at two places, the size of an embedding."""
    labels = sum((shard.labels for shard in collected.shards), Counter[int]())
    if labels.total() == manifest.images:
        # If images are missing, the shard that lacks them is reported already.
        log.add(MANIFEST, _counts(manifest, labels))
    if manifest.filters is not None and all(shard.filters is not None for shard in collected.shards):
        log.add(MANIFEST, filter_faults(manifest.filters, [shard.filters for shard in collected.shards]))
    paths = {first: path for path, (_, first) in _first_indices(manifest).items()}
    firsts = sorted(paths)
    for index, reason in contradicting(collected.shards):
        log.add(paths[firsts[bisect_right(firsts, index) - 1]], [reason])


def _check_derived(release: Path, known: Known, log: FaultLog) -> None:
    """Check the files that follow from the manifest, the recipe and the records."""
    named = {file.path for file in known.manifest.files}
    for file in FILES:
        check = CHECKS.get(file.check)
        # A file whose size or hash is wrong is reported already.
        if check is None or log.has(file.name) or not _is_file(release / file.name):
            continue
        if file.required or file.name in named or not file.in_manifest:
            log.add(file.name, check(release / file.name, known))


def _is_quotable(manifest: Manifest, log: FaultLog) -> bool:
    """Return whether what the card and the metadata quote is complete and free of faults."""
    quoted = (MANIFEST, *manifest.tables(), *(shard.path for shard in manifest.shards))
    complete = manifest.method in METHODS and manifest.classes and manifest.environment.keys() >= STATED
    return bool(complete) and not any(log.has(path) for path in quoted)


def _manifest(release: Path, manifest: Manifest) -> Iterator[str]:
    """Check the manifest against itself: its seal, the files it must name, its totals."""
    if (release / MANIFEST).read_bytes() != manifest.to_json():
        yield "was edited: it is not written as manifests are"
    elif manifest.seal != manifest.sealed().seal:
        yield "was edited: its seal does not fit"
    yield from misnamed_files(manifest)
    yield from own_faults(manifest)


def _recipe(release: Path, manifest: Manifest, log: FaultLog) -> Recipe | None:
    """Return the recipe if its digest is the one that the manifest and every record name; else None."""
    path = release / RECIPE
    if not _is_file(path) or leads_elsewhere(release, manifest, RECIPE):
        # The check of its SHA-256 reports it.
        return None
    try:
        recipe = load_complete(path)
    except RecipeError as error:
        log.add(RECIPE, [one_line(str(error).replace(f"{path}: ", ""), longest=None)])
        return None
    if faults := list(unportable(recipe)):
        # To compute its digest, files that it names would have to be opened.
        log.add(RECIPE, faults)
        return None
    source, generator = manifest.source, manifest.generator
    digest = recipe.digest(
        listing_digest=source.digest,
        model=generator.name,
        revision=generator.revision,
        form=manifest.format_version,
        pool=manifest.pool_digest,
    )
    for name in ("name", "version", "summary", "license", "released"):
        if getattr(recipe, name) != getattr(manifest, name):
            log.add(RECIPE, [f"{name} is {getattr(recipe, name)!r:.64}, not the manifest's"])
    if digest != manifest.recipe_digest:
        log.add(RECIPE, [f"has digest {digest[:16]}, the manifest {manifest.recipe_digest[:16]:.16}"])
        # Compared with another recipe, every record would be reported.
        return None
    log.add(MANIFEST, against_recipe(manifest, recipe))
    if manifest.format_version > 1:
        wanted = recipe.generation_digest(revision=generator.revision, pool=manifest.pool_digest)
        if wanted != manifest.generation_digest:
            log.add(
                MANIFEST, [f"says generation_digest is {manifest.generation_digest[:16]}, not {wanted[:16]}"]
            )
    return recipe


def _first_indices(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Return, by the path of each shard, its number and the index of its first image."""
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
        # No file can have this name: it is too long, for example.
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
            yield f"says class {item.label} has {item.synthetic} images, the shards hold {labels[item.label]}"
