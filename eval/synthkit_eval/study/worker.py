"""A process that does the tasks of a study one after the other, given a folder and a device.

It reads a task on each line of standard input and answers with a line; at the end of input it ends. What
builds and trainings print goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import SynthkitError, one_line
from synthkit_eval.study.results import Results
from synthkit_eval.study.tasks import Task

if TYPE_CHECKING:
    from synthkit_eval.score_files import Scored
    from synthkit_eval.study.tasks import Way


def main() -> None:
    """Do tasks until the input ends."""
    folder, device = Path(sys.argv[1]), sys.argv[2]
    # Libraries print to standard output; the answers alone may go there.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        answer = _do(Task.from_json(tasks.get()), folder, device)
        print(json.dumps(answer), file=answers, flush=True)


def _listen(tasks: queue.SimpleQueue[str]) -> None:
    """Pass tasks on; end the process when the one that gave them is gone, also in the middle of a task."""
    for line in sys.stdin:
        tasks.put(line)
    os._exit(0)


def _do(task: Task, folder: Path, device: str) -> dict[str, str]:
    """Do a task and return the error if there was one."""
    try:
        Results(folder).keep(task, [_scored(task, way, folder, device) for way in task.ways])
    except (SynthkitError, OSError) as error:
        return {"error": one_line(error)}
    return {}


def _scored(task: Task, way: Way, folder: Path, device: str) -> Scored:
    from synthkit.builder.make import make_release
    from synthkit.builder.options import Options as BuildOptions
    from synthkit.recipe.load import load
    from synthkit.system.environment import choose_device
    from synthkit_eval.evaluate import Options, evaluate, evaluate_real_only
    from synthkit_eval.protocol import load_protocol
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.real_images import open_release

    built = make_release(
        load(Path(task.recipe), task.changes),
        BuildOptions(out=folder, device=device, workers=1, overwrite=True),
    )
    options = Options(
        task.seeds, choose_device(device), folder / ".synthkit", patient=True, changed=way.changes
    )
    release = open_release(str(built.release), [])
    run = evaluate_real_only if task.real_only else evaluate
    scored = run(release, load_protocol(way.protocol, way.changes), options, World())
    assert scored is not None  # noqa: S101 (only the first of several processes has it, and there is one)
    return scored


if __name__ == "__main__":
    main()
