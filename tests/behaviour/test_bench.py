"""The GPU bench runs, on a toy model where there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


@pytest.mark.slow
def test_the_gpu_bench_measures_every_option_of_a_toy(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "bench" / "gpu.py"), "--toy", "--json", str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "eval")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = json.loads(file.read_text())
    assert json.loads(done.stdout.splitlines()[-1])["ratios"].keys() == found["ratios"].keys()
    assert found["ratios"]["build_vs_per_image_script"] > 0
    assert found["results"]["end-to-end 32 eager, whole"]["same_bytes_twice"]
    errors = {name: result["error"] for name, result in found["results"].items() if "error" in result}
    assert all("has no kernel" in error for error in errors.values()), errors
