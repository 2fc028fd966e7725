"""The `tokens` section of a recipe: how a token of each class is learned from its real images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field

from synthkit.config.section import Section
from synthkit.recipe.prompts import uses_caption

if TYPE_CHECKING:
    from synthkit.recipe.prompts import Templates

# What stands in a prompt for a learned token: the beginning of the SHA-256 of its vectors.
TOKEN_WORD = re.compile(r"<token-[0-9a-f]{16}>")


class Tokens(Section):
    """How textual inversion (Gal et al. 2022) is run; the defaults are DA-Fusion's (Trabucco et al. 2023)."""

    steps: int = Field(1000, ge=1, le=100_000, description="Steps of the optimiser for each class.")
    learning_rate: float = Field(5e-4, gt=0, le=10, description="The step size of Adam; it stays the same.")
    batch_size: int = Field(4, ge=1, le=256, description="Images in each step, drawn with replacement.")
    vectors: int = Field(
        1, ge=1, le=16, description="Vectors that a token has: places that it takes in a prompt."
    )
    initial_word: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The words whose mean embedding a token begins as. Default: the class's name. DA-Fusion "
        "takes 'the'.",
        examples=["the"],
    )


def token_fault(prompt: str, prompts: Templates | None) -> str:
    """Return why a token cannot stand in a recipe's templates; an empty text if it can.

    Only a recipe's own words may stand beside a token: a caption may hold what reads as one.
    """
    lists = [[prompt]] if prompts is None else [prompts] if isinstance(prompts, list) else prompts.values()
    for template in (template for templates in lists for template in templates):
        if "{name}" not in template:
            return f"{template[:60]!r} has no {{name}}, which the learned token takes the place of"
        if uses_caption(template):
            return f"{template[:60]!r} has {{caption}}, which no prompt with a learned token takes"
        if TOKEN_WORD.search(template):
            return f"{template[:60]!r} has the word of a learned token; it takes the place of {{name}}"
    return ""
