"""Checks of the environment variables of the Hub's client, which fails while it loads if one is wrong."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from synthkit.errors import HubError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from urllib.parse import SplitResult

ENDPOINT = "HF_ENDPOINT"
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
# What is wrong with the variables that the command runs without, by name.
_aside: dict[str, str] = {}


def check_environment() -> None:
    """Raise HubError for the first variable that the Hub's client could not read."""
    for name, problem in (*_aside.items(), *_problems()):
        raise HubError(f"{name}: {problem}")


@contextmanager
def faults_set_aside() -> Iterator[None]:
    """Run a command without the variables that `check_environment` refuses.

    Libraries load the Hub's client even in commands that do not use the Hub, which must not fail because of
    such a variable. A command that uses the Hub calls `check_environment`, which then raises.
    """
    found = dict(_problems())
    before = {name: os.environ.pop(name) for name in found}
    _aside.update(found)
    try:
        yield
    finally:
        os.environ.update(before)
        for name in found:
            _aside.pop(name, None)


def _problems() -> Iterator[tuple[str, str]]:
    for name, problem_of in _CHECKS.items():
        value = os.environ.get(name)
        problem = None if value is None else problem_of(value)
        if problem is not None:
            yield name, problem


def _endpoint(value: str) -> str | None:
    problem = _address(value, ("http", "https"))
    if problem is None and set(value) & {"?", "#"}:
        problem = "has more than a host and a path"
    return problem and f"{problem}; write the Hub's address as https://HOST, or unset it"


def _proxy(value: str) -> str | None:
    # Empty means no proxy; a host without a scheme is one of HTTP.
    if not value:
        return None
    address = value if "://" in value else f"http://{value}"
    problem = _address(address, ("http", "https", "socks5", "socks5h"), password=True)
    if problem is None and address.startswith("socks") and not _installed("socksio"):
        problem = "is a SOCKS proxy, which needs `pip install socksio`"
    return problem and f"{problem}; write the proxy's address as http://HOST:PORT, or unset it"


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _address(value: str, schemes: tuple[str, ...], *, password: bool = False) -> str | None:
    """Return what is wrong with an address, without quoting it, as it may hold a password; else None."""
    if not value:
        return "is empty"
    if not value.isprintable() or " " in value:
        return "holds a space, or a character that cannot be printed"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return "its port is not a number from 1 to 65535" if "ort" in str(error) else "its host is not a name"
    if parts.scheme not in schemes:
        return f"does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not host or not _HOST.fullmatch(host) or not _encodes(host):
        return "names no host" if not host else "its host is not a name"
    if port == 0:
        return "its port is not a number from 1 to 65535"
    if not password and _has_password(parts):
        return "holds a user name or a password; a token belongs in HF_TOKEN"
    return None


def _has_password(parts: SplitResult) -> bool:
    return "@" in parts.netloc


def _encodes(host: str) -> bool:
    """Return whether a host's name can be looked up."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _whole_number(value: str) -> str | None:
    try:
        seconds = int(value)
    except ValueError:
        seconds = -1
    return None if 0 <= seconds < 10**6 else "must be a whole number of seconds"


def _number(value: str) -> str | None:
    try:
        return "must be a number" if math.isnan(float(value)) else None
    except ValueError:
        return "must be a number"


def _certificates(value: str) -> str | None:
    if not value:
        return None
    import ssl

    try:
        ssl.create_default_context(cafile=value)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        return f"is not a file of certificates ({one_line(reason, longest=80)})"
    return None


def _certificate_folder(value: str) -> str | None:
    return None if not value or os.path.isdir(value) else "is not a folder"  # noqa: PTH112 (text may be anything)


_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_CHECKS: dict[str, Callable[[str], str | None]] = {
    ENDPOINT: _endpoint,
    "HF_HUB_ETAG_TIMEOUT": _whole_number,
    "HF_HUB_DOWNLOAD_TIMEOUT": _whole_number,
    "HF_DATASETS_IN_MEMORY_MAX_SIZE": _number,
    "DIFFUSERS_TIMEOUT_REMOTE_CODE": _whole_number,
    **{name: _proxy for low in _PROXIES for name in (low, low.upper())},
    "SSL_CERT_FILE": _certificates,
    "SSL_CERT_DIR": _certificate_folder,
}
