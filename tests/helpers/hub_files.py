"""The Hub's endpoints of files: listings, downloads, and the uploads of large files."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any
from urllib.parse import quote

from werkzeug import Response

from tests.helpers.hub_routes import Call, as_json, route
from tests.helpers.hub_store import DATE, Commit, File, HubError, not_found

# --- listings ------------------------------------------------------------------------------------------


@route("GET", "/api/{kinds}/{repo}/tree/{rev}", "/api/{kinds}/{repo}/tree/{rev}/{path}")
def tree(call: Call) -> Response:
    # Who may not read the files of a gated repository may list them.
    commit, folder = call.repo.at(call.parts["rev"]), call.parts.get("path", "").strip("/")
    arguments = call.request.args
    expand = arguments.get("expand", "").lower() in ("true", "1")
    paths = _listed(commit, folder, arguments.get("recursive", "").lower() in ("true", "1"))
    start = int(arguments.get("cursor", 0))
    stop = start + call.hub.page_size
    response = as_json([_entry(commit, path, expand) for path in paths[start:stop]])
    if stop < len(paths):
        wanted = "&".join(f"{key}={quote(value)}" for key, value in arguments.items() if key != "cursor")
        response.headers["Link"] = f'<{call.request.base_url}?{wanted}&cursor={stop}>; rel="next"'
    return response


def _listed(commit: Commit, folder: str, recursive: bool) -> list[str]:
    """Paths of the folders and files in a folder."""
    start = len(folder) + 1 if folder else 0
    found: set[str] = set()
    for path in commit.folder(folder):
        parts = path[start:].split("/")
        depths = range(1, len(parts) + 1) if recursive else (1,)
        found.update(path[:start] + "/".join(parts[:depth]) for depth in depths)
    return sorted(found)


def _entry(commit: Commit, path: str, expand: bool) -> dict[str, Any]:
    file = commit.files.get(path)
    entry: dict[str, Any] = {"type": "directory", "oid": "", "size": 0, "path": path}
    if file is None:
        entry["oid"] = commit.tree_id(path)
    else:
        entry |= {"type": "file", "oid": file.blob_id, "size": file.size}
    if file and file.sha256:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    if expand:
        entry["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": DATE}
    return entry


@route("POST", "/api/{kinds}/{repo}/paths-info/{rev}")
def paths_info(call: Call) -> Response:
    commit = call.commit
    form = call.request.form if call.request.form else call.json
    paths = form.getlist("paths") if call.request.form else form["paths"]
    expand = str(form.get("expand", "")).lower() == "true"
    there = set(_listed(commit, "", recursive=True))
    return as_json([_entry(commit, path, expand) for path in paths if path in there])


# --- downloads -----------------------------------------------------------------------------------------


@route("GET HEAD", "/{kinds}/{repo}/resolve/{rev}/{path}", "/{repo}/resolve/{rev}/{path}")
def resolve(call: Call) -> Response:
    """A file, or for a large one a redirect to the storage, with what a client should know of it."""
    commit, path = call.commit, call.parts["path"]
    if path not in commit.files:
        raise not_found("entry", path)
    file = commit.files[path]
    if file.sha256 is None:
        response = _content(call, file, path)
    else:
        location = call.hub.signed(call.hub.storage, f"/lfs/{call.kind}s/{call.repo.id}/{file.sha256}/{path}")
        response = Response(f"Found. Redirecting to {location}", 302, mimetype="text/plain")
        response.headers["Location"] = location
        response.headers["X-Linked-Size"] = str(file.size)
        response.headers["X-Linked-ETag"] = f'"{file.etag}"'
    response.headers["X-Repo-Commit"] = commit.sha
    return response


@route("GET HEAD", "/lfs/{kinds}/{repo}/{oid}/{path}")
def stored(call: Call) -> Response:
    refused, large = storage_fault(call), call.hub.store.get(call.kind, call.parts["repo"]).large
    if call.parts["oid"] not in large:
        refused = xml_error(404, "NoSuchKey", "The specified key does not exist.")
    return refused or _content(call, File(large[call.parts["oid"]], call.parts["oid"]), call.parts["path"])


def _content(call: Call, file: File, path: str) -> Response:
    """The bytes, or those of them that were asked for: 206 and 416."""
    response = Response(file.content, mimetype="application/octet-stream")
    response.set_etag(file.etag)
    response.headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1])}"
    return response.make_conditional(call.request.environ, accept_ranges=True, complete_length=file.size)


def storage_fault(call: Call) -> Response | None:
    """S3's answer to a URL it does not accept; it also refuses a token next to the signature."""
    fault = call.hub.signature_fault(call.request.path, call.request.args)
    if "Authorization" in call.request.headers:
        fault = "Only one auth mechanism allowed"
    return xml_error(403, "AccessDenied", fault) if fault else None


def xml_error(status: int, code: str, message: str) -> Response:
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = f"{declaration}<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, mimetype="application/xml")


# --- uploads of large files ------------------------------------------------------------------------------


@route("POST", r"/{kinds}/{repo}\.git/info/lfs/objects/batch", r"/{repo}\.git/info/lfs/objects/batch")
def lfs_batch(call: Call) -> Response:
    """Where to put which object. What the repository has already needs no action.

    Whoever may read may send one, for a pull request; to commit it to a branch is refused.
    """
    repo, wanted = call.readable, call.json
    several = "multipart" in wanted["transfers"]
    objects = []
    for item in wanted["objects"]:
        oid, size = item["oid"], item["size"]
        there = oid in repo.large and len(repo.large[oid]) == size
        objects.append({"oid": oid, "size": size} | ({} if there else _actions(call, oid, size, several)))
    multipart = "chunk_size" in json.dumps(objects)
    return as_json({"transfer": "multipart" if multipart else "basic", "objects": objects})


def _actions(call: Call, oid: str, size: int, several: bool) -> dict[str, Any]:
    hub, repo = call.hub, call.repo
    target = f"/lfs/{oid}/{repo.kind}s/{repo.id}/{size}"
    upload: dict[str, Any] = {"href": hub.signed(hub.storage, target)}
    if several and size > hub.multipart_over:
        upload_id = secrets.token_hex(8)
        hub.uploads[upload_id] = {}
        parts = range(1, -(-size // hub.part_size) + 1)
        urls = {f"{n:05}": hub.signed(hub.storage, f"/lfs/{oid}/parts/{upload_id}/{n}") for n in parts}
        done = f"/api/complete_multipart/{upload_id}/{repo.kind}s/{repo.id}/{size}"
        upload = {"href": hub.signed(hub.url, done), "header": {"chunk_size": str(hub.part_size)} | urls}
    verify = {"href": call.public_url(f"{repo.id}.git", "info", "lfs", "verify")}
    return {"authenticated": True, "actions": {"upload": upload, "verify": verify}}


@route("PUT", r"/lfs/{oid}/{kinds}/{repo}/(?P<size>\d+)")
def put_object(call: Call) -> Response:
    content, oid = call.request.get_data(), call.parts["oid"]
    refused = storage_fault(call) or _digest_fault(content, oid, int(call.parts["size"]))
    if refused is None:
        call.hub.store.get(call.kind, call.parts["repo"]).keep(content, oid)
    return refused or _stored_as(content)


@route("PUT", "/lfs/{oid}/parts/(?P<upload>[0-9a-f]+)/{part}")
def put_part(call: Call) -> Response:
    refused, content = storage_fault(call), call.request.get_data()
    if call.parts["upload"] not in call.hub.uploads:
        refused = xml_error(404, "NoSuchUpload", "The specified upload does not exist.")
    if refused is None:
        call.hub.uploads[call.parts["upload"]][int(call.parts["part"])] = content
    return refused or _stored_as(content)


@route("POST", r"/api/complete_multipart/(?P<upload>[0-9a-f]+)/{kinds}/{repo}/(?P<size>\d+)")
def complete_multipart(call: Call) -> Response:
    wanted, parts = call.json, call.hub.uploads.get(call.parts["upload"], {})
    if call.hub.signature_fault(call.request.path, call.request.args):
        raise HubError(403, "The URL has expired")
    named = {part["partNumber"]: part["etag"].strip('"') for part in wanted["parts"]}
    if named != {number: _md5(content) for number, content in parts.items()}:
        raise HubError(400, "One or more of the specified parts could not be found")
    content = b"".join(parts[number] for number in sorted(parts))
    if _digest_fault(content, wanted["oid"], int(call.parts["size"])):
        raise HubError(400, "The content is not that of the object")
    call.hub.store.get(call.kind, call.parts["repo"]).keep(content, wanted["oid"])
    del call.hub.uploads[call.parts["upload"]]
    return as_json({"success": True})


@route("POST", r"/{kinds}/{repo}\.git/info/lfs/verify", r"/{repo}\.git/info/lfs/verify")
def verify(call: Call) -> Response:
    wanted, repo = json.loads(call.request.get_data()), call.readable
    if len(repo.large.get(wanted["oid"], b"")) != wanted["size"]:
        raise HubError(404, f"Object {wanted['oid']} does not exist")
    return as_json({})


def _digest_fault(content: bytes, oid: str, size: int) -> Response | None:
    if len(content) == size and hashlib.sha256(content).hexdigest() == oid:
        return None
    return xml_error(400, "BadDigest", "The checksum you specified did not match what we received.")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _stored_as(content: bytes) -> Response:
    return Response("", 200, {"ETag": f'"{_md5(content)}"'})
