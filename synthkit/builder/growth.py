"""Grows a release: the shards of an earlier version are taken as they are, and only what is new is made.

They come from the work folder of the earlier version, or from its release folder, which is verified first.
"""

from __future__ import annotations

import hashlib
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import semver
import yaml

from synthkit.builder.shard_plans import ShardPlans
from synthkit.errors import BuildError, ReleaseError
from synthkit.recipe.digest import fields_in_generation_digest
from synthkit.release.diff import flat_fields
from synthkit.release.manifest import read_manifest
from synthkit.release.prompts import first_source
from synthkit.release.recipe_file import read_recipe
from synthkit.release.record_table import RecordTable
from synthkit.release.records import KINDS, key_of
from synthkit.release.seeds import attempt_seed
from synthkit.release.shards import Origin, ShardFacts, adopt, finished, take
from synthkit.system.names import printable
from synthkit.verification.verify import refuse_damaged
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.workspace import Workspace
    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import FileFacts
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance
    from synthkit.sources.base import Listing

_AGAIN = (
    "the earlier version must be as it was published: get it again with synthkit pull, or make all images "
    "anew with --fresh"
)
_ANEW = "give the recipe another name, or remove grown to make all images anew"


def take_earlier(work: Workspace, inputs: Inputs, release: Path, *, named: bool) -> None:
    """Put the shards of earlier blocks into a work folder, as far as they are found.

    `release` is the folder of the earlier version, or of this one, which is to be written again. Unless the
    user `named` it, it may be missing; then the earlier images are made again. Raises BuildError or
    ReleaseError if it was changed, or if it is not a version of this release.
    """
    manifest, missing = None, ""
    try:
        manifest = read_manifest(release)
    except ReleaseError as error:
        if named:
            raise
        missing = str(error)
    if manifest is not None:
        _refuse(_faults(inputs, release, manifest), release, manifest, "a version")
    blocks = inputs.plan.blocks
    done, newest = work.finished(), len(inputs.recipe.grown)
    wanted = [number for number in work.numbers if blocks.block_of(number) < newest and number not in done]
    if not wanted:
        return
    plans = ShardPlans(inputs)
    others = [folder for folder in _work_folders(work, inputs) if folder != work.shards]
    wanted = [number for number in wanted if not _from_work_folders(others, work, inputs, plans, number)]
    if not wanted:
        return
    if manifest is None:
        _say(f"no earlier version to take images from ({missing}); the earlier images are made again")
        return
    refuse_damaged(release, manifest, _AGAIN)
    images = sum(_from_release(work, inputs, plans, release, manifest, wanted))
    _say(f"{release}: took {images:,} images of version {manifest.version} as they are")


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def check_earlier(inputs: Inputs, release: Path, manifest: Manifest) -> None:
    """Raise BuildError, which says why, if a release is not an earlier version of the one to be built."""
    faults = chain(_faults(inputs, release, manifest), _not_earlier(inputs, release, manifest))
    _refuse(faults, release, manifest, "an earlier version")


def _refuse(faults: Iterator[str], release: Path, manifest: Manifest, what: str) -> None:
    fault = next(faults, None)
    if fault is not None:
        raise BuildError(f"{release}: version {manifest.version} is not {what} of this release: {fault}")


def targets(recipe: Recipe, classes: int) -> list[tuple[int, int]]:
    """Return the target and the number of classes of each block, given how many classes there are now."""
    now = recipe.target_per_class or recipe.synthetic_per_class or 0
    return [*((item.target, item.classes or classes) for item in recipe.earlier), (now, classes)]


def entries(blocks: list[tuple[int, int]], classes: int) -> list[Any]:
    """Return targets with their numbers of classes as a recipe's `grown` has them.

    `classes` is how many there are now: a version with as many is told by its target alone.
    """
    return [target if count == classes else {"target": target, "classes": count} for target, count in blocks]


def as_yaml(value: dict[str, Any] | list[Any]) -> str:
    """Return a section or list as it stands in one line of a recipe."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=2**16)
    return text.strip()


def generation_differences(one: Recipe, other: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that decides images and differs between two recipes, with both values."""
    ours, theirs = (
        dict(flat_fields(fields_in_generation_digest(recipe.pinned()))) for recipe in (one, other)
    )
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield name, ours.get(name), theirs.get(name)


def _faults(inputs: Inputs, release: Path, manifest: Manifest) -> Iterator[str]:
    recipe = inputs.recipe
    if manifest.format_version < FORMAT_VERSION:
        yield f"it has format {manifest.format_version}, and releases grow from format {FORMAT_VERSION} on"
        return
    if manifest.partial is not None:
        yield "it is a preview"
    earlier = read_recipe(release)
    if manifest.generation_digest != inputs.generation_digest:
        for name, now, then in generation_differences(recipe, earlier):
            yield f"{name} is {now} now, and was {then}; {_ANEW}"
        yield f"the model is another one now: it was {manifest.generator.revision}; {_ANEW}"
    if manifest.generator.name != inputs.checkpoint.name:
        yield f"its model is called {manifest.generator.name}; keep that in model.id"
    for name in ("shard_size", "container"):
        then, now = getattr(earlier.output, name), getattr(recipe.output, name)
        if then != now:
            yield f"output.{name} is {now} now, and was {then}; earlier shards stay as they are"
    if (earlier.target_per_class is None) is not (recipe.target_per_class is None):
        yield "one counts by target_per_class, the other by synthetic_per_class; stay with the earlier one"
    yield from class_faults(inputs.real.listing, manifest)
    yield from (f"{fault}; {_ANEW}" for fault in prompt_faults(recipe, earlier, manifest))
    yield from _target_faults(inputs, manifest, earlier)


def _target_faults(inputs: Inputs, manifest: Manifest, earlier: Recipe) -> Iterator[str]:
    """Yield why the blocks of a release are not those of this one: the shorter list must begin the longer."""
    then, now = _targets_then_and_now(inputs, manifest, earlier)
    both = min(len(then), len(now))
    if then[:both] != now[:both]:
        wanted = as_yaml(entries(then, len(inputs.real.listing.classes)))
        yield f"grown must begin with {wanted}, which that version asked for; synthkit grow writes it"
    if len(then) < len(now) and semver.Version.parse(inputs.recipe.version) <= manifest.version:
        yield f"version is {inputs.recipe.version}; raise it"


def _not_earlier(inputs: Inputs, release: Path, manifest: Manifest) -> Iterator[str]:
    then, now = _targets_then_and_now(inputs, manifest, read_recipe(release))
    if len(then) >= len(now):
        what = "as many images" if then == now else "more images"
        yield f"it asked for {what}; raise the target by synthkit grow, or replace it with --overwrite"


def _targets_then_and_now(
    inputs: Inputs, manifest: Manifest, earlier: Recipe
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    now = len(inputs.real.listing.classes)
    return targets(earlier, len(manifest.classes)), targets(inputs.recipe, now)


def class_faults(listing: Listing, manifest: Manifest) -> Iterator[str]:
    """Yield the first class of a release that has another label now, or more or fewer real images."""
    counts = [0] * len(listing.classes)
    for label in listing.labels.tolist():
        counts[label] += 1
    for item in manifest.classes:
        name = listing.classes[item.label] if item.label < len(listing.classes) else "missing"
        if name != item.name:
            yield (
                f"its class {item.label} is {item.name!r:.64}, and now is {name!r:.64}; classes keep their "
                "labels: synthkit grow puts new ones behind them"
            )
            return
        if counts[item.label] != item.real:
            yield (
                f"class {item.name!r:.64} had {item.real:,} real images and has {counts[item.label]:,}: "
                "with others the same seeds would choose other images; give the recipe another name"
            )
            return


def prompt_faults(recipe: Recipe, earlier: Recipe, manifest: Manifest) -> Iterator[str]:
    """Yield the first class of a release whose images would now draw from other prompts.

    Those of classes that are added may be any. Captions are compared image by image, with the records.
    """
    now = recipe.with_prompts()
    for item in manifest.classes:
        ours, theirs = now.templates_for(item.name), earlier.templates_for(item.name)
        if ours != theirs:
            yield f"the prompts of class {item.name!r:.64} are {ours!s:.80} now, and were {theirs!s:.80}"
            return


def _work_folders(work: Workspace, inputs: Inputs) -> list[Path]:
    """Return the folders of finished shards of all builds of this name."""
    return sorted(work.folder.parent.glob(f"{inputs.recipe.name}-*/shards"))


def _from_work_folders(
    others: Sequence[Path], work: Workspace, inputs: Inputs, plans: ShardPlans, number: int
) -> bool:
    """Link a shard from the work folder of another version, if one has it finished."""
    digest, plan = inputs.generation_digest, plans.digest(number)
    for other in others:
        facts = finished(other, work.name(number))
        if facts is not None and (facts.origin.digest, facts.plan) == (digest, plan):
            adopt(other, facts, work.shards)
            return True
    return False


def _from_release(
    work: Workspace,
    inputs: Inputs,
    plans: ShardPlans,
    release: Path,
    manifest: Manifest,
    wanted: Collection[int],
) -> Iterator[int]:
    """Link the wanted shards from the release of another version; yield the number of images of each.

    Verification has found their records to be those of the tables. Raises BuildError if a shard holds other
    images than are planned now.
    """
    shards, form, number = manifest.shards, manifest.format_version, 0
    tables = zip(manifest.tables().items(), manifest.environments, strict=True)
    for (path, images), environment in tables:
        table = RecordTable(release / path, images, form)
        origin = Origin(inputs.generation_digest, environment)
        for group in range(len(images)):
            if number in wanted:
                records = [msgspec.convert(row, KINDS[form]) for row in table.read(group).to_pylist()]
                _check_records(inputs, release / shards[number].path, number, records)
                _take(work, plans, release, shards[number], number, records, origin)
                yield len(records)
            number += 1


def _check_records(inputs: Inputs, shard: Path, number: int, records: Sequence[Provenance]) -> None:
    """Raise BuildError if the records of a shard are not those of the images that are planned for it."""
    for index, record in zip(inputs.plan.indices(number), records, strict=True):
        row = inputs.plan.row(index)
        seed = attempt_seed(row.seed, record.attempt)
        planned = (key_of(index), row.label, row.seed, inputs.real.named(row.sources))
        if (record.key, record.label, record.seed, record.sources) != planned:
            raise BuildError(
                f"{shard}: {key_of(index)} was made from other real images than there are now; "
                "bring those back, or give the recipe another name"
            )
        fault = inputs.prompts.fault(record.prompt, row.label, seed, first_source(record))
        if fault:
            raise BuildError(
                f"{shard}: {key_of(index)} was made with the prompt {record.prompt!r:.64}, {fault} now; "
                "bring its captions back, or give the recipe another name"
            )


def _take(
    work: Workspace,
    plans: ShardPlans,
    release: Path,
    file: FileFacts,
    number: int,
    records: Sequence[Provenance],
    origin: Origin,
) -> None:
    """Link one shard of a release into a work folder, with its records and sidecar."""

    def facts(table: bytes) -> ShardFacts:
        return ShardFacts(
            name=work.name(number),
            images=len(records),
            bytes=file.bytes,
            sha256=file.sha256,
            records_bytes=len(table),
            records_sha256=hashlib.sha256(table).hexdigest(),
            origin=origin,
            plan=plans.digest(number),
        )

    take(release / file.path, records, work.shards, facts)
