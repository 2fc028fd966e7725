"""Runs shards on a Ray cluster, in actors that hold a model each.

Shards are handed out one at a time to whoever is free: to the actors that are up, however many come.
The shard of one that dies, whose node is lost, or that shows no sign of life goes to another. Whoever
has nothing left to do is let go, so that a cluster can shrink.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synthkit.builder.engines.job import to_need_less_memory
from synthkit.builder.engines.ray_actor import Actor, Orders, Pulse
from synthkit.builder.engines.ray_cluster import connected
from synthkit.errors import BuildError, one_line
from synthkit.generators import needs_device
from synthkit.release.files import shard_name
from synthkit.system import stopping
from synthkit.system.environment import NO_DEVICE, changed
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.builder.engines.display import Display
    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.release.shards import Origin

_LOOK_EVERY_S = 0.5
_TELL_AFTER_S = 15.0
# Actors that may die over one shard, or in a row before they are ready while nobody is at work, until the
# build gives up.
_DEATHS = 3
_WITH_ITS_NODE = "was lost with its node"
_PULSE = "pulse"


@dataclass(frozen=True, slots=True)
class RayJob:
    """Shards to make, by number, on nodes that read the real images themselves.

    `place` is a folder that all nodes share, or an address; whoever is at work finds a file `mark` in it.
    `agree` gives the origin of shards made in an environment, or raises BuildError.
    """

    inputs: Inputs
    missing: tuple[int, ...]
    place: str
    mark: str
    agree: Callable[[dict[str, str]], Origin]


@dataclass(slots=True, eq=False)
class _Worker:
    """An actor, and the one thing that it has been told to do."""

    actor: Any
    task: Any
    pulse: Any = None
    node: str = ""
    shard: int | None = None
    kept: int = 0
    made: int = 0
    asked: float = 0.0
    heard: float = field(default_factory=time.monotonic)


def run(job: RayJob, options: Options, display: Display) -> int:
    """Make a job's shards; returns how many actors had a share in it.

    Raises BuildError if the cluster cannot be reached or has no room, if its nodes differ, when actors
    keep dying, and whatever a node cannot do.
    """
    device = _wanted_device(job.inputs, options)
    with connected(options.address) as ray:
        pool = _Pool(ray, job, options, display, device or ("cuda" if _gpus(ray) else "cpu"))
        try:
            return pool.run()
        finally:
            pool.close()


def _wanted_device(inputs: Inputs, options: Options) -> str | None:
    """None is whatever the cluster has."""
    if not needs_device(inputs.checkpoint):
        return NO_DEVICE
    if options.device not in ("auto", "cpu", "cuda"):
        raise BuildError(
            f"--device {options.device}: on Ray it is auto, cuda or cpu; Ray chooses which GPU an actor has"
        )
    return None if options.device == "auto" else options.device


def _gpus(ray: Any) -> float:
    return float(ray.cluster_resources().get("GPU", 0))


class _Pool:
    def __init__(self, ray: Any, job: RayJob, options: Options, display: Display, device: str) -> None:
        self._ray, self._job, self._options, self._display = ray, job, options, display
        self._device = device
        self._todo = deque(job.missing)
        self._left = len(job.missing)
        self._wanted = options.workers or (self._left if device == "cuda" else self._nodes())
        self._workers: list[_Worker] = []
        self._deaths: Counter[int | None] = Counter()
        self._origin: Origin | None = None
        self._embedded = 0
        self._shared: set[str] = set()
        self._last_up = time.monotonic()
        self._told = False

    def run(self) -> int:
        """Until all shards are made."""
        while self._left:
            self._match()
            whose = {ref: worker for worker in self._workers for ref in (worker.task, worker.pulse) if ref}
            if self._ray.wait(list(whose), timeout=_LOOK_EVERY_S)[0]:
                for ref in self._ray.wait(list(whose), num_returns=len(whose), timeout=0)[0]:
                    if whose[ref] in self._workers:
                        self._hear(whose[ref], ref)
            self._look_after()
        return len(self._shared)

    def close(self) -> None:
        """No actor outlives the build."""
        for worker in list(self._workers):
            self._let_go(worker)

    def _nodes(self) -> int:
        """Nodes with a CPU: one actor each, since each takes a model's memory."""
        return sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in self._ray.nodes()) or 1

    def _match(self) -> None:
        """As many actors as there is work for: requested, whether or not a node has room for them now."""
        waiting = [worker for worker in self._workers if worker.shard is None]
        # The last requested first: most likely it has no node yet.
        for worker in waiting[len(self._todo) :]:
            self._let_go(worker)
        for _ in range(min(len(self._todo) - len(waiting), self._wanted - len(self._workers))):
            self._request()

    def _request(self) -> None:
        gpus = 1 if self._device == "cuda" else 0
        remote = self._ray.remote(concurrency_groups={_PULSE: 1})(Actor)
        remote = remote.options(num_gpus=gpus, num_cpus=1, scheduling_strategy="SPREAD", max_restarts=0)
        actor = remote.remote(os.getcwd(), self._device)  # noqa: PTH109 (a string to send)
        self._workers.append(_Worker(actor, actor.hello.remote()))

    def _let_go(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._ray.kill(worker.actor)

    def _hear(self, worker: _Worker, ref: Any) -> None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(ref)
        except errors.RayTaskError as error:
            raise _met(error) from None
        except errors.RuntimeEnvSetupError as error:
            reason = one_line(error, longest=400)
            raise BuildError(f"--engine ray: a node cannot set up its environment: {reason}") from None
        except errors.RayError as error:
            if not worker.node and "No module named" in str(error):
                raise _lacks_package(error) from None
            self._lost(worker, _why(error))
            return
        if ref == worker.pulse:
            worker.pulse = None
            self._felt(worker, answer)
        elif worker.shard is not None:
            self._done(worker, worker.shard)
        elif not worker.node:
            self._greet(worker, *answer)
        else:
            self._deaths[None] = 0
            self._hand_out(worker)

    def _greet(self, worker: _Worker, node: str, environment: dict[str, str]) -> None:
        """An actor is up: it gets its orders if its node is like the others."""
        if environment["synthkit"] != __version__:
            raise BuildError(
                f"node {node}: has synthkit {environment['synthkit']}, this is {__version__}; "
                "install the same on every node"
            )
        if self._origin is None:
            self._origin = self._job.agree(environment)
        differences = changed(self._origin.environment, environment)
        if differences:
            raise BuildError(
                f"node {node}: is not like the others ({', '.join(differences)}), which can change bits; "
                "build on like nodes only"
            )
        worker.node, worker.heard = node, time.monotonic()
        worker.task = worker.actor.prepare.remote(self._orders(self._origin))

    def _orders(self, origin: Origin) -> Orders:
        inputs, job = self._job.inputs, self._job
        # A branch may move while a cluster grows.
        model = inputs.recipe.model.model_copy(update={"revision": inputs.checkpoint.revision})
        recipe = inputs.recipe.model_copy(update={"model": model}).model_dump_json()
        limit = self._options.limit
        return Orders(recipe, limit, inputs.digest, dict(origin.environment), job.place, job.mark)

    def _hand_out(self, worker: _Worker) -> None:
        worker.shard, worker.kept, worker.made = None, 0, 0
        if not self._todo:
            self._let_go(worker)
            return
        self._shared.add(worker.actor._actor_id.hex())
        worker.shard, worker.heard = self._todo.popleft(), time.monotonic()
        worker.task = worker.actor.build.remote(worker.shard)

    def _done(self, worker: _Worker, shard: int) -> None:
        self._left -= 1
        self._display.made(self._job.inputs.plan.images_in(shard) - worker.kept - worker.made)
        self._hand_out(worker)

    def _felt(self, worker: _Worker, pulse: Pulse) -> None:
        worker.heard = time.monotonic() - pulse.quiet
        # Every node embeds all that it needs: the one furthest on is shown, until the first image is made.
        if not self._shared and pulse.embedded > self._embedded:
            self._display.embedded(pulse.embedded - self._embedded, pulse.to_embed)
            self._embedded = pulse.embedded
        if worker.shard is not None and pulse.shard == worker.shard:
            if pulse.kept != worker.kept:
                self._display.kept(pulse.kept - worker.kept)
            if pulse.made != worker.made:
                self._display.made(pulse.made - worker.made)
            worker.kept, worker.made = pulse.kept, pulse.made

    def _look_after(self) -> None:
        now = time.monotonic()
        up = [worker for worker in self._workers if worker.node]
        self._last_up = now if up else self._last_up
        self._check_room(now - self._last_up)
        for worker in up:
            if now - worker.heard > self._options.timeout:
                self._ray.kill(worker.actor)
                self._lost(worker, f"showed no sign of life for {self._options.timeout:g} s")
            elif worker.pulse is None and now - worker.asked > _LOOK_EVERY_S:
                worker.asked = now
                worker.pulse = worker.actor.pulse.options(concurrency_group=_PULSE).remote()

    def _check_room(self, waited: float) -> None:
        """Nobody is up: that is told, and is an error in the end."""
        late = waited > self._options.timeout
        if not late and (waited <= _TELL_AFTER_S or self._told):
            return
        resources = self._ray.cluster_resources()
        has = ", ".join(f"{resources.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU"))
        needed = "a free GPU" if self._device == "cuda" else "a free CPU"
        if late:
            raise BuildError(
                f"--engine ray: no node with {needed} came up within {self._options.timeout:g} s (the "
                f"cluster has {has}, used ones included); free some, add nodes, or "
                "wait longer with --worker-timeout"
            )
        self._told = True
        stopping.say(f"waiting for a node with {needed}; the cluster has {has}, used ones included")

    def _lost(self, worker: _Worker, why: str) -> None:
        """An actor's end: its shard is made again, by another."""
        self._let_go(worker)
        self._deaths[worker.shard] += self._counts(worker, why)
        if self._deaths[worker.shard] >= _DEATHS:
            raise BuildError(self._give_up(worker.shard, why))
        stopping.say(f"an actor on {worker.node or 'a node'} {why}; another takes its place")
        if worker.shard is not None:
            self._display.lost(worker.kept, worker.made)
            self._todo.appendleft(worker.shard)

    def _counts(self, worker: _Worker, why: str) -> bool:
        """Whether an end tells against the build: that of one getting ready may be its node's own matter."""
        others_work = any(other.shard is not None for other in self._workers)
        return worker.shard is not None or not (others_work or why == _WITH_ITS_NODE)

    def _give_up(self, shard: int | None, why: str) -> str:
        what = "actors" if shard is None else shard_name(shard, self._job.inputs.plan.shards)
        doing = "getting ready" if shard is None else "making it"
        return (
            f"{what}: {_DEATHS} actors in a row did not survive {doing}; the last {why}. Memory is a usual "
            f"reason: {to_need_less_memory(self._job.inputs)}. What is finished is kept"
        )


def _met(error: Any) -> Exception:
    """What an actor met: its own error if that is a user's, or else all that is known of it."""
    cause = error.cause
    if isinstance(cause, BuildError):
        return cause
    return RuntimeError(str(error))


def _lacks_package(error: Exception) -> BuildError:
    """A node could not even begin."""
    reason = str(error).partition("No module named")[2].splitlines()[0].strip()
    return BuildError(
        f"--engine ray: a node has no module {reason}: install synthkit {__version__} with its extra ray on "
        "every node, or give it with a runtime_env"
    )


def _why(error: Exception) -> str:
    text = str(error)
    if "its node has died" in text or "node was terminated" in text:
        return _WITH_ITS_NODE
    if "low on memory" in text:
        return "was ended for want of memory"
    return "died"
