"""A study's file: which releases to make and how to score them, and the contrasts fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from synthkit.config.section import Section
from synthkit.config.yaml_file import FileKind, load_model
from synthkit.errors import ScoreError
from synthkit_eval.contrast import Contrast

if TYPE_CHECKING:
    from pathlib import Path

_YAML = (".yaml", ".yml")


class Scoring(Section):
    """One way to score a release."""

    protocol: str | None = Field(None, description="A protocol's name or file; default: the study's.")
    set: dict[str, Any] = Field({}, description="Fields of the protocol that differ, by their dotted names.")
    real_only: bool = Field(
        True, description="Train on the real images alone in this way, if the study does."
    )


class Grid(Section):
    """Releases from one recipe: one for each combination of settings, each drawn several times."""

    recipe: str = Field(min_length=1, description="The recipe; relative paths start at the study's file.")
    set: dict[str, Any] = Field({}, description="Fields that differ from it in all releases.")
    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        {}, description="Fields and their values; all combinations are made."
    )
    draws: int = Field(
        1,
        ge=1,
        le=1000,
        description="How often each is made, with another seed, and few-shot with another choice of shots.",
    )
    scored: list[Scoring] = Field([Scoring()], min_length=1, description="How each release is scored.")


class Study(Section):
    """A study with every default filled in."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Name of the study.")
    summary: str = Field("", max_length=500, description="What it asks.")
    protocol: str = Field(min_length=1, description="How its releases are scored: a protocol's name or file.")
    training_seeds: int = Field(3, ge=1, le=1000, description="Training runs of each score.")
    real_only: bool = Field(True, description="Train on the real images alone as well.")
    grids: list[Grid] = Field(min_length=1, description="The releases.")
    contrasts: list[Contrast] = Field([], description="Comparisons that were fixed before anything was made.")


_KIND = FileKind(Study, "study file", ScoreError, override="training_seeds=5")


def load_study(path: Path, overrides: list[str] | None = None) -> Study:
    """Return the study in a file. Raises ScoreError with a line for each field that is wrong."""
    return load_model(path, _KIND, overrides or ())


def place_of(name: str, study: Path) -> str:
    """Return the path of a recipe or protocol file that a study names, or the name of a shipped protocol."""
    return str(study.parent / name) if name.endswith(_YAML) else name
