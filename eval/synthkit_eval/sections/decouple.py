"""The section `decouple` of a protocol: a second stage that trains the classifier alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthkit.config.section import Section


class Decouple(Section):
    """A second stage after the epochs of the first (Kang et al. 2020)."""

    kind: Literal["crt", "lws"] = Field(
        description="crt: the last layer is drawn anew and trained; lws: it stays, and a scale of each "
        "class's weights is trained."
    )
    epochs: int = Field(ge=1, le=10_000, description="Epochs of the second stage.")
