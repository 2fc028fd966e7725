"""The section `batches` of a protocol: how real and synthetic images share the minibatches."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from synthkit.config.section import Section
from synthkit.release.loader_batches import Shares

# What the values of `mixing` were called first: protocols may still say so, and their digests do.
EARLIER_NAMES = {"pass": "half"}


class Batches(Section):
    """How real and synthetic images share the minibatches."""

    size: int = Field(
        ge=2, le=65536, multiple_of=2, description="Images of a minibatch, real and synthetic together."
    )
    real: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of real images in a minibatch; 0: none, synthetic ones alone (real ones alone are "
        "--real-only). With pass it is rounded to whole images, a half up, at least one of each kind.",
    )
    mixing: Literal["pass", "coin"] = Field(
        "pass",
        description="pass: every minibatch has that share of real images, drawn with replacement, and one "
        "shuffled pass over the synthetic ones is an epoch; coin: each image is real with that probability, "
        "and both kinds are drawn with replacement.",
    )
    iterations: int | None = Field(
        None, ge=1, description="Minibatches of an epoch; default: one pass over the synthetic images."
    )

    synthetic_per_class: int | None = Field(
        None,
        ge=1,
        description="How many synthetic images of each class are used: the first ones planned, of a class "
        "with fewer all. Default: all of the release.",
    )

    @field_validator("mixing", mode="before")
    @classmethod
    def _of_its_earlier_name(cls, mixing: object) -> object:
        return next((name for name, earlier in EARLIER_NAMES.items() if mixing == earlier), mixing)

    @field_validator("real", mode="before")
    @classmethod
    def _not_all(cls, real: object) -> object:
        if real == 1:
            raise ValueError("1 would be real images alone: synthkit eval --real-only trains on these")
        return real

    @model_validator(mode="after")
    def _a_coin_has_no_pass(self) -> Self:
        if (self.mixing == "coin") is (self.iterations is None):
            raise ValueError("mixing: coin needs iterations; mixing: pass passes over the synthetic images")
        return self

    @property
    def shares(self) -> Shares:
        """How many images of a minibatch are real, and how many synthetic; by a coin on average."""
        return Shares.of(self.size, self.real)


# The fields of Batches that say how many images of each kind there are: scores that differ in them compare.
MIXTURE = ("real", "synthetic_per_class")
