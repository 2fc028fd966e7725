"""The `conditioning` section of a recipe: how what the generator is conditioned on is augmented."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from synthkit.conditioning import METHODS
from synthkit.config.section import Section
from synthkit.levels import MAX_SCALE, Choices
from synthkit.levels import Strength as AnyStrength


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


def _strength(value: Any) -> AnyStrength:
    """Return a strength, the lowest and the highest of a range, or choices."""
    if isinstance(value, Choices):
        value = {"choices": value.choices}
    choices = value.get("choices") if isinstance(value, dict) and len(value) == 1 else None
    is_range = isinstance(value, list | tuple) and len(value) == 2
    numbers = [*value] if is_range else [*choices] if isinstance(choices, list | tuple) else [value]
    if not numbers or not all(_is_strength(number) for number in numbers):
        raise ValueError(
            "must be a number above 0 and at most 1, a range of two, such as [0.3, 0.7], or choices, such as "
            f"{{choices: [0.25, 0.5]}}, is {value!r:.60}"
        )
    if choices is not None:
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"has a choice twice: {value!r:.60}; every one is drawn equally often")
        return Choices(tuple(map(float, numbers)))
    if not is_range:
        return float(value)
    low, high = map(float, numbers)
    if low >= high:
        raise ValueError(
            f"must be a range from a lower to a higher number, is {value!r:.60}; choices are written "
            "{choices: [0.25, 0.5]}"
        )
    return low, high


def _is_strength(number: object) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return 0 < number <= 1


def _as_json(strength: AnyStrength) -> Any:
    if isinstance(strength, Choices):
        return {"choices": list(strength.choices)}
    return list(strength) if isinstance(strength, tuple) else strength


_SHARE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
_CHOICES = {"type": "array", "items": _SHARE, "minItems": 1, "uniqueItems": True}
Strength = Annotated[
    AnyStrength,
    PlainValidator(_strength),
    PlainSerializer(_as_json),
    WithJsonSchema(
        {
            "anyOf": [
                _SHARE,
                {"type": "array", "items": _SHARE, "minItems": 2, "maxItems": 2},
                {
                    "type": "object",
                    "properties": {"choices": _CHOICES},
                    "required": ["choices"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


# Trabucco et al. 2023, section 5: four strengths, each drawn equally often.
_OWN_STRENGTH = {"da-fusion": Choices((0.25, 0.5, 0.75, 1.0))}


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
    strength: Strength | None = Field(
        None,
        description="For methods that begin from a real image: the share of the steps that run after it is "
        "noised to the first of them. A number, a range [low, high] or {choices: [...]}, of which each "
        "image's seed draws. da-fusion has 0.25, 0.5, 0.75 and 1.0 unless another is set.",
        examples=[0.5, {"choices": [0.25, 0.5, 0.75, 1.0]}],
    )
    rescale: bool = Field(
        False,
        description="Divide surviving coordinates by 1 - dropout. The published numbers were made without.",
    )

    @model_validator(mode="before")
    @classmethod
    def _strengths_of_its_paper(cls, data: Any) -> Any:
        """Give a method that has strengths of its own those where none is set."""
        if not isinstance(data, dict) or data.get("strength") is not None:
            return data
        own = _OWN_STRENGTH.get(data["method"]) if isinstance(data.get("method"), str) else None
        return data if own is None else {**data, "strength": own}

    @model_validator(mode="after")
    def _something_is_left_to_rescale(self) -> Self:
        if self.rescale and self.dropout == 1:
            raise ValueError(
                "rescale: divides by 1 - dropout, and dropout is 1; set rescale: false, or a lower dropout"
            )
        return self

    @model_validator(mode="after")
    def _a_start_and_nothing_else(self) -> Self:
        """Require a strength of methods that begin from a real image, and no weight of its embedding."""
        starts = METHODS[self.method].starts
        if starts and self.strength is None:
            raise ValueError(
                f"strength: is missing: {self.method} begins from a real image noised at a strength; set it, "
                "such as 0.5"
            )
        if not starts and self.strength is not None:
            others = ", ".join(method.name for method in METHODS.values() if method.starts)
            raise ValueError(
                f"strength: is for methods that begin from a real image ({others}), and method is "
                f"{self.method}; remove it, or set it to null"
            )
        if starts and self.scale is not None:
            raise ValueError(
                f"scale: {self.method} is conditioned on the prompt alone, so no image counts against it; "
                "remove it, or set it to null"
            )
        return self
