"""Where unfinished work and what is remembered of earlier runs are kept."""

from __future__ import annotations

from pathlib import Path

WORK_FOLDER = ".synthkit"


def work_root(out: Path | None) -> Path:
    """The folder of work folders: `.synthkit`, or inside `--out` where one is given."""
    return Path(WORK_FOLDER) if out is None else out / WORK_FOLDER
