"""Asking the Hub with patience, and what its errors mean to a user: one line, and never the token."""

from __future__ import annotations

import errno
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from synthkit.errors import HubConflict, HubError, SynthkitError, one_line
from synthkit.hub.answers import LONGEST_PAUSE_S, BadAnswer, one_call
from synthkit.system.names import printable
from synthkit.system.progress import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
NOT_HERE = "is not on this machine, and HF_HUB_OFFLINE is set; unset it to reach the Hub"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
# Seconds between attempts, where the Hub does not say when to come again.
_HUB = "https://huggingface.co"
_PAUSES = (1.0, 2.0, 4.0, 8.0)
# What the client raises of an answer that it cannot make sense of.
_SENSELESS = (
    *(ValueError, TypeError, AttributeError, LookupError),
    *(ArithmeticError, AssertionError, RecursionError),
)
# Seconds in which a Hub that can be reached answers its first request.
_SOON_S = 5.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def ask(where: str, call: Callable[[], T], *, reached: bool = True) -> T:
    """What a call to the Hub returns, tried again while the reason for its failure may pass.

    Raises HubError, told of `where`, and OSError where the fault is this machine's: a full disk.
    """
    for pause in (*_PAUSES, None):
        try:
            with one_call():
                return call()
        except BadAnswer as error:
            raise HubError(f"{where}: {endpoint()} {error}; check HF_ENDPOINT") from None
        except SynthkitError:
            raise
        except Exception as error:
            # The client lets its HTTP library's and hf_xet's own errors through.
            local = _local(error)
            if local is not None:
                raise _naming_home(local) from None
            if pause is None or not _may_pass(error, reached=reached):
                raise _explained(error, where) from (None if _leaks(error) else error)
            seconds = min(_retry_after(error) or pause, LONGEST_PAUSE_S)
            print(f"{where}: {_reason(error)}; trying again in {duration(seconds)}", file=sys.stderr)
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _response(error: Exception) -> Any:
    """The Hub's answer that an error is about, if there was one."""
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return next((answer for answer in answers if answer is not None), None)


def _may_pass(error: Exception, *, reached: bool) -> bool:
    response = _response(error)
    if response is not None:
        return response.status_code in _PASSING or _expired(response)
    kinds = {type(cause) for cause in _causes(error)}
    names = {kind.__name__ for kind in kinds}
    if "ConnectError" in names:
        return reached
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return False
    # hf_xet raises Python's own.
    by_xet = kinds & {ConnectionError, TimeoutError, RuntimeError}
    return bool(by_xet) or "httpx2" in {kind.__module__.split(".")[0] for kind in kinds}


def _expired(response: Any) -> bool:
    """An upload's address is good for some hours; the next attempt asks for a new one."""
    return response.status_code == 403 and "expired" in response.text.lower()


def _local(error: Exception) -> OSError | None:
    """The fault of this machine behind an error: a full disk, a folder that may not be written to."""
    for cause in _causes(error):
        network = isinstance(cause, (ConnectionError, TimeoutError))
        if isinstance(cause, OSError) and cause.errno is not None and not network:
            return cause if _response(error) is None and not _by_socket(error) else None
    return None


def _naming_home(error: OSError) -> Exception:
    """A folder of the client's own that it cannot use is no --out of the user's."""
    from huggingface_hub import constants

    of_client = str(error.filename or "").startswith((constants.HF_HOME, constants.HF_HUB_CACHE))
    if not of_client or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    return HubError(
        f"{error.filename}: {error.strerror}; the Hub's client keeps its files there: "
        "set HF_HOME to a folder that you may write to"
    )


def _by_socket(error: Exception) -> bool:
    """Whether an HTTP library raised it: an address that cannot be found is an OSError, too."""
    return any(type(cause).__module__.startswith(("httpx", "httpcore")) for cause in _causes(error))


def _retry_after(error: Exception) -> float | None:
    """Seconds until the Hub wants to be asked again, by either of its headers."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    headers = getattr(_response(error), "headers", {})
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds + 1)
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _explained(error: Exception, where: str) -> HubError:
    """An error in one line: what is wrong, and what to do."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    response = _response(error)
    if response is not None:
        return _answered(error, response.status_code, where)
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in _causes(error)) or (
        isinstance(error, LocalEntryNotFoundError) and offline()
    ):
        return HubError(f"{where}: {NOT_HERE}")
    if isinstance(error, _SENSELESS):
        return HubError(f"{no_hub()} ({_reason(error)})")
    return HubError(
        f"{where}: {endpoint()} cannot be reached ({_reason(error)}); "
        "check the network and HF_ENDPOINT, and run the same command again"
    )


def _answered(error: Exception, status: int, where: str) -> HubError:
    """What an error that the Hub answers with means."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RevisionNotFoundError

    if status in (409, 412):
        return HubConflict(f"{where}: was changed by someone else meanwhile; run the same command again")
    if isinstance(error, GatedRepoError):
        return HubError(f"{where}: is gated: accept its terms on the Hub, and {LOG_IN}")
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{where}: the repository has no such version")
    # A file that cannot be had just now is an error of this kind, too.
    if isinstance(error, EntryNotFoundError) and status == 404:
        return HubError(f"{where}: lacks a file that every release has: it is no release, or not a whole one")
    hints = {
        401: f"the Hub does not accept the token, or there is none, or no such repository; {LOG_IN}",
        403: f"the Hub does not let this token do it{_said(error)}; {LOG_IN} to one with write access",
        404: f"is not on the Hub, or private; {LOG_IN}",
    }
    if status in hints:
        return HubError(f"{where}: {hints[status]}{other_hub()}")
    again = "; run the same command again, it goes on where this stopped" if status in _PASSING else ""
    return HubError(f"{where}: {_reason(error)}{_said(error)}{again}")


def _said(error: Exception) -> str:
    """What the Hub itself says of an error."""
    said = next((m for cause in _causes(error) if (m := getattr(cause, "server_message", None))), None)
    return f" ({safe_line(said)})" if said and not _leaks(error) else ""


def offline() -> bool:
    """Whether the client is told to ask nobody."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def endpoint() -> str:
    """The Hub's address, without a password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def other_hub() -> str:
    """A reminder that the usual Hub was not asked."""
    from huggingface_hub import constants

    return "" if constants.ENDPOINT == _HUB else f"; HF_ENDPOINT is {endpoint()}"


def reachable() -> bool:
    """Whether anybody answers at the Hub's address, asked once and not patiently."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_SOON_S)
    except Exception:
        # The client lets its HTTP library's own errors through, those of an address that is none among them.
        return False
    return True


@contextmanager
def asked_once() -> Iterator[bool]:
    """Whether the Hub can be reached, and a section in which `datasets` looks at its cache alone if not.

    It would ask for half a minute. Raises ConnectionError, saying so, for what is not in the cache.
    """
    import datasets

    if datasets.config.HF_HUB_OFFLINE or reachable():
        yield not datasets.config.HF_HUB_OFFLINE
        return
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield False
    except ConnectionError:
        raise ConnectionError(f"{endpoint()} cannot be reached") from None
    finally:
        datasets.config.HF_HUB_OFFLINE = False


def no_hub() -> str:
    """What to say of answers that make no sense."""
    return f"{endpoint()}: does not answer as a Hub does; check HF_ENDPOINT"


def _reason(error: Exception) -> str:
    response = _response(error)
    if response is not None:
        return f"the Hub answers {response.status_code} {safe_line(response.reason_phrase)}".rstrip()
    root = list(_causes(error))[-1] if not str(error) else error
    return "the connection failed" if _leaks(error) else f"{type(root).__name__}: {safe_line(str(root))}"


def _leaks(error: Exception) -> bool:
    """Whether the text of an error holds the token: some HTTP libraries quote headers they refuse."""
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        return False
    # As it is, and as a message quotes bytes or text that cannot be printed.
    forms = {token, repr(token)[1:-1], ascii(token)[1:-1]}
    return any(form in str(cause) for form in forms for cause in _causes(error))


def safe_line(text: object) -> str:
    """Return the beginning of a text that others wrote, on one line, without what a terminal obeys."""
    return printable(one_line(text))[:200]
