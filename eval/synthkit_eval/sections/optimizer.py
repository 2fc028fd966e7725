"""The section `optimizer` of a protocol."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthkit.config.section import Section


class Optimizer(Section):
    """The optimiser and its learning rate over the epochs."""

    name: Literal["sgd", "adam", "adamw"] = Field("sgd", description="The optimiser.")
    learning_rate: float = Field(gt=0, le=100, description="Learning rate of the first epoch.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Weight decay.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="cosine: to 0 over the epochs (Loshchilov and Hutter 2017); or constant."
    )
