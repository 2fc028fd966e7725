"""A Hugging Face Hub in memory, for the real `huggingface_hub` and `datasets` clients.

Start a client with `HF_ENDPOINT=hub.url`. It counts requests, and can be told to fail like a network does.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

from werkzeug import Request as WsgiRequest
from werkzeug import Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.helpers import hub_api, hub_files, xet_server
from tests.helpers.hub_routes import answer
from tests.helpers.hub_store import Store, TagMade

# What clients ask for once a day and tell in passing: neither counted nor answered.
_UNCOUNTED = ("/api/agent-harnesses", "/v1/telemetry")

Environ = dict[str, Any]
ENDPOINTS = (hub_api, hub_files, xet_server)  # importing them is what makes the server answer


@dataclass
class Request:
    """One HTTP request that reached the Hub or its storage; its status is None if it was not answered.

    `token` is whether it shows the user's.
    """

    index: int
    method: str
    path: str
    origin: str = ""
    token: bool = False
    sent: int = 0
    status: int | None = None


@dataclass
class Fault:
    """What goes wrong, for the requests that it matches; used up after `times` of them.

    Kinds: a status ("429", "500", "502", "503", "504", "401", "403", "409", "412") answered without doing
    anything, the 429 with `seconds` as its Retry-After; "ratelimit", a 429 that tells them in the
    Hub's own way; "drop" before the body is read, "drop-mid" in the
    middle of it, "drop-after" the request was carried out; "slow" by `seconds`; "expired" for signed URLs,
    as S3 says it; "html", the page of some proxy; "truncate", half of a GET's body.
    """

    kind: str
    at: int | None = None
    method: str | None = None
    path: str | None = None
    times: int = 1
    seconds: float = 0.0

    def matches(self, request: Request) -> bool:
        if self.times < 1 or self.at not in (None, request.index):
            return False
        if self.kind == "truncate" and request.method != "GET":
            return False
        if self.kind == "expired" and not request.path.startswith(("/lfs/", "/xorbs/")):
            return False
        return self.method in (None, request.method) and re.search(self.path or "", request.path) is not None


@dataclass(frozen=True)
class Account:
    """Whom a token belongs to and what it allows: what `/api/whoami-v2` tells of it.

    Roles are those of the Hub: "read"; "write", to the user's namespace and organisations; "finegrained", to
    the namespaces or repositories in `writes_to`.
    """

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()
    writes_to: tuple[str, ...] = ()

    def may_read(self, repo_id: str) -> bool:
        namespace = repo_id.split("/", maxsplit=1)[0]
        return namespace in (self.name, *self.orgs) or self._named(repo_id)

    def may_write(self, repo_id: str) -> bool:
        if self.role == "finegrained":
            return self._named(repo_id)
        return self.role == "write" and repo_id.split("/", maxsplit=1)[0] in (self.name, *self.orgs)

    def _named(self, repo_id: str) -> bool:
        return repo_id in self.writes_to or repo_id.split("/", maxsplit=1)[0] in self.writes_to


class _QuietHandler(WSGIRequestHandler):
    """Prints nothing but the server's own errors."""

    def connection_dropped(self, error: BaseException, environ: Environ | None = None) -> None:
        """Read no further: what is left of a body is not the next request."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        if type == "error":
            super().log(type, message, *args)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class HubServer:
    """The Hub and, at another port, the storage to which it sends clients for large files.

    As with the real one, these are two origins: a client takes a file's metadata from the redirect, and does
    not show the storage its token. Settings: LFS objects over `multipart_over` bytes are uploaded in parts of
    `part_size`; listings have pages of `page_size`; every answer takes `latency` seconds; signed URLs and
    Xet's tokens are good for `url_lifetime` seconds.
    """

    WRITE_TOKEN = "hf_" + "w" * 34
    READ_TOKEN = "hf_" + "r" * 34
    FINE_TOKEN = "hf_" + "f" * 34  # may write to lab/digits only
    STRANGER_TOKEN = "hf_" + "s" * 34

    url: str
    storage: str

    def __init__(self) -> None:
        self.tokens = {
            self.WRITE_TOKEN: Account("ada", "write", ("lab",)),
            self.READ_TOKEN: Account("ada", "read", ("lab",)),
            self.FINE_TOKEN: Account("ada", "finegrained", ("lab",), ("lab/digits",)),
            self.STRANGER_TOKEN: Account("eve", "write"),
        }
        self.lock = threading.RLock()
        self.servers: list[BaseWSGIServer] = []
        self.multipart_over = self.part_size = 64 * 1024
        self.page_size = 1000
        self.latency = 0.0
        self.url_lifetime = 900.0
        self.reset()

    def reset(self) -> None:
        """Forget repositories, files, requests and faults; settings stay."""
        with self.lock:
            self.store = Store()
            self.requests: list[Request] = []
            self.faults: list[Fault] = []
            self.on_request: Callable[[Request], None] | None = None  # called as each arrives
            self.on_answer: Callable[[Request, Response], Response | None] | None = None  # may give another
            self.received: Counter[str] = Counter()
            self.received_xorbs = 0
            self.uploads: dict[str, dict[int, bytes]] = {}  # parts by upload
            self.xorbs: dict[str, list[bytes]] = {}  # chunks by hash
            self.granted: dict[str, bytes] = {}  # xorbs uploaded, not committed

    # --- as a server ----------------------------------------------------------------------------------

    def start(self) -> Self:
        self.servers = [
            make_server("127.0.0.1", 0, self._app, threaded=True, request_handler=_QuietHandler)
            for _ in range(2)
        ]
        self.url, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        for server in self.servers:
            server.shutdown()
        self.servers = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self, home: Path, token: str | None = None, xet: bool = False) -> dict[str, str]:
        """For a client's process: this Hub, a home, a token (None is none), and quick retries of Xet's.

        A home remembers what Xet has stored: after `reset` take another.
        """
        names = ("HF_", "HUGGING")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        return kept | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN" if token is None else "HF_TOKEN": token or "1",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "20ms",
            "HF_XET_TELEMETRY_ENABLED": "0",
            "NO_PROXY": "127.0.0.1",
        }

    # --- what tests ask and do ------------------------------------------------------------------------

    def files(self, repo_id: str, revision: str = "main", repo_type: str = "dataset") -> dict[str, bytes]:
        """What a revision holds."""
        commit = self.store.get(repo_type, repo_id).at(revision)
        return {path: file.content for path, file in commit.files.items()}

    def tags(self, repo_id: str, repo_type: str = "dataset") -> dict[str, str]:
        return dict(self.store.get(repo_type, repo_id).tags)

    def commits(self, repo_id: str, repo_type: str = "dataset") -> list[str]:
        """The ids of main's commits, newest first."""
        return [commit.sha for commit in self.store.get(repo_type, repo_id).log()]

    @property
    def tag_log(self) -> list[TagMade]:
        """Every creation of a tag, those that were deleted since too."""
        return self.store.tag_log

    def add_repo(
        self,
        repo_id: str,
        repo_type: str = "dataset",
        files: dict[str, bytes] | None = None,
        private: bool = False,
        gated: bool = False,
    ) -> None:
        """As if someone had made it."""
        with self.lock:
            repository = self.store.create(repo_type, repo_id, private)
            repository.gated = gated
            if files:
                self.store.push(repository, files, "Add files")

    def remove_repo(self, repo_id: str, repo_type: str = "dataset") -> None:
        """As if its owner had deleted it."""
        with self.lock:
            self.store.remove(repo_type, repo_id)

    def commit(
        self, repo_id: str, files: dict[str, bytes | None], message: str = "", repo_type: str = "dataset"
    ) -> str:
        """As if someone else had pushed to main; None deletes."""
        with self.lock:
            return self.store.push(self.store.get(repo_type, repo_id), files, message)

    # --- signed URLs ----------------------------------------------------------------------------------

    def signed(self, origin: str, path: str) -> str:
        """A URL that works without a token, for `url_lifetime` seconds."""
        expires = str(int(time.time() + self.url_lifetime))
        return f"{origin}{quote(path)}?expires={expires}&signature={self._signature(path, expires)}"

    def signature_fault(self, path: str, arguments: Any) -> str | None:
        """What S3 has against this URL."""
        expires, signature = arguments.get("expires", "0"), arguments.get("signature", "")
        if not hmac.compare_digest(signature, self._signature(path, expires)):
            return "SignatureDoesNotMatch"
        return "Request has expired" if int(expires) <= time.time() else None

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(b"secret", f"{path} {expires}".encode(), hashlib.sha256).hexdigest()

    # --- one request ----------------------------------------------------------------------------------

    def _app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_URI"] in _UNCOUNTED:
            return Response("{}", 404)(environ, start_response)
        record, fault = self._arrived(environ)
        store = self.store
        kind = fault.kind if fault else ""
        time.sleep(self.latency + (fault.seconds if fault and kind == "slow" else 0))
        if kind == "drop":
            drop(environ)
        if store is not self.store:  # reset while it slept
            drop(environ)
            return Response("", 503)(environ, start_response)
        body = self._received(environ, record, half=kind == "drop-mid")
        response = faulty(kind) or answer(self, _replayed(environ, body))
        if kind == "429" and fault:
            response.headers["Retry-After"] = str(int(fault.seconds))
        if kind == "ratelimit" and fault:
            response.headers["RateLimit"] = f'"api";r=0;t={int(fault.seconds)}'
        if kind == "drop-after":
            drop(environ)
        if self.on_answer:
            response = self.on_answer(record, response) or response
        record.status = response.status_code
        if kind == "truncate":
            return _truncated(response, environ, start_response)
        return response(environ, start_response)

    def _arrived(self, environ: Environ) -> tuple[Request, Fault | None]:
        path = unquote(urlsplit(environ["REQUEST_URI"]).path)
        with self.lock:
            record = Request(
                len(self.requests),
                environ["REQUEST_METHOD"],
                path,
                origin=f"http://{environ['HTTP_HOST']}",
                token="hf_" in environ.get("HTTP_AUTHORIZATION", ""),
            )
            self.requests.append(record)
        if self.on_request:
            self.on_request(record)
        with self.lock:
            fault = next((fault for fault in self.faults if fault.matches(record)), None)
            if fault:
                fault.times -= 1
            return record, fault

    def _received(self, environ: Environ, record: Request, half: bool) -> bytes:
        """The body, counted as it comes in; the connection is dropped if it ends early or should."""
        length = environ.get("CONTENT_LENGTH")
        wanted = int(length or 0) // (2 if half else 1)
        body = bytearray()
        for piece in _pieces(environ, wanted):
            body += piece
            self._count(record, len(piece))
        if half or (length and len(body) < wanted):
            drop(environ)
        return bytes(body)

    def _count(self, record: Request, size: int) -> None:
        with self.lock:
            record.sent += size
            if record.method == "PUT" and (found := re.match("/lfs/([0-9a-f]{64})", record.path)):
                self.received[found[1]] += size
            if "/xorbs/" in record.path:
                self.received_xorbs += size


def _pieces(environ: Environ, wanted: int) -> Iterator[bytes]:
    size = 64 * 1024
    chunked = environ.get("wsgi.input_terminated", False)  # then there is no length
    with contextlib.suppress(ConnectionError):
        while piece := environ["wsgi.input"].read(size if chunked else min(wanted, size)):
            wanted -= len(piece)
            yield piece


def _replayed(environ: Environ, body: bytes) -> WsgiRequest:
    replayed = {key: value for key, value in environ.items() if key != "HTTP_TRANSFER_ENCODING"}
    return WsgiRequest(replayed | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})


def drop(environ: Environ) -> None:
    """Close the connection without an answer."""
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _truncated(response: Response, environ: Environ, start_response: Callable[..., Any]) -> Iterator[bytes]:
    content = b"".join(response(environ, start_response))
    yield content[: len(content) // 2]
    drop(environ)


EXPIRED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
)
SAYS = {
    "401": "Invalid credentials in Authorization header",
    "403": "Forbidden",
    "409": "Another operation is in progress",
    "412": "A commit has happened since. Please refresh and try again.",
    "429": "Too Many Requests",
    "500": "Internal Server Error",
    "502": "Bad Gateway",
    "503": "Service Unavailable",
    "504": "Gateway Timeout",
}


def faulty(kind: str) -> Response | None:
    """The answer that a fault gives in place of the true one."""
    if kind == "expired":
        return Response(EXPIRED, 403, mimetype="application/xml")
    if kind == "html":
        return Response("<!doctype html><title>Sign in to the network</title>", 200, mimetype="text/html")
    status = "429" if kind == "ratelimit" else kind
    if status not in SAYS:
        return None
    response = Response(f'{{"error": "{SAYS[status]}"}}', int(status), mimetype="application/json")
    response.headers["X-Error-Message"] = SAYS[status]
    return response
