"""The `conditioning` section of a recipe: how what the generator is conditioned on is augmented."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from synthkit.conditioning import METHODS
from synthkit.config.section import Section
from synthkit.levels import MAX_SCALE, Amount, Choices, Levels


@dataclass(frozen=True, slots=True)
class _Kind:
    """Which numbers an amount may have, in words and as JSON Schema, with an example of several."""

    words: str
    schema: dict[str, Any]
    example: str

    def has(self, number: object) -> bool:
        """Return whether it may have a number."""
        if isinstance(number, bool) or not isinstance(number, int | float):
            return False
        above = bool(self.schema.get("exclusiveMinimum", -1) < number)
        return above and bool(self.schema.get("minimum", 0) <= number <= self.schema["maximum"])

    def read(self, value: Any) -> Amount:
        """Return a number, the lowest and the highest of a range, choices, or levels.

        Raises ValueError for anything else.
        """
        if isinstance(value, Choices | Levels):
            value = asdict(value)
        word = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
        listed = value[word] if word in _SEVERAL else None
        is_range = isinstance(value, list | tuple) and len(value) == 2
        numbers = [*value] if is_range else [*listed] if isinstance(listed, list | tuple) else [value]
        if not numbers or not all(self.has(number) for number in numbers):
            raise ValueError(
                f"must be {self.words}, a range of two, such as [0.3, 0.7], or several, such as {{choices: "
                f"{self.example}}} or {{levels: {self.example}}}, is {value!r:.60}"
            )
        if listed is not None:
            return _one_of_several(word, tuple(map(float, numbers)), value)
        if not is_range:
            return float(value)
        low, high = map(float, numbers)
        if low >= high:
            raise ValueError(
                f"must be a range from a lower to a higher number, is {value!r:.60}; choices are written "
                f"{{choices: {self.example}}}"
            )
        return low, high


_SEVERAL: dict[Any, type[Choices | Levels]] = {"choices": Choices, "levels": Levels}


def _one_of_several(word: Any, numbers: tuple[float, ...], value: Any) -> Choices | Levels:
    """Return choices or levels. Raises ValueError if one is repeated, or if there is one level alone."""
    if len(set(numbers)) < len(numbers):
        often = "every one is drawn equally often" if word == "choices" else "every real image has each once"
        raise ValueError(f"has a number twice: {value!r:.60}; {often}")
    if word == "levels" and len(numbers) == 1:
        raise ValueError(f"has one level alone: {value!r:.60}; name two or more, or write the number")
    return _SEVERAL[word](numbers)


def _as_json(amount: Amount) -> Any:
    if isinstance(amount, Choices | Levels):
        return {name: list(numbers) for name, numbers in asdict(amount).items()}
    return list(amount) if isinstance(amount, tuple) else amount


def _schema(kind: _Kind) -> dict[str, Any]:
    number = kind.schema
    several = [
        {
            "type": "object",
            "properties": {word: {"type": "array", "items": number, "minItems": least, "uniqueItems": True}},
            "required": [word],
            "additionalProperties": False,
        }
        for word, least in (("choices", 1), ("levels", 2))
    ]
    return {"anyOf": [number, {"type": "array", "items": number, "minItems": 2, "maxItems": 2}, *several]}


_WEIGHT = _Kind(
    f"a number from 0 to {MAX_SCALE:g}",
    {"type": "number", "minimum": 0, "maximum": MAX_SCALE},
    "[0.5, 1.0]",
)
_SHARE = _Kind(
    "a number above 0 and at most 1",
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "[0.25, 0.5]",
)
# pydantic's own serializer warns of tuples in a union.
ImageScale = Annotated[
    Amount, PlainValidator(_WEIGHT.read), PlainSerializer(_as_json), WithJsonSchema(_schema(_WEIGHT))
]
Strength = Annotated[
    Amount, PlainValidator(_SHARE.read), PlainSerializer(_as_json), WithJsonSchema(_schema(_SHARE))
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
        "number, or a range [low, high] or {choices: [...]}, of which each image's seed draws, or "
        "{levels: [...]}, at each of which every real image is taken.",
        examples=[[0.1, 0.9], {"levels": [0.3, 0.6, 0.9]}],
    )
    strength: Strength | None = Field(
        None,
        description="For methods that begin from a real image: the share of the steps that run after it is "
        "noised to the first of them. A number, a range [low, high] or {choices: [...]}, of which each "
        "image's seed draws, or {levels: [...]}, at each of which every real image is taken. "
        "da-fusion has 0.25, 0.5, 0.75 and 1.0 unless another is set.",
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
        if isinstance(self.scale, Levels) and not METHODS[self.method].sources:
            raise ValueError(
                f"scale: levels are those of real images, and {self.method} is conditioned on none; write a "
                "number, or remove it"
            )
        return self

    @property
    def scale_of_several(self) -> Choices | Levels | None:
        """The weights of which an image has one; None if it has one weight, or one of a range."""
        return self.scale if isinstance(self.scale, Choices | Levels) else None

    @property
    def levels(self) -> int:
        """How many levels every real image is taken at; 0 if there are none."""
        # No method has both.
        amount = self.scale if self.strength is None else self.strength
        return len(amount.levels) if isinstance(amount, Levels) else 0
