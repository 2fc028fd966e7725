"""Processes that run `synthkit` with its libraries loaded already: forks of one that loaded them.

For tests that kill, stop or starve a build. A process of its own takes ten seconds to import what a fork has.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.helpers.paths import ROOT

_LIBRARIES = (
    "torch",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_unclip_img2img",
    "diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer",
    "transformers.models.clip.modeling_clip",
    "pyarrow.parquet",
    "sklearn.datasets",
    "synthkit.builder.make",
    "synthkit.generators.unclip",
)


# What builds without a model, audits and downloads take: a process that is forked sooner.
FEW_LIBRARIES = (
    "torch",
    "datasets",
    "jinja2",
    "scipy.fft",
    "pyarrow.parquet",
    "huggingface_hub.file_download",
    "synthkit.builder.make",
    "synthkit.inspection.audit_release",
    "synthkit.publish.pull",
)


class WarmProcess:
    """A running command; what it prints goes to files, so that nothing waits for a reader."""

    def __init__(self, warm: Warm, pid: int, printed: Path) -> None:
        self._warm, self.pid, self.printed = warm, pid, printed
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._warm.ask("poll", self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """Wait for the end; returns what was printed to standard output and error."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return (self.printed / "stdout").read_text(), (self.printed / "stderr").read_text()


class Warm:
    """`with Warm() as warm: warm.start("build", …)`"""

    def __init__(
        self, libraries: Sequence[str] = _LIBRARIES, environment: Mapping[str, str] | None = None
    ) -> None:
        self.environment = dict(os.environ if environment is None else environment)
        self._started: list[WarmProcess] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.warm", *libraries],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        *arguments: str,
        cwd: Path,
        file_size: int | None = None,
        memory: int | None = None,
        faults: dict[str, Any] | None = None,
    ) -> WarmProcess:
        """A command in a folder.

        No file may exceed `file_size` bytes, nor the process `memory` bytes beyond what it has loaded;
        `faults` is what `filesystem_faults.begin` is to do with its calls.
        """
        printed = cwd / f"printed-{time.monotonic_ns()}"
        printed.mkdir()
        pid = self.ask("start", [arguments, str(cwd), str(printed), file_size, memory, faults])
        self._started.append(WarmProcess(self, pid, printed))
        return self._started[-1]

    def ask(self, what: str, detail: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps([what, detail]) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        self._process.kill()
        self._process.communicate()


def _serve() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        what, detail = json.loads(line)
        print(json.dumps(_start(*detail) if what == "start" else _poll(detail)), flush=True)


def _start(
    arguments: list[str],
    cwd: str,
    printed: str,
    file_size: int | None,
    memory: int | None,
    faults: dict[str, Any] | None,
) -> int:
    pid = os.fork()
    if pid:
        return pid
    code, finish = 1, None
    try:
        _become(cwd, printed, file_size, memory)
        if faults is not None:
            from tests.helpers.filesystem_faults import begin

            finish = begin(faults)
        from synthkit.__main__ import main

        sys.argv = ["synthkit", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        if finish is not None:
            finish()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(cwd: str, printed: str, file_size: int | None, memory: int | None) -> None:
    import resource

    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(printed) / name, os.O_WRONLY | os.O_CREAT), number)
    if file_size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _poll(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


if __name__ == "__main__":
    _serve()
