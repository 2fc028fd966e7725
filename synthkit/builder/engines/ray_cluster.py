"""The connection to a Ray cluster: made or refused within seconds, without Ray's own output."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synthkit.errors import BuildError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S = 5.0


def import_ray() -> Any:
    """Import and return the module `ray`. Raises BuildError if it is not installed."""
    # Ray warns of a change to come in how it hides GPUs from those who ask for none; here they use none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise BuildError(
            "--engine ray: Ray is not installed here: in the clone of synthkit, pip install '.[ray]'"
        ) from None
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster for the length of a block; yields the module `ray`.

    Without an address, to the cluster that this machine is part of. Raises BuildError if there is none, or if
    it cannot be reached.
    """
    ray = import_ray()
    address = address or _default()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _connect(ray, address)
        # Ray takes SIGTERM for itself.
        _restore(before)
        yield ray
    finally:
        ray.shutdown()
        _restore(before)


def check(address: str | None) -> None:
    """Raise BuildError if Ray is not installed, or if nobody answers at the address.

    Ray itself waits for minutes for somebody to answer.
    """
    import_ray()
    _check(address or _default())


def _default() -> str:
    return os.environ.get("RAY_ADDRESS") or "auto"


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = one_line(error, longest=400).rstrip(".")
        raise BuildError(f"{_name(address)}: {reason}; {_HINT}") from None
    # Raylets' own accounts of lost nodes go to standard output; a build tells of them itself.
    ray._private.worker._worker_logs_enabled = False


_HINT = (
    "start a cluster (`ray start --head`), run this on one of its nodes (`ray job submit`), or give "
    "--address HOST:PORT, which `ray status` and the output of `ray start` tell"
)


def _check(address: str) -> None:
    if address == "auto":
        return
    if "://" in address:
        raise BuildError(
            f"{_name(address)}: is for clients outside the cluster, which synthkit cannot be; run this on "
            "one of its nodes, for example with `ray job submit`, where no --address is needed"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BuildError(f"{_name(address)}: is not an address; it must be HOST:PORT, e.g. 10.0.0.7:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BuildError(f"{_name(address)}: nothing answers there ({reason}); {_HINT}") from None
    _check_protocol(address)


def _check_protocol(address: str) -> None:
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return  # Ray has the certificates.
    import grpc

    channel = grpc.insecure_channel(address)
    try:
        grpc.channel_ready_future(channel).result(timeout=_PATIENCE_S)
    except grpc.FutureTimeoutError:
        raise BuildError(f"{_name(address)}: something other than Ray answers there; {_HINT}") from None
    finally:
        channel.close()


def _name(address: str) -> str:
    return "--engine ray" if address == "auto" else f"--address {address}"


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
