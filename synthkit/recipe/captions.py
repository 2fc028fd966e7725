"""The `captions` section of a recipe: a caption of each real image, for `{caption}` in prompts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from synthkit.conditioning import METHODS
from synthkit.config.section import Section
from synthkit.errors import RecipeError
from synthkit.recipe.prompts import uses_caption
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from synthkit.recipe.prompts import Templates


class Captions(Section):
    """Captions of the real images, by their ids; that of an image's first real image is filled in."""

    file: str = Field(
        min_length=1,
        max_length=1024,
        description="A file with the columns id and caption: .csv, .jsonl or .parquet.",
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="The SHA-256 that the file must have; a release states it.",
    )

    @property
    def path(self) -> Path:
        """The file, `~` as the home folder."""
        return Path(os.path.expanduser(self.file))  # noqa: PTH111

    def hashed(self) -> Self:
        """Return this section with the file's SHA-256 in it.

        Raises RecipeError if the file has to be hashed and cannot be read.
        """
        try:
            sha256 = self.sha256 or sha256_of(self.path)
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "cannot be read"
            raise RecipeError(f"captions.file: {self.file}: {reason}") from None
        return self.model_copy(update={"sha256": sha256})


def caption_fault(prompt: str, prompts: Templates | None, captions: Captions | None, method: str) -> str:
    """Return why a recipe's prompts and captions do not go together; an empty text if they do."""
    lists = [[prompt]] if prompts is None else [prompts] if isinstance(prompts, list) else prompts.values()
    first = next((template for templates in lists for template in templates if uses_caption(template)), None)
    if first is None:
        return "" if captions is None else "no prompt has {caption}: put it into one, or remove captions"
    if not METHODS[method].sources:
        return (
            f"{first[:60]!r} has {{caption}}, and conditioning.method {method} takes no real images, whose "
            "captions these are: remove it, or choose another method"
        )
    if captions is None:
        return (
            f"is missing: {first[:60]!r} has {{caption}}; name a file with the captions of the real images: "
            "captions: {file: captions.csv}"
        )
    return ""
