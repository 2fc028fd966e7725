"""Run a study: processes share its tasks, finished ones are kept, and all scores end in one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit.system.files import make_folder
from synthkit.system.locks import held
from synthkit.system.progress import progress
from synthkit_eval.score_files import write_scores
from synthkit_eval.study.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.system.progress import Advance
    from synthkit_eval.study.tasks import Task

_LOG = "study.log"


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a study: where releases, trainings and finished tasks go, and how many processes work."""

    folder: Path
    workers: int
    device: str


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the threads that feed the workers share."""

    tasks: SimpleQueue[Task]
    advance: Advance
    log: Path
    failed: list[str] = field(default_factory=list)


def run_study(tasks: Sequence[Task], scores: Path, options: Options) -> int:
    """Do the tasks that are not finished, write all scores into one file, and return how many there are.

    Raises ScoreError with what went wrong in a task; finished tasks are kept, and the same study goes on.
    """
    make_folder(options.folder)
    results = Results(options.folder)
    with held(options.folder / ".study.lock", str(options.folder)):
        missing = [task for task in tasks if not results.has(task)]
        releases = [task for task in missing if not task.real_only]
        alone = [task for task in missing if task.real_only]
        done = len(tasks) - len(missing)
        with progress("study", len(tasks), done=done, unit="tasks") as advance:
            # Real images alone afterwards: they are trained while nothing else takes their lock.
            for part in (releases, alone):
                _do_all(part, options, advance)
        found = results.read(tasks)
    write_scores(found, scores)
    return len(found)


def _do_all(tasks: Sequence[Task], options: Options, advance: Advance) -> None:
    if not tasks:
        return
    shared = _Shared(SimpleQueue(), advance, options.folder / _LOG)
    for task in tasks:
        shared.tasks.put(task)
    count = min(options.workers, len(tasks))
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(options, count)) for _ in range(count)]
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda worker: _feed(worker, shared), workers))
    if shared.failed:
        raise ScoreError(f"{shared.failed[0]}; what is finished is kept")


@contextmanager
def _worker(options: Options, count: int) -> Iterator[subprocess.Popen[str]]:
    """Start a process that does tasks; it ends with this one."""
    threads = max(1, (os.cpu_count() or 1) // count)
    with (options.folder / _LOG).open("a") as log:
        worker = subprocess.Popen(  # noqa: S603 (this interpreter, with a module of ours)
            [sys.executable, "-P", "-m", "synthkit_eval.study.worker", str(options.folder), options.device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    with worker:
        try:
            yield worker
        finally:
            worker.kill()


def _feed(worker: subprocess.Popen[str], shared: _Shared) -> None:
    """Give a worker tasks until there are none, or one has failed."""
    assert worker.stdin is not None and worker.stdout is not None  # noqa: S101
    while not shared.failed:
        try:
            task = shared.tasks.get_nowait()
        except Empty:
            return
        error = _ask(worker, task)
        if error is not None:
            shared.failed.append(f"{task.name}: {error or f'its process ended; {shared.log} says more'}")
            return
        shared.advance(1)


def _ask(worker: subprocess.Popen[str], task: Task) -> str | None:
    """Give a worker a task and return its error, empty if the process has ended; None if all went well."""
    assert worker.stdin is not None and worker.stdout is not None  # noqa: S101
    try:
        print(task.as_json(), file=worker.stdin, flush=True)
        answer: dict[str, str] = json.loads(worker.stdout.readline())
    except (OSError, ValueError):
        return ""
    return answer.get("error")
