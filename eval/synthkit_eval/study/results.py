"""The finished tasks of a study, so that a study that was stopped goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit_eval.score_files import read_scores, write_scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit_eval.score_files import Scored
    from synthkit_eval.study.tasks import Task


@dataclass(frozen=True, slots=True)
class Results:
    """The scores of finished tasks, a file for each in a folder of the study's work."""

    folder: Path

    def has(self, task: Task) -> bool:
        """Return whether a task is finished; one whose file is damaged is not."""
        if not self._file(task).is_file():
            return False
        try:
            read_scores(self._file(task))
        except ScoreError:
            return False
        return True

    def keep(self, task: Task, scores: Sequence[Scored]) -> None:
        """Write the scores of a task, whole or not at all."""
        write_scores(scores, self._file(task))

    def read(self, tasks: Sequence[Task]) -> list[Scored]:
        """Return the scores of finished tasks. Raises ScoreError if one is damaged."""
        return [scored for task in tasks for scored in read_scores(self._file(task))]

    def _file(self, task: Task) -> Path:
        return self.folder / "scores" / f"{task.key}.parquet"
