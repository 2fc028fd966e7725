"""The Hub's endpoints of accounts, repositories, commits, branches and tags."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.helpers.hub_routes import Call, as_json, route
from tests.helpers.hub_store import DATE, Commit, File, HubError, Repository, not_found

if TYPE_CHECKING:
    from werkzeug import Response

# What the first commit of a new static Space has.
STATIC_SPACE = {
    "README.md": b"---\ntitle: Mine\nsdk: static\n---\n",
    "index.html": b'<!doctype html>\n<link rel="stylesheet" href="style.css" />\nyour static Space!\n',
    "style.css": b"body { padding: 2rem; }\n",
}
LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "openrail", "other", "unknown"}

# --- accounts and repositories -------------------------------------------------------------------------


@route("GET", "/api/whoami-v2")
def whoami(call: Call) -> Response:
    user = call.user
    token: dict[str, Any] = {"displayName": "tests", "role": user.role.replace("finegrained", "fineGrained")}
    if user.role == "finegrained":
        token["fineGrained"] = {"global": [], "scoped": [_scope(name, user.name) for name in user.writes_to]}
    orgs = [{"type": "org", "name": name, "roleInOrg": "write", "isEnterprise": False} for name in user.orgs]
    identity = {"type": "user", "id": user.name, "name": user.name, "fullname": user.name, "isPro": False}
    return as_json(identity | {"orgs": orgs, "auth": {"type": "access_token", "accessToken": token}})


def _scope(name: str, user: str) -> dict[str, Any]:
    kind = "dataset" if "/" in name else "user" if name == user else "org"
    return {"entity": {"type": kind, "name": name}, "permissions": ["repo.content.read", "repo.write"]}


@route("POST", "/api/repos/create")
def create_repo(call: Call) -> Response:
    wanted = call.json
    call.parts["kinds"] = f"{wanted.get('type') or 'model'}s"
    namespace = wanted.get("organization") or call.user.name
    repo_id = f"{namespace}/{wanted['name']}"
    if not call.user.may_write(repo_id):
        message = f"You don't have the rights to create a {call.kind} under the namespace"
        raise HubError(403, f'{message} "{namespace}"')
    told = {"url": call.public_url(repo_id), "name": repo_id}
    if (call.kind, repo_id) in call.hub.store.repositories:
        raise HubError(409, f"You already created this {call.kind} repo: {repo_id}", **told)
    made = call.hub.store.create(call.kind, repo_id, private=wanted.get("visibility") == "private")
    if call.kind == "space":
        if wanted.get("sdk") != "static":
            raise HubError(400, f"Invalid SDK for this Space: {wanted.get('sdk')}")
        made.begin_with(STATIC_SPACE)
    return as_json(told)


@route("DELETE", "/api/repos/delete")
def delete_repo(call: Call) -> Response:
    wanted = call.json
    namespace = wanted.get("organization") or call.user.name
    call.parts.update(kinds=f"{wanted.get('type') or 'model'}s", repo=f"{namespace}/{wanted['name']}")
    del call.hub.store.repositories[call.kind, call.writable.id]
    return as_json({})


@route("GET", "/api/{kinds}/{repo}/auth-check", "/api/{kinds}/{repo}/auth-check(?P<write>/write)")
def auth_check(call: Call) -> Response:
    assert call.writable if "write" in call.parts else call.readable
    return as_json({})


@route("GET", "/api/{kinds}/{repo}", "/api/{kinds}/{repo}/revision/{rev}")
def repo_info(call: Call) -> Response:
    repo = call.repo
    commit = repo.at(call.parts.get("rev", "main"))
    blobs = call.request.args.get("blobs") in ("true", "True", "1")
    card = _front_matter(commit)
    info = {
        "_id": git_id(repo.id),
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.sha,
        "lastModified": DATE,
        "createdAt": DATE,
        "private": repo.private,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [f"license:{card['license']}"] if "license" in card else [],
        "cardData": card,
        "siblings": [_sibling(path, file, blobs) for path, file in sorted(commit.files.items())],
    }
    return as_json(info)


def git_id(name: str) -> str:
    return File(name.encode()).blob_id[:24]


def _sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    known: dict[str, Any] = {"rfilename": path}
    if blobs:
        known |= {"size": file.size, "blobId": file.blob_id}
    if blobs and file.sha256:
        known["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return known


def _front_matter(commit: Commit) -> dict[str, Any]:
    readme = commit.files.get("README.md", File(b"")).content.decode()
    found = re.match(r"---\r?\n(.*?)\r?\n---", readme, re.DOTALL)
    card = yaml.safe_load(found[1]) if found else {}
    return json.loads(json.dumps(card, default=str)) if isinstance(card, dict) else {}


@route("POST", "/api/validate-yaml")
def validate_yaml(call: Call) -> Response:
    errors, warnings = _card_faults(call.json["content"])
    told = {"errors": errors, "warnings": warnings}
    found = {kind: [{"message": text} for text in texts] for kind, texts in told.items()}
    return as_json(found, 400 if errors else 200)


def _card_faults(content: str) -> tuple[list[str], list[str]]:
    """What the Hub has against a card's metadata."""
    found = re.match(r"\s*---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    if found is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        card = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if not isinstance(card, dict):
        return ["YAML Metadata Error: not a mapping"], []
    listed = card.get("license", [])
    unknown = [name for name in (listed if isinstance(listed, list) else [listed]) if name not in LICENSES]
    return [f'"license" must be one of [{", ".join(sorted(LICENSES))}]' for _ in unknown], []


# --- commits, branches, tags -----------------------------------------------------------------------------


@route("POST", "/api/{kinds}/{repo}/preupload/{rev}")
def preupload(call: Call) -> Response:
    asked = call.request.args.get("create_pr") == "1"
    head = (call.readable if asked else call.writable).at(call.parts["rev"])
    return as_json({"files": [_upload_mode(head, wanted) for wanted in call.json["files"]]})


def _upload_mode(head: Commit, wanted: dict[str, Any]) -> dict[str, Any]:
    sample = base64.b64decode(wanted["sample"])
    large = head.is_lfs(wanted["path"], wanted["size"], sample)
    known = {"path": wanted["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
    there = head.files.get(wanted["path"])
    return known | ({"oid": there.etag} if there else {})


@route("POST", "/api/{kinds}/{repo}/commit/{rev}")
def create_commit(call: Call) -> Response:
    asked = call.request.args.get("create_pr") == "1"
    # Whoever may read a repository may ask its owners to take something over.
    repo, branch = call.readable if asked else call.writable, call.parts["rev"].removeprefix("refs/heads/")
    head = repo.head(branch)
    header, *operations = [json.loads(line) for line in call.request.get_data().splitlines() if line]
    parent = header["value"].get("parentCommit")
    if parent and not head.sha.startswith(parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    tree = dict(head.files)
    for operation in operations:
        _apply(repo, tree, operation["key"], operation["value"])
    words = header["value"]
    number = 1 + sum(name.startswith("refs/pr/") for name in repo.branches)
    if asked:
        repo.branches[branch := f"refs/pr/{number}"] = head.sha
    made = repo.add(tree, words["summary"], words.get("description", ""), call.user.name, branch)
    told = {"success": True, "commitOid": made.sha, "hookOutput": ""}
    told["commitUrl"] = call.public_url(repo.id, "commit", made.sha)
    if asked:
        told["pullRequestUrl"] = call.public_url(repo.id, "discussions", str(number))
    return as_json(told)


def _apply(repo: Repository, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
    """Carry out one line of a commit."""
    path = value["path"].strip("/")
    if key == "file":
        tree[path] = File(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        content = repo.large.get(value["oid"])
        if content is None or len(content) != value.get("size", len(content)):
            raise HubError(400, f"LFS pointer pointed to a file that does not exist: {path} ({value['oid']})")
        tree[path] = File(content, value["oid"])
    elif key in ("deletedFile", "deletedFolder"):
        folder = f"{path}/" if key == "deletedFolder" else None
        gone = [name for name in tree if name == path or (folder and name.startswith(folder))]
        if not gone:
            raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        for name in gone:
            del tree[name]
    else:
        raise HubError(400, f"Unknown operation {key}")


@route("POST", "/api/{kinds}/{repo}/tag/{rev}")
def create_tag(call: Call) -> Response:
    call.hub.store.tag(call.writable, call.json["tag"], call.parts["rev"])
    return as_json({})


@route("DELETE", "/api/{kinds}/{repo}/(?P<what>tag|branch)/{rev}")
def delete_reference(call: Call) -> Response:
    repo, name = call.writable, call.parts["rev"]
    if call.parts["what"] == "branch" and name == "main":
        raise HubError(403, "The branch main cannot be deleted")
    if (repo.tags if call.parts["what"] == "tag" else repo.branches).pop(name, None) is None:
        raise not_found("revision", name)
    return as_json({})


@route("POST", "/api/{kinds}/{repo}/branch/{rev}")
def create_branch(call: Call) -> Response:
    repo, name = call.writable, call.parts["rev"]
    if name in repo.branches:
        raise HubError(409, f"Reference already exists: refs/heads/{name}")
    repo.branches[name] = repo.at(call.json.get("startingPoint") or "main").sha
    return as_json({})


@route("GET", "/api/{kinds}/{repo}/refs")
def refs(call: Call) -> Response:
    def listed(where: str, known: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{where}/{name}", "targetCommit": sha} for name, sha in known.items()
        ]

    repo = call.repo
    branches = {name: sha for name, sha in repo.branches.items() if not name.startswith("refs/pr/")}
    found: dict[str, Any] = {"branches": listed("heads", branches), "tags": listed("tags", repo.tags)}
    return as_json(found | {"converts": [], "pullRequests": []})


@route("GET", "/api/{kinds}/{repo}/commits/{rev}")
def commits(call: Call) -> Response:
    return as_json([_described(commit) for commit in call.readable.log(call.parts["rev"])])


def _described(commit: Commit) -> dict[str, Any]:
    said = {"title": commit.title, "message": commit.message, "authors": [{"user": commit.author}]}
    return {"id": commit.sha, "date": DATE} | said
