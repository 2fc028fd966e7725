"""The `sampler` section of a recipe: scheduler, steps, guidance, size, batch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from synthkit.config.section import Section
from synthkit.recipe.feedback import Feedback

# The fields that change how the model is evaluated at single steps. A family names those that it has in
# `SAMPLES_BY`; a recipe that sets another one is refused.
STEP_FIELDS = ("guidance_interval", "cads", "cache", "feedback")
# Those of them that need both halves of guidance at a step.
HALVES_FIELDS = ("guidance_interval", "cads")
# Stands for `batch_size: auto` until the batch size is measured. No batch has this size.
AUTO = 0


def _auto_or_size(value: Any, size: ValidatorFunctionWrapHandler) -> int:
    if value == "auto":
        return AUTO
    if isinstance(value, str):
        raise ValueError(f"must be a whole number or auto, is {value[:60]!r}")
    return int(size(value))


BatchSize = Annotated[
    int,
    Field(ge=1, le=1024),
    WrapValidator(_auto_or_size),
    PlainSerializer(lambda size: "auto" if size == AUTO else size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"const": "auto"}]}),
]


def _shares(value: Any) -> tuple[float, float]:
    """Return where an interval of the noise schedule begins and ends."""
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_share, value)):
        raise ValueError(f"must be two numbers [from, to] from 0 to 1, is {value!r:.60}")
    first, last = map(float, value)
    if first > last:
        raise ValueError(
            f"must begin where there is less noise, is {value!r:.60}; write [{last:g}, {first:g}]"
        )
    return first, last


def _is_share(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1


GuidanceInterval = Annotated[
    tuple[float, float],
    PlainValidator(_shares),
    PlainSerializer(list),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 1},
            "minItems": 2,
            "maxItems": 2,
        }
    ),
]


class Cads(Section):
    """Condition-annealed sampling: noise on the conditioning, which becomes less as the image takes shape.

    Source: Sadat et al., CADS: Unleashing the Diversity of Diffusion Models through Condition-Annealed
    Sampling, arXiv 2310.17347.
    """

    tau1: float = Field(
        ge=0, le=1, description="Share of the noise schedule up to which the conditioning is whole."
    )
    tau2: float = Field(
        ge=0, le=1, description="Share of the noise schedule from which on the conditioning is noise alone."
    )
    scale: float = Field(ge=0, le=10, description="Standard deviation of the noise; 0 switches CADS off.")
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="How much of the result is scaled back to the mean and the deviation that the "
        "conditioning had without noise.",
    )

    @field_validator("tau2")
    @classmethod
    def _after_tau1(cls, tau2: float, info: ValidationInfo) -> float:
        tau1 = info.data.get("tau1")
        if tau1 is not None and tau1 >= tau2:
            raise ValueError(f"must be more than tau1, {tau1:g}, is {tau2:g}")
        return tau2


class Cache(Section):
    """Evaluate the deep levels of a UNet at every n-th evaluation alone."""

    every: int = Field(
        ge=1, le=1000, description="Of how many evaluations the first is whole; 1: all of them.", examples=[3]
    )
    levels: int = Field(
        1, ge=1, le=16, description="How many of the UNet's outer levels the other evaluations run."
    )


class Sampler(Section):
    """How the model is sampled."""

    scheduler: Literal[
        "pndm", "ddim", "dpm-solver++", "unipc", "euler", "euler-trailing", "lcm", "ddpm", "flow-euler"
    ] = Field(
        "pndm",
        description="The diffusion scheduler; the paper's is pndm. euler-trailing and lcm are for models "
        "that were distilled to a few steps. Kandinsky's own is ddpm, FLUX's is flow-euler.",
    )
    steps: int = Field(30, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float = Field(
        10.0, ge=1, le=50, description="Classifier-free guidance scale; 1 switches guidance off."
    )
    guidance_interval: GuidanceInterval | None = Field(
        None,
        description="Shares of the noise schedule [from, to], 0 the clean image and 1 noise alone, between "
        "which guidance runs; elsewhere a step evaluates the model once instead of twice. By default all.",
        examples=[[0.2, 0.7]],
    )
    cads: Cads | None = Field(
        None,
        description="Condition-annealed sampling: noise on the conditioning of noisy steps, for more "
        "various images.",
        examples=[{"tau1": 0.6, "tau2": 0.9, "scale": 0.25}],
    )
    cache: Cache | None = Field(
        None,
        description="Evaluate the deep levels of a UNet at every n-th evaluation alone, and go on from what "
        "they made last at the others: faster, other images.",
        examples=[{"every": 3}],
    )
    feedback: Feedback | None = Field(
        None,
        description="Guide by a classifier that was trained on the real images, towards images that it finds "
        "hard.",
        examples=[{"criterion": "entropy", "scale": 100.0, "every": 5}],
    )
    noise_level: int = Field(0, ge=0, le=999, description="Noise added to the image embedding; the paper: 0.")
    size: int | None = Field(
        None,
        ge=8,
        le=4096,
        multiple_of=8,
        description="Edge in pixels of the images that the model makes; by default that which it was trained "
        "for. output.size scales them afterwards.",
        examples=[512],
    )
    batch_size: BatchSize = Field(
        16,
        description="Images per batch. Fixed, since the last bits of an image depend on the batch's shape; "
        "auto measures what the device holds, once, and the release states the number.",
    )

    def pinned(self) -> Self:
        """Return it with the content of the classifier that `feedback` names.

        Raises RecipeError if its file is needed for that and is not here.
        """
        return self if self.feedback is None else self.model_copy(update={"feedback": self.feedback.pinned()})

    @field_validator(*HALVES_FIELDS)
    @classmethod
    def _guidance_to_change(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("guidance_scale") == 1:
            field = info.field_name
            raise ValueError(
                f"needs guidance, and guidance_scale is 1; remove {field}, or raise guidance_scale"
            )
        return value

    @field_validator("feedback")
    @classmethod
    def _whole_evaluations(cls, feedback: Feedback | None, info: ValidationInfo) -> Feedback | None:
        if feedback is not None and info.data.get("cache") is not None:
            raise ValueError(
                "goes without cache: most evaluations are then of the outer levels alone, and no gradient of "
                "the whole can be had; remove one of them"
            )
        return feedback

    @field_validator("batch_size")
    @classmethod
    def _known_beforehand(cls, size: int, info: ValidationInfo) -> int:
        if size == AUTO and info.data.get("feedback") is not None:
            raise ValueError("auto does not measure what the gradients of feedback take; give a number")
        return size
