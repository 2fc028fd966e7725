"""The section `glmc` of a protocol: consistency of a global and a local mixture."""

from __future__ import annotations

from pydantic import Field

from synthkit.config.section import Section


class Glmc(Section):
    """Global and local mixture consistency, with cumulative re-weighting (Du et al. 2023).

    Defaults are the settings of the authors' command for ImageNet-LT.
    """

    beta: float = Field(
        0.5, gt=0, le=100, description="β of Beta(β, β), from which the share λ of the first image is drawn."
    )
    partners: float = Field(
        0.2,
        ge=0,
        le=2,
        description="How much more often rare classes are mixed in: an image of a class with n real images "
        "is drawn in proportion to n to the power of -partners. 0: all alike; 1: all classes alike.",
    )
    reweighting: float = Field(
        1.0,
        ge=0,
        le=5,
        description="Exponent k of the class weights, (1/r)^k for a class with the share r of real images.",
    )
    consistency: float = Field(10.0, ge=0, le=1000, description="Factor γ of the consistency loss.")
    width: int = Field(256, ge=1, le=65536, description="Width of the projection and of the prediction.")
