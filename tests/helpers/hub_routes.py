"""How `hub_server` finds what answers a request, and what every answer needs: who asks, for what."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from tests.helpers.hub_store import Commit, HubError, Repository, not_found

if TYPE_CHECKING:
    from tests.helpers.hub_server import Account, HubServer

_PLACEHOLDERS = {
    "{kinds}": "(?P<kinds>models|datasets|spaces)",
    "{repo}": "(?P<repo>[^/]+/[^/]+?|[^/]+?)",
    "{rev}": "(?P<rev>[^/]+)",
    "{path}": "(?P<path>.+)",
    "{oid}": "(?P<oid>[0-9a-f]{64})",
    "{part}": r"(?P<part>\d+)",
}


@dataclass
class Call:
    """One request: who asks, and for what. Refuses with the status and the error code of the Hub."""

    hub: HubServer
    request: Request
    parts: dict[str, str]

    @property
    def token(self) -> str | None:
        """The token shown; raises 401 if it is none of the Hub's."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme and (scheme != "Bearer" or token not in self.hub.tokens):
            raise HubError(401, "Invalid credentials in Authorization header")
        return token or None

    @property
    def account(self) -> Account | None:
        return self.hub.tokens[self.token] if self.token else None

    @property
    def user(self) -> Account:
        if self.account is None:
            raise HubError(401, "Invalid username or password.")
        return self.account

    @property
    def kind(self) -> str:
        return self.parts.get("kinds", "models").removesuffix("s")

    @property
    def json(self) -> Any:
        return json.loads(self.request.get_data() or b"{}")

    @property
    def repo(self) -> Repository:
        """The repository, if the asker may see it. Without a token, the Hub says 401 of what is hidden."""
        account, repo_id = self.account, self.parts["repo"]
        try:
            found = self.hub.store.get(self.kind, repo_id)
            if found.private and not (account and account.may_read(repo_id)):
                raise not_found("repository", repo_id)
        except HubError as error:
            if account is None:
                raise HubError(401, "Invalid username or password.", "RepoNotFound") from error
            raise
        return found

    @property
    def readable(self) -> Repository:
        """The same, if its files may be read too."""
        found = self.repo
        if found.gated and not (self.account and self.account.may_read(found.id)):
            message = f"Access to {self.kind} {found.id} is restricted. You must have access to it."
            raise HubError(403 if self.account else 401, message, "GatedRepo")
        return found

    @property
    def writable(self) -> Repository:
        found = self.repo
        if not self.user.may_write(found.id):
            raise HubError(403, f"You don't have the rights to write to {self.kind} {found.id}")
        return found

    @property
    def commit(self) -> Commit:
        return self.readable.at(self.parts.get("rev", "main"))

    def public_url(self, *path: str) -> str:
        prefix = "" if self.kind == "model" else f"/{self.kind}s"
        return f"{self.hub.url}{prefix}/" + "/".join(path)


Handler = Callable[[Call], Response]
_routes: list[tuple[str, re.Pattern[str], Handler]] = []


def route(methods: str, *paths: str) -> Callable[[Handler], Handler]:
    """Answer these paths, in which the placeholders stand for quoted names."""

    def register(handler: Handler) -> Handler:
        for path in paths:
            pattern = re.compile(re.sub(r"\{[a-z]+\}", lambda found: _PLACEHOLDERS[found[0]], path))
            _routes.extend((method, pattern, handler) for method in methods.split())
        return handler

    return register


def answer(hub: HubServer, request: Request) -> Response:
    """Carry out a request. One at a time: none sees another half done."""
    path = urlsplit(request.environ["REQUEST_URI"]).path
    for method, pattern, handler in _routes:
        if method == request.method and (found := pattern.fullmatch(path)):
            parts = {name: unquote(value) for name, value in found.groupdict().items()}
            with hub.lock:
                return _told(handler, Call(hub, request, parts))
    return failed(HubError(404, f"Sorry, there is no {request.method} {path}"))


def _told(handler: Handler, call: Call) -> Response:
    try:
        return handler(call)
    except HubError as error:
        return failed(error)
    except HTTPException as error:
        return Response.force_type(error.get_response(call.request.environ))


def failed(error: HubError) -> Response:
    response = as_json({"error": error.message} | error.body, error.status)
    response.headers["X-Error-Message"] = error.message
    if error.code:
        response.headers["X-Error-Code"] = error.code
    return response


def as_json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, mimetype="application/json")
