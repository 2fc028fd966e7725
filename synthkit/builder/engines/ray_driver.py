"""The engine of a Ray cluster: actors that hold a model each, on the nodes that are up, however many come.

Actors that have nothing left to do are let go, so that a cluster can shrink.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from synthkit.builder.engines.ray_actor import Actor, Orders, Pulse
from synthkit.builder.engines.ray_cluster import check, connected
from synthkit.builder.engines.supervisor import LOOK_EVERY_S, Supervisor, Worker
from synthkit.errors import BuildError, one_line
from synthkit.generators import needs_device
from synthkit.release.learned_tokens import tokens_file
from synthkit.system import stopping
from synthkit.system.environment import NO_DEVICE, changed
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.options import Options
    from synthkit.release.shards import Origin

_TELL_AFTER_S = 15.0
_WITH_ITS_NODE = "was lost with its node"
_PULSE = "pulse"


class Ray:
    """Makes shards on the nodes of a Ray cluster, which read the real images themselves; an Engine."""

    def check(self, options: Options) -> None:
        """Raise BuildError if Ray is not installed, or nobody answers at the address of the cluster."""
        check(options.address)

    def run(self, job: Job, options: Options, display: Display) -> int:
        """Make all shards of a job.

        Raises BuildError if the cluster cannot be reached or has no room, if its nodes differ, when actors
        keep dying, and whatever a node cannot do.
        """
        wanted = _wanted_device(job, options)
        with job.store.marked() as mark, connected(options.address) as ray:
            device = wanted or ("cuda" if _gpus(ray) else "cpu")
            count = options.workers or (len(job.missing) if device == "cuda" else _nodes(ray))
            actors = _Actors(ray, job, options, mark, device)
            return Supervisor(job, actors, [""] * count, options.timeout, display).run()


def _wanted_device(job: Job, options: Options) -> str | None:
    """Return the device that every node is to use; None for a GPU if the cluster has any, or else the CPU."""
    if not needs_device(job.inputs.checkpoint):
        return NO_DEVICE
    if options.device not in ("auto", "cpu", "cuda"):
        raise BuildError(
            f"--device {options.device}: on Ray it is auto, cuda or cpu; Ray chooses which GPU an actor has"
        )
    return None if options.device == "auto" else options.device


def _gpus(ray: Any) -> float:
    return float(ray.cluster_resources().get("GPU", 0))


def _nodes(ray: Any) -> int:
    """Count nodes with a CPU: one actor each, since each takes a model's memory."""
    return sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in ray.nodes()) or 1


@dataclass(slots=True, eq=False, kw_only=True)
class _Remote(Worker):
    """An actor, the one thing that it has been told to do, and when it was asked how it goes on."""

    actor: Any
    task: Any
    pulse: Any = None
    asked: float = 0.0


class _Actors:
    """The Transport of actors. Ray chooses the node of each; `where` is its name once the actor is up."""

    kind: ClassVar[str] = "actor"
    memory: ClassVar[str] = "Memory is a usual reason"
    lasting: ClassVar[bool] = False

    def __init__(self, ray: Any, job: Job, options: Options, mark: str, device: str) -> None:
        self._ray, self._job, self._options, self._mark, self._device = ray, job, options, mark, device
        self._origin: Origin | None = None
        self._embedded = 0
        self._begun = False
        self._last_up = time.monotonic()
        self._told = False

    def start(self, place: str) -> _Remote:
        """Request an actor, whether or not a node has room for it now."""
        gpus = 1 if self._device == "cuda" else 0
        remote = self._ray.remote(concurrency_groups={_PULSE: 1})(Actor)
        remote = remote.options(num_gpus=gpus, num_cpus=1, scheduling_strategy="SPREAD", max_restarts=0)
        actor = remote.remote(os.getcwd(), self._device)  # noqa: PTH109 (a string to send)
        return _Remote(place, actor=actor, task=actor.hello.remote())

    def give(self, worker: _Remote, shard: int) -> None:
        """Have an actor make a shard."""
        self._begun = True
        worker.task = worker.actor.build.remote(shard)

    def listen(self, team: Supervisor[_Remote], seconds: float) -> None:
        """Pass on answers, and ask how everybody goes on. Raises BuildError if no node is up for too long."""
        whose = {ref: worker for worker in team.workers for ref in (worker.task, worker.pulse) if ref}
        if self._ray.wait(list(whose), timeout=seconds)[0]:
            for ref in self._ray.wait(list(whose), num_returns=len(whose), timeout=0)[0]:
                if whose[ref] in team.workers:
                    self._hear(team, whose[ref], ref)
        now = time.monotonic()
        up = [worker for worker in team.workers if worker.where]
        self._last_up = now if up else self._last_up
        self._check_room(now - self._last_up)
        for worker in up:
            if worker.pulse is None and now - worker.asked > LOOK_EVERY_S:
                worker.asked = now
                worker.pulse = worker.actor.pulse.options(concurrency_group=_PULSE).remote()

    def ask_to_stop(self, worker: _Remote) -> bool:
        """Return False: an actor ends at once or not at all."""
        return False

    def end(self, worker: _Remote) -> str:
        """Kill an actor."""
        self._ray.kill(worker.actor)
        return ""

    def _hear(self, team: Supervisor[_Remote], worker: _Remote, ref: Any) -> None:
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(ref)
        except errors.RayTaskError as error:
            raise _met(error) from None
        except errors.RuntimeEnvSetupError as error:
            reason = one_line(error, longest=400)
            raise BuildError(f"--engine ray: a node cannot set up its environment: {reason}") from None
        except errors.RayError as error:
            if not worker.where and "No module named" in str(error):
                raise _lacks_package(error) from None
            why = _why(error)
            team.lost(worker, why, by_itself=why != _WITH_ITS_NODE)
            return
        if ref == worker.pulse:
            worker.pulse = None
            self._feel(team, worker, answer)
        elif worker.shard is not None:
            team.done(worker)
        elif not worker.where:
            self._greet(worker, *answer)
        else:
            team.ready(worker)

    def _greet(self, worker: _Remote, node: str, environment: Mapping[str, str]) -> None:
        """Give orders to an actor that is up, if its node is like the others."""
        if environment["synthkit"] != __version__:
            raise BuildError(
                f"node {node}: has synthkit {environment['synthkit']}, this is {__version__}; "
                "install the same on every node"
            )
        if self._origin is None:
            self._origin = self._job.origin(environment)
        differences = changed(self._origin.environment, environment)
        if differences:
            raise BuildError(
                f"node {node}: differs from the others ({', '.join(differences)}), which can change bits; "
                "build on like nodes only"
            )
        worker.where, worker.heard = node, time.monotonic()
        worker.task = worker.actor.prepare.remote(self._orders(self._origin))

    def _orders(self, origin: Origin) -> Orders:
        inputs, place = self._job.inputs, self._job.store.place
        # It names the content of the model: a branch may move while a cluster grows.
        recipe = inputs.recipe.model_dump_json()
        limit = self._options.limit
        tokens = tokens_file(inputs.tokens) if inputs.tokens else b""
        weights = b"" if inputs.classifier is None else inputs.classifier.read_bytes()
        environment = dict(origin.environment)
        return Orders(recipe, limit, inputs.digest, environment, place, self._mark, tokens, weights)

    def _feel(self, team: Supervisor[_Remote], worker: _Remote, pulse: Pulse) -> None:
        worker.heard = time.monotonic() - pulse.quiet
        # Every node embeds all that it needs: the one furthest on is shown, until the first shard is begun.
        if not self._begun and pulse.embedded > self._embedded:
            team.embedded(pulse.embedded - self._embedded, pulse.to_embed)
            self._embedded = pulse.embedded
        if worker.shard is not None and pulse.shard == worker.shard:
            team.progress(worker, pulse.kept, pulse.made)

    def _check_room(self, waited: float) -> None:
        """Say that nobody is up for some time, and raise BuildError if that does not change."""
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


def _met(error: Any) -> Exception:
    """Return what an actor met: its own error if that is a user's, or else all that is known of it."""
    cause = error.cause
    if isinstance(cause, BuildError):
        return cause
    return RuntimeError(str(error))


def _lacks_package(error: Exception) -> BuildError:
    """Return the error of a node that could not even begin."""
    reason = str(error).partition("No module named")[2].splitlines()[0].strip()
    return BuildError(
        f"--engine ray: a node has no module {reason}: install synthkit {__version__} with its extra `ray` "
        "on every node, or give it with a runtime_env"
    )


def _why(error: Exception) -> str:
    text = str(error)
    if "its node has died" in text or "node was terminated" in text:
        return _WITH_ITS_NODE
    if "low on memory" in text:
        return "was ended for want of memory"
    return "died"
