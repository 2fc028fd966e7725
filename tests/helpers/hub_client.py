"""A process that runs `synthkit` commands against a test Hub, one after another.

The Hub's client reads its settings when it is imported, so the tests' own process cannot talk to a Hub of
theirs; a process for each command would spend its time importing. Waiting between attempts is told, not done.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.helpers.paths import ROOT


@dataclass(frozen=True)
class Ran:
    """What a user saw, and the seconds that the command would have waited between attempts."""

    exit_code: int
    output: str
    waited: float


class Client:
    """`with Client(environment, folder) as synthkit: synthkit("publish", …)`"""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.hub_client", str(folder)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str | Path, **environment: str) -> Ran:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps([[str(argument) for argument in arguments], environment]) + "\n")
        stdin.flush()
        return Ran(**json.loads(stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _serve(folder: str) -> None:
    import os
    import time

    from typer.testing import CliRunner

    from synthkit.cli import app

    waits: list[float] = []
    time.sleep = waits.append
    os.chdir(folder)
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        arguments, environment = json.loads(line)
        waits.clear()
        result = CliRunner().invoke(app, arguments, env=environment)
        told: dict[str, Any] = {"exit_code": result.exit_code, "output": result.output, "waited": sum(waits)}
        if result.exception and not isinstance(result.exception, SystemExit):
            told |= {"exit_code": -1, "output": f"{result.output}\nTRACEBACK {result.exception!r}"}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
