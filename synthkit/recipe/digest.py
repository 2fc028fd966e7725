"""Which fields of a recipe enter its digest, which names a build and everything that it makes.

A new version of synthkit must find the shards and releases of an old one under the same digest. So one rule
holds in every section: the fields that the first digest was made of enter it whatever they are set to; a
field that came later enters it only where it is set to something else than its default. Each field stands in
one of the four tables below, by its dotted name; a section stands there beside its fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.recipe.schema import Recipe

PIECES = ("model", "model.adapter", "model.encoder", "model.unet")
# Complete since the first version of the digest: another name here changes the digest of every recipe.
FOUNDING_FIELDS = frozenset(
    {
        "name",
        "prompt",
        "target_per_class",
        "conditioning",
        "conditioning.method",
        "conditioning.alpha",
        "conditioning.dropout",
        "conditioning.rescale",
        "model",
        "model.dtype",
        "sampler",
        "sampler.scheduler",
        "sampler.steps",
        "sampler.guidance_scale",
        "sampler.noise_level",
        "sampler.batch_size",
        "seed",
        "output",
        "output.format",
        "output.quality",
        "output.size",
        "output.shard_size",
        # The section came later; these are the fields that it came with.
        "filters.max_draws",
        "filters.blank",
        "filters.blank.min_deviation",
        "filters.near_copy",
        "filters.near_copy.max_similarity",
        "filters.near_copy.among",
        "filters.label_agreement",
        "filters.label_agreement.max_rank",
        "filters.label_agreement.min_probability",
        "filters.label_agreement.classifier",
        "filters.label_agreement.classifier.network",
        "filters.label_agreement.classifier.sha256",
    }
)
# In the recipe.yaml of a release whenever their section is. Any other later field is there where it is set.
WRITTEN_WITH_SECTION = frozenset(
    {
        "arithmetic.channels_last",
        "arithmetic.compile",
        "arithmetic.attention",
        "arithmetic.fused_projections",
        "arithmetic.vae_slicing",
        "arithmetic.tf32",
    }
)
# In the digest only where they are set. Every new field that changes data belongs here.
LATER_FIELDS = WRITTEN_WITH_SECTION | {
    "synthetic_per_class",
    "sampler.size",
    "sampler.guidance_interval",
    "sampler.cads",
    "sampler.cads.tau1",
    "sampler.cads.tau2",
    "sampler.cads.scale",
    "sampler.cads.psi",
    "sampler.cache",
    "sampler.cache.every",
    "sampler.cache.levels",
    "sampler.feedback",
    "sampler.feedback.criterion",
    "sampler.feedback.scale",
    "sampler.feedback.every",
    "sampler.feedback.classifier",
    "sampler.feedback.classifier.network",
    "sampler.feedback.classifier.size",
    "sampler.feedback.classifier.sha256",
    "sampler.feedback.classifier.training",
    "sampler.feedback.classifier.training.steps",
    "sampler.feedback.classifier.training.batch_size",
    "sampler.feedback.classifier.training.learning_rate",
    "conditioning.drops",
    "conditioning.scale",
    "conditioning.strength",
    "filters",
    "filters.near_duplicate",
    "filters.near_duplicate.max_similarity",
    "filters.prefer",
    "filters.prefer.draws",
    "filters.prefer.classifier",
    "filters.prefer.classifier.network",
    "filters.prefer.classifier.sha256",
    "arithmetic",
    "grown",
    "output.c2pa",
    "output.c2pa.fingerprints",
    "output.container",
    "model.adapter",
    "model.adapter.scale",
    "model.encoder",
    "model.unet",
    "prompts",
    "captions",
    "captions.sha256",
    "retrieval",
    "tokens",
    "tokens.steps",
    "tokens.learning_rate",
    "tokens.batch_size",
    "tokens.vectors",
    "tokens.initial_word",
}
# In the digest by what they lead to (the real images with their hashes, those that may be retrieved, the
# model's content, the hashes of the classifier, of captions and of certificates), so that a moved folder
# changes nothing. A section here stands for all of its fields.
# A later field of `source` must default to null, which the recipe.yaml of a release leaves out.
BY_CONTENT = frozenset(
    {
        "source",
        "retrieval.source",
        "model.id",
        "model.revision",
        "model.sha256",
        *(f"model.adapter.{name}" for name in ("id", "revision", "sha256", "file")),
        *(f"model.encoder.{name}" for name in ("id", "revision", "sha256", "folder")),
        *(f"model.unet.{name}" for name in ("id", "revision", "sha256", "file")),
        "filters.label_agreement.classifier.checkpoint",
        "filters.prefer.classifier.checkpoint",
        "sampler.feedback.classifier.checkpoint",
        "output.c2pa.certificate",
        "output.c2pa.key",
        "captions.file",
    }
)
# Never in the digest: no image depends on them.
NOT_DATA = frozenset(
    {
        *("version", "summary", "license", "released", "hub"),
        *(f"{piece}.mirrors" for piece in PIECES),
        *(f"{piece}.license" for piece in PIECES),
    }
)
# In the digest of a release, and not in that of its images: how many there are, where each lies, and of
# which prompts each has drawn its own, which its record states. They become more as classes are added.
NOT_OF_AN_IMAGE = frozenset(
    {
        "target_per_class",
        "synthetic_per_class",
        "grown",
        "output.shard_size",
        "output.container",
        "prompts",
        "captions",
    }
)


def fields_in_digest(recipe: Recipe) -> dict[str, Any]:
    """Return the fields that enter the digest with their values as JSON, sections as mappings."""
    found = _entering(recipe, recipe.model_dump(mode="json"), "")
    # The first digest named the fields of this one section by their dotted names.
    model = found.pop("model")
    return found | {f"model.{name}": value for name, value in model.items()}


def fields_in_generation_digest(recipe: Recipe) -> dict[str, Any]:
    """Return the fields that decide images, whatever their number, with their values as JSON."""
    found = fields_in_digest(recipe)
    for path in NOT_OF_AN_IMAGE:
        section, _, name = path.rpartition(".")
        (found[section] if section else found).pop(name, None)
    return found


def left_out_of_recipe_yaml(section: BaseModel, at: str = "") -> dict[str, Any]:
    """Return the later fields that are not set, nested as pydantic's `exclude`; `at` is the section's name.

    Without them the recipe.yaml of a release is, byte for byte, what it was before they came.
    """
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        path, value = f"{at}{name}", getattr(section, name)
        if path in LATER_FIELDS - WRITTEN_WITH_SECTION and not is_set(section, name):
            found[name] = True
        elif isinstance(value, BaseModel) and (inner := left_out_of_recipe_yaml(value, f"{path}.")):
            found[name] = inner
    return found


def is_set(section: BaseModel, name: str) -> bool:
    """Return whether a field has another value than its default."""
    field = type(section).model_fields[name]
    return bool(getattr(section, name) != field.get_default(call_default_factory=True))


def _entering(section: BaseModel, values: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Return the fields of one section that enter the digest; `at` is the dotted name of the section."""
    found = {}
    for name in type(section).model_fields:
        path, value = f"{at}{name}", getattr(section, name)
        if path in FOUNDING_FIELDS or (path in LATER_FIELDS and is_set(section, name)):
            inner = isinstance(value, BaseModel)
            found[name] = _entering(value, values[name], f"{path}.") if inner else values[name]
    return found
