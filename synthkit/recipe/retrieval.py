"""The `retrieval` section of a recipe: real images of a second source, in place of synthetic ones.

Source: Geng et al., The Unmet Promise of Synthetic Training Images: Using Retrieved Real Images Performs
Better, arXiv 2406.05184.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from synthkit.conditioning import METHODS
from synthkit.config.section import Section
from synthkit.recipe.families import SourceConfig
from synthkit.recipe.sampler import STEP_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Retrieval(Section):
    """Where images are retrieved from."""

    source: SourceConfig = Field(
        description="The second source, whose images nearest to each class are taken; its labels are not "
        "used."
    )

    @field_validator("source")
    @classmethod
    def _images_to_learn_from(cls, source: SourceConfig) -> SourceConfig:
        if source.all_but_shots:
            raise ValueError("all_but_shots chooses images to score with, and none of them may be retrieved")
        return source.standing_at("retrieval.source")


def retrieval_fault(retrieval: Retrieval | None, fields: Mapping[str, Any]) -> str:
    """Return why a recipe's other fields do not go with its `retrieval`; an empty text if they do.

    `fields` has those of the recipe that are valid.
    """
    if "conditioning" not in fields:  # Reported already.
        return ""
    method = fields["conditioning"].method
    if not METHODS[method].retrieves:
        return (
            ""
            if retrieval is None
            else f"is for conditioning.method: retrieval, which is {method}; remove it"
        )
    if retrieval is None:
        return (
            "is missing: conditioning.method retrieval takes images of a second source; name it: "
            "retrieval: {source: {kind: …}}"
        )
    return next((f"goes without {name}: {why}; remove {name}" for name, why in _useless(fields)), "")


def _useless(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield fields that are set and that would do nothing to retrieved images, or cannot, with the reason."""
    sampler, output = fields.get("sampler"), fields.get("output")
    for name in STEP_FIELDS if sampler is not None else ():
        if getattr(sampler, name) is not None:
            yield f"sampler.{name}", "nothing is sampled"
    if fields["conditioning"].scale is not None:
        yield "conditioning.scale", "there is no text to weigh an image against"
    for name in ("prompts", "captions"):
        if fields.get(name) is not None:
            yield name, "nothing reads text"
    if fields.get("filters") is not None:
        yield "filters", "an image cannot be drawn again"
    if fields.get("grown"):
        yield (
            "grown",
            "with a higher target an image may go to another class, so no earlier version would stay",
        )
    if output is not None and output.c2pa is not None:
        yield "output.c2pa", "it signs that an image is generated, and these are not"
