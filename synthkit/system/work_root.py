"""The folder that keeps unfinished work, and what is remembered of earlier runs."""

from __future__ import annotations

from pathlib import Path

WORK_FOLDER = ".synthkit"


def work_root(out: Path | None) -> Path:
    """Return the folder of work folders: `.synthkit` in the current folder, or in `--out` if it is given."""
    return Path(WORK_FOLDER) if out is None else out / WORK_FOLDER
