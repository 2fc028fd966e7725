"""The `conditioning` section of a recipe: how what the generator is conditioned on is augmented."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from synthkit.conditioning import MAX_SCALE, METHODS
from synthkit.config.section import Section


def _number_or_range(value: Any) -> float | tuple[float, float]:
    """Return a weight, or the lowest and the highest of a range of weights."""
    is_range = isinstance(value, list | tuple)
    numbers = list(value) if is_range else [value]
    if len(numbers) != 1 + is_range or not all(_is_weight(number) for number in numbers):
        raise ValueError(
            f"must be a number from 0 to {MAX_SCALE:g}, or two of them as a range, is {value!r:.60}"
        )
    if not is_range:
        return float(value)
    low, high = map(float, numbers)
    if low >= high:
        raise ValueError(f"must be a range from a lower to a higher number, or one number, is {value!r:.60}")
    return low, high


def _is_weight(number: object) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return 0 <= number <= MAX_SCALE


_WEIGHT = {"type": "number", "minimum": 0, "maximum": MAX_SCALE}
ImageScale = Annotated[
    float | tuple[float, float],
    PlainValidator(_number_or_range),
    # pydantic's own serializer warns of tuples in a union.
    PlainSerializer(lambda scale: list(scale) if isinstance(scale, tuple) else scale),
    WithJsonSchema({"anyOf": [_WEIGHT, {"type": "array", "items": _WEIGHT, "minItems": 2, "maxItems": 2}]}),
]


class Conditioning(Section):
    """How the real images' conditioning is augmented (Chen et al. 2025, section 3)."""

    method: Literal[tuple(METHODS)] = Field(  # type: ignore[valid-type]
        "embed-cutmix-dropout", description="The augmentation of the conditioning; docs/method.md."
    )
    alpha: float = Field(
        1.0, gt=0, le=100, description="λ ~ Beta(alpha, alpha) for MixUp and CutMix; 1 is uniform."
    )
    dropout: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Probability with which each coordinate of the embedding is dropped; 1 drops all, which "
        "leaves the class name.",
    )
    drops: Literal["coordinates", "tokens"] = Field(
        "coordinates",
        description="What dropout drops of an embedding that has tokens: coordinates, the same ones of every "
        "token, or whole tokens.",
    )
    scale: ImageScale | None = Field(
        None,
        description="How much the image counts against the text, for models of which that can be set: a "
        "number, or a range [low, high] from which each image's seed draws.",
        examples=[[0.1, 0.9]],
    )
    rescale: bool = Field(
        False,
        description="Divide surviving coordinates by 1 - dropout. The published numbers were made without.",
    )

    @model_validator(mode="after")
    def _something_is_left_to_rescale(self) -> Self:
        if self.rescale and self.dropout == 1:
            raise ValueError(
                "rescale: divides by 1 - dropout, and dropout is 1; set rescale: false, or a lower dropout"
            )
        return self
