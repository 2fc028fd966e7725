"""Changes a recipe so that its release grows: what an earlier version asked for is written into it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import semver

from synthkit.builder.growth import (
    as_yaml,
    class_faults,
    entries,
    generation_differences,
    prompt_faults,
    targets,
)
from synthkit.builder.inputs import prompts_of
from synthkit.config.yaml_file import YAML_ERRORS, plain_data
from synthkit.errors import BuildError
from synthkit.recipe import text as recipe_text
from synthkit.recipe.init import in_order
from synthkit.recipe.load import load
from synthkit.recipe.sampler import AUTO
from synthkit.release.manifest import read_manifest
from synthkit.release.plan import balance, block_counts, block_faults
from synthkit.release.recipe_file import read_recipe
from synthkit.sources import open_source
from synthkit.system.files import write_file
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Grown:
    """What a recipe asks for now: its version, and how many images are kept and are new."""

    name: str
    before: str
    version: str
    kept: int
    new: int
    added_classes: tuple[str, ...]


def grow_recipe(path: Path, release: Path, target: int | None, version: str | None) -> Grown:
    """Write into a recipe that it continues a release; its comments stay.

    `target` is the new target, by default the one in the recipe; `version` the new version, by default the
    next minor one. Raises BuildError, RecipeError or ReleaseError, and changes nothing, if the recipe cannot
    continue the release or would add no image to it.
    """
    recipe, manifest = load(path), read_manifest(release)
    _check_continues(recipe, release, manifest)
    earlier = read_recipe(release)
    classes = open_source(recipe.source).listing.classes
    before = [item.name for item in manifest.classes]
    order, added = _order(classes, before)
    blocks = targets(earlier, len(before))
    counted = "target_per_class" if earlier.synthetic_per_class is None else "synthetic_per_class"
    asked = target or getattr(recipe, counted)
    if asked is None or asked < blocks[-1][0] or (asked == blocks[-1][0] and not added):
        given = f"--target {target}" if target else f"{counted} {asked}"
        raise BuildError(
            f"{given}: {manifest.name} {manifest.version} has {blocks[-1][0]:,} already; give a larger "
            "--target, or add classes to the real images"
        )
    changes = {
        "version": version or _next(recipe, manifest),
        counted: asked,
        "grown": entries(blocks, len(classes)),
        **({"source.class_order": order} if order else {}),
    }
    grown = load(
        path, [f"{field}={json.dumps(value, ensure_ascii=False)}" for field, value in changes.items()]
    )
    if semver.Version.parse(grown.version) <= manifest.version:
        raise BuildError(f"--version {grown.version}: must be above {manifest.version}, the earlier version")
    listing = open_source(grown.source).listing
    prompts_of(grown.with_prompts(), listing)
    # With skipped images, only a build knows how many there are.
    faults = () if manifest.skipped else class_faults(listing, manifest)
    counts = block_counts(grown, balance(grown, listing))
    fault = next(chain(faults, block_faults(grown, counts)), None)
    if fault is not None:
        raise BuildError(f"{release}: cannot grow: {fault}")
    _write(path, grown, changes)
    kept, every = counts[-2].sum(), counts[-1].sum()
    return Grown(grown.name, manifest.version, grown.version, int(kept), int(every - kept), tuple(added))


def _check_continues(recipe: Recipe, release: Path, manifest: Manifest) -> None:
    """Raise BuildError if a release is not a whole one of this format, or its images were made otherwise."""
    if manifest.format_version < FORMAT_VERSION or manifest.partial is not None:
        what = "is a preview" if manifest.partial else f"has format {manifest.format_version}"
        raise BuildError(
            f"{release}: {what}; only a whole release of format {FORMAT_VERSION} or later can grow"
        )
    earlier = read_recipe(release)
    if recipe.sampler.batch_size == AUTO:
        # The build measures it, and refuses another size than the earlier one.
        recipe = recipe.model_copy(update={"sampler": earlier.sampler})
    recipe = _with_classifier_of(recipe, earlier)
    for name, now, then in generation_differences(recipe, earlier):
        raise BuildError(
            f"{release}: was made with {name} {then}, the recipe says {now}; a release grows only by images "
            "that are made alike: change it back, or give the recipe another name"
        )
    for fault in prompt_faults(recipe, earlier, manifest):
        raise BuildError(
            f"{release}: {fault}; only classes that are added may have any: change them back, or give the "
            "recipe another name"
        )


def _with_classifier_of(recipe: Recipe, earlier: Recipe) -> Recipe:
    """Return a recipe with the content of an earlier version's classifier, if it leaves that to training.

    The build finds it or trains it, and refuses another one than the earlier one.
    """
    feedback, before = recipe.sampler.feedback, earlier.sampler.feedback
    if feedback is None or before is None or feedback.classifier.path is not None:
        return recipe
    sha256 = feedback.classifier.sha256 or before.classifier.sha256
    classifier = feedback.classifier.model_copy(update={"sha256": sha256})
    sampler = {"feedback": feedback.model_copy(update={"classifier": classifier})}
    return recipe.model_copy(update={"sampler": recipe.sampler.model_copy(update=sampler)})


def _order(now: tuple[str, ...], before: list[str]) -> tuple[list[str], list[str]]:
    """Return the classes that must come first, if they would not by themselves, and the added classes.

    Raises BuildError if a class of the release is gone.
    """
    added = list(now)
    for name in before:
        if name not in added:
            raise BuildError(f"source: class {name!r} of the release is missing; a release keeps its classes")
        added.remove(name)
    return ([] if list(now[: len(before)]) == before else before), added


def _next(recipe: Recipe, manifest: Manifest) -> str:
    if semver.Version.parse(recipe.version) > manifest.version:
        return recipe.version
    return str(semver.Version.parse(manifest.version).bump_minor())


def _write(path: Path, recipe: Recipe, changes: Mapping[str, Any]) -> None:
    """Write changed fields into the file of a recipe. Raises BuildError if its form does not allow that."""
    before = path.read_text(encoding="utf-8")
    wanted = plain_data(before)
    for field, value in changes.items():
        section, _, name = field.rpartition(".")
        (wanted.setdefault(section, {}) if section else wanted)[name] = value
    try:
        text = _changed(before, recipe, changes)
        written = plain_data(text) == wanted
    except YAML_ERRORS:
        written = False
    if not written:
        # The whole recipe may be in braces, for example.
        raise BuildError(
            f"{path}: cannot be changed in its form; write these fields into it yourself: "
            f"{as_yaml(dict(changes))[1:-1]}"
        )
    write_file(path, text.encode())


def _changed(before: str, recipe: Recipe, fields: Iterable[str]) -> str:
    text = recipe_text.read(before)
    data: dict[str, Any] = in_order(recipe)
    for field in fields:
        recipe_text.put(text.entries, field.split("."), data)
    return str(text)
