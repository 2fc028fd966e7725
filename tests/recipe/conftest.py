"""The least that a recipe must say, and files to say it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MINIMAL = """\
name: mine
source:
  kind: digits
target_per_class: 100
model:
  id: builtin:tiny-unclip-digits
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_file
