"""What a token is learned from: the real images of one class, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image

    from synthkit.recipe.tokens import Tokens

# What stands for the token in the prompts of a lesson. No token has this word by its content.
SLOT = "<token-0000000000000000>"


@dataclass(frozen=True)
class Lesson:
    """The lesson of one class's token.

    `prompts` are templates with `SLOT` in them; `begins_as` are the words whose mean embedding it begins as.
    `images` is how many real images there are, and `load` reads one. All that is drawn comes from `seed`.
    `on_step` is called after each step.
    """

    tokens: Tokens
    prompts: Sequence[str]
    begins_as: str
    images: int
    load: Callable[[int], Image.Image]
    seed: int
    on_step: Callable[[], None]
