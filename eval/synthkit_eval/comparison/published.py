"""Published accuracies, to stand beside scores: one small YAML file per table and data set.

They are shown and never subtracted, for nothing proves that they were trained and tested the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthkit.errors import ScoreError, one_line
from synthkit_eval.protocol import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from synthkit_eval.score import Score

# Settings that change no classifier: a score with other ones changed follows another protocol.
_NOT_TRAINING = ("evaluation", "features", "summary")


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PublishedScore(_Facts):
    """One row of a printed table; accuracies in percent."""

    name: str = Field(min_length=1, description="What the paper calls it.")
    method: str | None = Field(None, description="The conditioning, if it is one of ours.")
    guidance_scale: float | None = Field(None, gt=0, description="Classifier-free guidance scale.")
    images: int | None = Field(None, ge=0, description="Synthetic images.")
    shots: int | None = Field(None, ge=1, description="Real images of each class, few-shot.")
    overall: float = Field(ge=0, le=100, description="Top-1 accuracy; its table's `average` says over what.")
    many: float | None = Field(None, ge=0, le=100, description="Of the classes with many real images.")
    medium: float | None = Field(None, ge=0, le=100, description="Of the classes between.")
    few: float | None = Field(None, ge=0, le=100, description="Of the classes with few real images.")
    fid: float | None = Field(None, ge=0, description="FID, in the table's feature space.")


class PublishedTable(_Facts):
    """A table or figure of a paper, for one protocol and data set."""

    source: str = Field(min_length=1, description="The paper.")
    place: str = Field(min_length=1, description="Its table or figure.")
    protocols: list[str] = Field(
        min_length=1, description="The protocols of ours that follow it; it stands beside their scores."
    )
    data: str = Field(min_length=1, description="The data set; few-shot releases' names begin with it.")
    classes: int = Field(ge=2, description="Classes of the data set.")
    network: str = Field(min_length=1, description="The network that was trained.")
    average: Literal["images", "classes"] = Field(
        description="What its overall accuracy is: that over all images, as `overall` of our scores, or the "
        "mean of per-class accuracies, as their `class_mean`. Those of groups are always such means."
    )
    features: str | None = Field(description="The feature space of its FID.")
    differs: str | None = Field(description="How what it ran differs from our protocol and method.")
    scores: list[PublishedScore] = Field(min_length=1, description="Its rows.")

    @property
    def citation(self) -> str:
        """The paper, and the table or figure in it."""
        return f"{self.source}, {self.place}"

    def fits(self, score: Score) -> bool:
        """Return whether it has the protocol and the data set of a score.

        Few-shot data sets share a protocol; which one a score is of, the release's name says.
        """
        same = score.protocol.name in self.protocols and self.classes == score.data.classes
        if not same or any(_trains_otherwise(change) for change in score.protocol.changed):
            return False
        return not self.few_shot or self.names(score)

    @property
    def few_shot(self) -> bool:
        """Whether its rows differ in the number of shots."""
        return any(row.shots is not None for row in self.scores)

    def names(self, score: Score) -> bool:
        """Return whether the name of a score's release begins with its data set."""
        return score.release is not None and score.release.name.replace("_", "-").startswith(self.data)


@dataclass(frozen=True, slots=True)
class Published:
    """A row of a published table, and the table."""

    table: PublishedTable
    row: PublishedScore


def load_tables() -> list[PublishedTable]:
    """Read the tables that ship. Raises ScoreError if one of the files is not a table."""
    return [read_table(path) for path in sorted(shipped("published").glob("*.yaml"))]


def read_table(path: Path) -> PublishedTable:
    """Read a table from a YAML file. Raises ScoreError with the first field that is wrong."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return PublishedTable.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ScoreError(f"{path}: {where}: {first['msg']}; the files beside it show how") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScoreError(f"{path}: is not plain YAML: {one_line(error)}") from None


def beside(tables: Iterable[PublishedTable], scores: Sequence[Score]) -> list[Published]:
    """Return the published rows to show with scores that compare; of few-shot, those with as many shots."""
    shots = {score.release.shots for score in scores if score.release is not None} | {None}
    return [
        Published(table, row)
        for table in tables
        if any(table.fits(score) for score in scores)
        for row in table.scores
        if row.shots in shots
    ]


def _trains_otherwise(change: str) -> bool:
    section = change.partition("=")[0].partition(".")[0]
    return section.strip() not in _NOT_TRAINING
