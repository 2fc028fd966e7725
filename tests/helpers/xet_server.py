"""The Hub's content-addressed storage, Xet, as far as uploads go: xorbs of chunks, and shards of files.

The formats are those of https://huggingface.co/docs/xet. Downloads need none of it: the Hub here says
nothing of Xet when it is asked for a file, so clients fetch it over plain HTTP.
"""

from __future__ import annotations

import json
import secrets
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import lz4.frame
from werkzeug import Response

from tests.helpers.hub_files import storage_fault, xml_error
from tests.helpers.hub_routes import Call, as_json, route
from tests.helpers.hub_store import HubError

_ENTRY = 48
_LAST = b"\xff" * 32
_WITH_VERIFICATION, _WITH_METADATA = 1 << 31, 1 << 30


class Term(NamedTuple):
    """A piece of a file as a shard has it: these chunks of that xorb."""

    xorb: str
    size: int
    start: int
    stop: int


class XetFile(NamedTuple):
    """A file as a shard describes it: its terms and, from its metadata, its SHA-256."""

    sha256: str
    terms: list[Term]


def hash_text(raw: bytes) -> str:
    """A hash as Xet writes it: four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def chunks(xorb: bytes) -> Iterator[bytes]:
    """The chunks of a serialised xorb, up to its footer if it has one."""
    at = 0
    while at < len(xorb) and xorb[at] == 0:
        packed, scheme, unpacked = xorb[at + 1 : at + 4], xorb[at + 4], xorb[at + 5 : at + 8]
        end = at + 8 + int.from_bytes(packed, "little")
        chunk = _unpacked(xorb[at + 8 : end], scheme)
        if len(chunk) != int.from_bytes(unpacked, "little"):
            raise HubError(400, "A chunk has another size than its header says")
        yield chunk
        at = end


def _unpacked(data: bytes, scheme: int) -> bytes:
    if scheme == 0:
        return data
    if scheme not in (1, 2):
        raise HubError(400, f"Unknown compression scheme {scheme}")
    content = lz4.frame.decompress(data)
    return content if scheme == 1 else _regrouped(content)


def _regrouped(content: bytes) -> bytes:
    """Undo the grouping of every fourth byte."""
    out, at = bytearray(len(content)), 0
    for group in range(4):
        size = len(range(group, len(content), 4))
        out[group::4] = content[at : at + size]
        at += size
    return bytes(out)


def files(shard: bytes) -> Iterator[XetFile]:
    """The files that a shard describes; what follows, on xorbs, is the client's own index."""
    at = _ENTRY  # the header
    while shard[at : at + 32] != _LAST:
        flags, count = struct.unpack_from("<2I", shard, at + 32)
        at += _ENTRY
        terms = [_term(shard, at + _ENTRY * n) for n in range(count)]
        at += _ENTRY * count * (2 if flags & _WITH_VERIFICATION else 1)
        if not flags & _WITH_METADATA:
            raise HubError(400, "A file of the shard has no SHA-256")
        yield XetFile(hash_text(shard[at : at + 32]), terms)
        at += _ENTRY


def _term(shard: bytes, at: int) -> Term:
    _flags, size, start, stop = struct.unpack_from("<4I", shard, at + 32)
    return Term(hash_text(shard[at : at + 32]), size, start, stop)


@route("GET", "/api/{kinds}/{repo}/xet-(?P<access>read|write)-token/{rev}")
def xet_token(call: Call) -> Response:
    """Where the storage is and a token for it, in the body and in headers: clients read one or the other."""
    repo = call.writable if call.parts["access"] == "write" else call.readable
    token = {
        "casUrl": f"{call.hub.storage}/xet/{repo.kind}s/{repo.id}",
        "exp": int(time.time() + call.hub.url_lifetime),
        "accessToken": "xet-" + call.parts["access"],
    }
    response = as_json(token)
    response.headers["X-Xet-Cas-Url"] = str(token["casUrl"])
    response.headers["X-Xet-Token-Expiration"] = str(token["exp"])
    response.headers["X-Xet-Access-Token"] = str(token["accessToken"])
    return response


def _check_token(call: Call) -> None:
    if call.request.headers.get("Authorization") != "Bearer xet-write":
        raise HubError(401, "Unauthorized")


@route("POST", "/xet/{kinds}/{repo}/v1/xorb-grants/[^/]+/{oid}")
def grant_xorb(call: Call) -> Response:
    """Where to put a xorb; nowhere if it is there."""
    _check_token(call)
    oid = call.parts["oid"]
    if oid in call.hub.xorbs:
        return as_json({})
    grant = secrets.token_hex(8)
    url = call.hub.signed(call.hub.storage, f"/xorbs/{grant}/{oid}/{int(call.json['length'])}")
    return as_json({"id": grant, "method": "PUT", "url": url, "headers": {}}, 201)


@route("PUT", r"/xorbs/(?P<grant>[0-9a-f]+)/{oid}/(?P<size>\d+)")
def put_xorb(call: Call) -> Response:
    refused, xorb = storage_fault(call), call.request.get_data()
    if len(xorb) != int(call.parts["size"]):
        refused = xml_error(400, "BadDigest", "The length is not the one that was granted.")
    if refused is None:
        call.hub.granted[call.parts["grant"]] = xorb
    return refused or as_json({})


@route("POST", "/xet/{kinds}/{repo}/v1/xorb-commits/[^/]+/{oid}/grant/(?P<grant>[0-9a-f]+)")
def commit_xorb(call: Call) -> Response:
    _check_token(call)
    if call.parts["grant"] not in call.hub.granted:
        raise HubError(404, "No data was uploaded for the grant")
    return _kept(call, call.hub.granted.pop(call.parts["grant"]))


@route("POST", "/xet/{kinds}/{repo}/v1/xorbs/[^/]+/{oid}")
def post_xorb(call: Call) -> Response:
    """The way without a grant, of older clients."""
    _check_token(call)
    return _kept(call, call.request.get_data())


def _kept(call: Call, xorb: bytes) -> Response:
    known = call.parts["oid"] in call.hub.xorbs
    call.hub.xorbs[call.parts["oid"]] = list(chunks(xorb))
    return as_json({"was_inserted": not known})


@route("POST", "/xet/{kinds}/{repo}/v1/shards")
def post_shard(call: Call) -> Response:
    _check_token(call)
    _assemble(call)
    return as_json({"result": 1})


@route("POST", "/xet/{kinds}/{repo}/v2/shards")
def post_shard_and_watch(call: Call) -> Response:
    """The same with a line for each step; so an error, too, is a line under the status 200."""
    _check_token(call)
    last: dict[str, object] = {"type": "result"}
    try:
        _assemble(call)
    except HubError as error:
        last = {"type": "error", "message": error.message, "retryable": False}
    lines = [{"type": "validating", "verified": 1, "total": 1}, last]
    return Response("".join(json.dumps(line) + "\n" for line in lines), mimetype="application/x-ndjson")


def _assemble(call: Call) -> None:
    """Put the shard's files together: the repository has them under their SHA-256 from then on."""
    repository = call.hub.store.get(call.kind, call.parts["repo"])
    for file in files(call.request.get_data()):
        content = b"".join(_content(call.hub.xorbs, term) for term in file.terms)
        repository.keep(content, file.sha256)


def _content(xorbs: dict[str, list[bytes]], term: Term) -> bytes:
    content = b"".join(xorbs.get(term.xorb, [])[term.start : term.stop])
    if len(content) != term.size:
        raise HubError(400, f"Xorb {term.xorb} was not uploaded, or has other chunks")
    return content
