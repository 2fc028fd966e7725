"""The sections of losses that have settings, each named after its loss."""

from __future__ import annotations

from pydantic import Field

from synthkit.config.section import Section


class LogitAdjusted(Section):
    """Settings of `loss: logit-adjusted` (Menon et al. 2021)."""

    tau: float = Field(
        1.0, ge=0, le=10, description="How far the logits are adjusted: τ log of the class's frequency."
    )


class LdamDrw(Section):
    """Settings of `loss: ldam-drw` (Cao et al. 2019)."""

    max_margin: float = Field(
        0.5, gt=0, le=10, description="Margin of the class with the fewest real images; others have less."
    )
    scale: float = Field(30.0, gt=0, le=1000, description="Factor s of the cosines, which are the logits.")
    reweight_from: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of the epochs after which classes are weighted by effective numbers; 1: never.",
    )
    beta: float = Field(
        0.9999, ge=0, lt=1, description="β of the effective number (1 - βⁿ) / (1 - β) (Cui et al. 2019)."
    )
