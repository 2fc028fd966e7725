"""Calls to the Hub, repeated where a failure may pass, and its errors in one line without the token."""

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
_HUB = "https://huggingface.co"
# Seconds between attempts, unless the Hub says when to ask again.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
# The errors that the client raises for an answer that makes no sense.
_SENSELESS = (
    *(ValueError, TypeError, AttributeError, LookupError),
    *(ArithmeticError, AssertionError, RecursionError),
)
# Seconds after which a Hub that has not answered the first request counts as out of reach.
_SOON_S = 5.0
# HTTP status codes of failures that may pass.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def ask(where: str, call: Callable[[], T], *, reached: bool = True) -> T:
    """Return what a call to the Hub returns; repeat it while it fails for a reason that may pass.

    With `reached`, that includes a Hub that cannot be reached. Raises HubError, which begins with `where`,
    and OSError for faults of this machine such as a full disk.
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
            # The client passes on errors of its HTTP library and of hf_xet.
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
    """Return the Hub's answer that an error is about, or None."""
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
    # hf_xet raises Python's own errors.
    by_xet = kinds & {ConnectionError, TimeoutError, RuntimeError}
    return bool(by_xet) or "httpx2" in {kind.__module__.split(".")[0] for kind in kinds}


def _expired(response: Any) -> bool:
    """Return whether an upload's address has expired, as it does in hours; another attempt gets a new one."""
    return response.status_code == 403 and "expired" in response.text.lower()


def _local(error: Exception) -> OSError | None:
    """Return the fault of this machine behind an error, as a full disk or a read-only folder; else None."""
    for cause in _causes(error):
        network = isinstance(cause, (ConnectionError, TimeoutError))
        if isinstance(cause, OSError) and cause.errno is not None and not network:
            return cause if _response(error) is None and not _by_socket(error) else None
    return None


def _naming_home(error: OSError) -> Exception:
    """Return a fault of this machine, with advice on HF_HOME if it is with a folder of the client's."""
    from huggingface_hub import constants

    of_client = str(error.filename or "").startswith((constants.HF_HOME, constants.HF_HUB_CACHE))
    if not of_client or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    return HubError(
        f"{error.filename}: {error.strerror}; the Hub's client keeps its files there: "
        "set HF_HOME to a folder that you may write to"
    )


def _by_socket(error: Exception) -> bool:
    """Return whether an HTTP library raised an error: an unknown host is an OSError, too."""
    return any(type(cause).__module__.startswith(("httpx", "httpcore")) for cause in _causes(error))


def _retry_after(error: Exception) -> float | None:
    """Return the seconds after which the Hub wants to be asked again, by either of two headers."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    headers = getattr(_response(error), "headers", {})
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds + 1)
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _explained(error: Exception, where: str) -> HubError:
    """Return an error in one line: what is wrong, and what to do."""
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
    """Return what an answer with an error status means, and what to do."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RevisionNotFoundError

    if status in (409, 412):
        return HubConflict(f"{where}: was changed by someone else meanwhile; run the same command again")
    if isinstance(error, GatedRepoError):
        return HubError(f"{where}: is gated: accept its terms on the Hub, and {LOG_IN}")
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{where}: the repository has no such version")
    # The client raises this error also for a file that it cannot get at the moment.
    if isinstance(error, EntryNotFoundError) and status == 404:
        return HubError(
            f"{where}: lacks a file that every release has: it is not a release, or not a whole one"
        )
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
    """Return what the Hub says of an error, in brackets; an empty text if it says nothing."""
    said = next((m for cause in _causes(error) if (m := getattr(cause, "server_message", None))), None)
    return f" ({safe_line(said)})" if said and not _leaks(error) else ""


def offline() -> bool:
    """Return whether HF_HUB_OFFLINE keeps the client from the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def endpoint() -> str:
    """Return the Hub's address, without a password that HF_ENDPOINT may hold."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def other_hub() -> str:
    """Return a reminder, to end an error, that HF_ENDPOINT names another Hub; else an empty text."""
    from huggingface_hub import constants

    return "" if constants.ENDPOINT == _HUB else f"; HF_ENDPOINT is {endpoint()}"


def reachable() -> bool:
    """Return whether a Hub answers at its address, asked once."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_SOON_S)
    except Exception:
        # The client passes on its HTTP library's errors, also those of a malformed address.
        return False
    return True


@contextmanager
def asked_once() -> Iterator[bool]:
    """Yield whether the Hub can be reached; if it cannot, `datasets` looks only at its cache in this section.

    Otherwise `datasets` would try for half a minute. Raises ConnectionError for what is not in the cache.
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
    """Return the error for answers that make no sense."""
    return f"{endpoint()}: does not answer as a Hub does; check HF_ENDPOINT"


def _reason(error: Exception) -> str:
    """Return why a call failed, without the token."""
    response = _response(error)
    if response is not None:
        return f"the Hub answers {response.status_code} {safe_line(response.reason_phrase)}".rstrip()
    root = list(_causes(error))[-1] if not str(error) else error
    return "the connection failed" if _leaks(error) else f"{type(root).__name__}: {safe_line(str(root))}"


def _leaks(error: Exception) -> bool:
    """Return whether the text of an error holds the token: some HTTP libraries quote headers they refuse."""
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        return False
    # Messages quote text that cannot be printed, and bytes, with escapes.
    forms = {token, repr(token)[1:-1], ascii(token)[1:-1]}
    return any(form in str(cause) for form in forms for cause in _causes(error))


def safe_line(text: object) -> str:
    """Return the beginning of a text that others wrote, on one line, without what a terminal obeys."""
    return printable(one_line(text))[:200]
