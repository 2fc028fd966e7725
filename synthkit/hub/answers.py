"""Checks of a Hub's answers: their size and number, and the names in them that the client writes to.

The Hub's client takes the names of folders and files in its cache from an answer's headers, and reads a body
to its end, however long. These checks see every answer before the client does.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from synthkit.errors import HubError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMIT = re.compile(r"[0-9a-f]{40}")
# Seconds: the longest pause that a Hub may ask for.
LONGEST_PAUSE_S = 300
# The most bytes of an answer in JSON, or of a body that states no length; of an error; of a call's answers.
_ANSWER, _ERROR, _CALL = 32 << 20, 1 << 20, 128 << 20
# Bytes that an answer counts at least, so that a list of empty pages reaches the limit, too.
_PAGE = 64 << 10
# The client names files of its cache by ETags.
_ETAG = re.compile(r"(?!\.)[\w.+=-]{1,200}", re.ASCII)
_HUBS = ("huggingface.co", "hf.co")


class BadAnswer(HubError):
    """An answer that no Hub gives; the message says what is wrong with it."""


@dataclass
class _Call:
    """The bytes that are left to the answers to one call, and the pages of a list that came."""

    left: int = _CALL
    pages: set[str] = field(default_factory=set)


_call: ContextVar[_Call | None] = ContextVar("_call", default=None)
_stated: ContextVar[int | None] = ContextVar("_stated", default=None)


@contextmanager
def one_call() -> Iterator[None]:
    """Limit the bytes of all answers in this section together: they answer one question."""
    token = _call.set(_Call())
    try:
        yield
    finally:
        _call.reset(token)


@contextmanager
def of_size(stated: int) -> Iterator[None]:
    """Require that a file fetched in this section has exactly as many bytes as stated."""
    token = _stated.set(stated)
    try:
        yield
    finally:
        _stated.reset(token)


def check_request(request: Any) -> None:
    """Remove the token from a request that does not go to the Hub: a list's next page may be anywhere."""
    if not _is_hub(str(request.url)):
        request.headers.pop("Authorization", None)


def check_answer(response: Any) -> None:
    """Raise BadAnswer for headers or a length that no Hub sends; limit what is read of the body."""
    headers = response.headers
    _limit_pause(headers)
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        # No compression was asked for, and a few bytes could unpack to gigabytes.
        raise BadAnswer("answers in a compressed form that was not asked for")
    commit = headers.get("X-Repo-Commit")
    if commit is not None and not COMMIT.fullmatch(commit):
        raise BadAnswer("names a commit that is not 40 hexadecimal digits")
    _check_address(response)
    if response.request.method == "HEAD":
        _check_file(response)
    else:
        _bound(response)


def _is_hub(address: str) -> bool:
    from huggingface_hub import constants

    ours, theirs = urlsplit(constants.ENDPOINT), urlsplit(address)
    if theirs.hostname == ours.hostname:
        return theirs.scheme == "https" or theirs.netloc.rpartition("@")[2] == ours.netloc.rpartition("@")[2]
    host = theirs.hostname or ""
    return theirs.scheme == "https" and any(host == hub or host.endswith(f".{hub}") for hub in _HUBS)


def _is_http(base: str, address: str) -> bool:
    try:
        parts = urlsplit(urljoin(base, address))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _limit_pause(headers: Any) -> None:
    """Shorten the pause that an answer asks for: the client would sleep however long it is."""
    pause = headers.get("Retry-After")
    if pause is not None and not (pause.isascii() and pause.isdecimal()):
        del headers["Retry-After"]
    elif pause is not None and (len(pause) > 9 or int(pause) > LONGEST_PAUSE_S):
        headers["Retry-After"] = str(LONGEST_PAUSE_S)
    until = re.search(r"t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    if until is not None and (len(until[1]) > 9 or int(until[1]) > LONGEST_PAUSE_S):
        headers["RateLimit"] = headers["RateLimit"].replace(until[0], f"t={LONGEST_PAUSE_S}")


def _check_address(response: Any) -> None:
    """Raise BadAnswer if an answer leads to an address that is not HTTP, or the token to another host."""
    url, headers = str(response.request.url), response.headers
    if "Location" in headers and not _is_http(url, headers["Location"]):
        raise BadAnswer("leads to an address that is neither http:// nor https://")
    link = response.links.get("xet-auth", {}).get("url") if "Link" in headers else None
    for route in filter(None, (link, headers.get("X-Xet-Refresh-Route"))):
        if not (_is_http(url, route) and _is_hub(urljoin(url, route))):
            raise BadAnswer("sends the token to another host")


def _check_file(response: Any) -> None:
    """Raise BadAnswer for an ETag that is not a digest, which would name a file, or for another size."""
    headers, stated = response.headers, _stated.get()
    for etag in filter(None, (headers.get("ETag"), headers.get("X-Linked-ETag"))):
        if not _ETAG.fullmatch(etag.removeprefix("W/").strip('"')):
            raise BadAnswer("names a file by an ETag that is not a digest")
    told = headers.get("X-Linked-Size")
    if told is None and response.status_code == 200:
        told = headers.get("Content-Length")
    if stated is not None and told is not None and told != str(stated):
        raise _another_size(told, stated)


def _bound(response: Any) -> None:
    """Have the client read no more of a body than the answer may have. Raises BadAnswer."""
    call, stated = _call.get(), _stated.get()
    url = str(response.request.url)
    asked = response.request.method == "GET" and "/api/" in url
    if not response.is_success:
        limit, call = _ERROR, None
    elif stated is not None and not asked:
        limit, call = stated, None
    elif asked and call is not None:
        if "/tree/" in url and url in call.pages:
            raise BadAnswer("gives a list that leads back to its beginning")
        call.left -= _PAGE
        limit = min(_ANSWER, call.left)
    else:
        limit = _ANSWER
    length, partial = _length(response), response.status_code == 206
    if length is not None and limit == stated and (length > limit or (length < limit and not partial)):
        raise _another_size(str(length), limit)
    if length is not None and length > limit:
        raise _endless(limit)
    if length is not None and not asked and stated is None and response.is_success:
        return  # The HTTP library makes sure that the body has the length that the answer states.

    def ended(count: int) -> None:
        if call is not None and asked:
            call.left -= count
            call.pages.add(url)

    response.stream = _bounded(response.stream, limit, stated, ended)


def _length(response: Any) -> int | None:
    """Return the length that an answer states, or None."""
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None


def _bounded(stream: Any, limit: int, stated: int | None, ended: Callable[[int], None]) -> Any:
    """Return a body that raises BadAnswer after `limit` bytes, and calls `ended` with its length."""
    from httpx2 import SyncByteStream

    class Bounded(SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            count = 0
            for piece in stream:
                count += len(piece)
                if count > limit:
                    raise _another_size("more", limit) if limit == stated else _endless(limit)
                yield piece
            ended(count)

        def close(self) -> None:
            stream.close()

    return Bounded()


def _another_size(told: str, stated: int) -> BadAnswer:
    count = f"{int(told):,}" if told.isascii() and told.isdecimal() and len(told) < 20 else "more"
    return BadAnswer(f"a file has {count} bytes, not the {stated:,} that are stated")


def _endless(limit: int) -> BadAnswer:
    return BadAnswer(f"gives an answer without an end, or one larger than {max(limit, 0) >> 20:,} MiB")
