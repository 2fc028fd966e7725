"""The Hub of the tests, driven by the real clients: it must do what they expect of the real one."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.helpers.hub_server import Fault, HubServer

CARD = b"---\nlicense: cc-by-4.0\nconfigs:\n- config_name: default\n  data_files: data/*.tar\n---\n# Digits\n"

BEFORE = """
import json, os, pathlib, random
from huggingface_hub import CommitOperationAdd as Add, CommitOperationDelete as Delete, HfApi
from huggingface_hub.errors import HfHubHTTPError
api, told, some = HfApi(), {}, random.Random(5).randbytes
def commit(*operations, **more):
    more = {"repo_type": "dataset", "commit_message": "Files"} | more
    return api.create_commit("lab/digits", list(operations), **more).oid
def status(call, *arguments, **more):
    try:
        call(*arguments, **more)
    except HfHubHTTPError as error:
        return error.response.status_code, type(error).__name__
"""


def client(environment: dict[str, str], script: str) -> dict[str, Any]:
    """What a client's script leaves in `told`."""
    code = f"{BEFORE}\n{script}\nprint(json.dumps(told))"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def archive(*labels: int) -> bytes:
    """A WebDataset shard."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for label in labels:
            member = tarfile.TarInfo(f"{label}.cls")
            member.size = 1
            tar.addfile(member, io.BytesIO(b"%d" % label))
    return buffer.getvalue()


PUBLISH = f"""
told["url"] = str(api.create_repo("lab/digits", repo_type="dataset", private=True))
told["again"] = str(api.create_repo("lab/digits", repo_type="dataset", exist_ok=True))
told["foreign"] = status(api.create_repo, "eve/digits", repo_type="dataset")
shard, picture = some(150_000), some(5_000)
card, old = Add("README.md", {CARD!r}), Add("old.txt", b"o")
first = commit(Add("data/0 1.tar", shard), Add("a.png", picture), card, old)
told["head"] = commit(Add("data/0 1.tar", shard), Delete("old.txt"), Add("b.tar", b"b"), parent_commit=first)
told["stale"] = status(commit, Add("c.txt", b"c"), parent_commit=first)
api.create_tag("lab/digits", tag="v1.0.0", revision=told["head"], repo_type="dataset")
told["tagged"] = status(api.create_tag, "lab/digits", tag="v1.0.0", revision=first, repo_type="dataset")
refs = api.list_repo_refs("lab/digits", repo_type="dataset")
told["refs"] = {{ref.name: ref.target_commit for ref in refs.branches + refs.tags}}
told["tree"] = [f.path for f in api.list_repo_tree("lab/digits", recursive=True, repo_type="dataset")]
told["titles"] = [commit.title for commit in api.list_repo_commits("lab/digits", repo_type="dataset")]
told["who"] = api.whoami()["auth"]["accessToken"]["role"]
"""


def test_a_client_publishes(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "page_size", 2)
    hub.faults.append(Fault("429", method="PUT", path="/parts/.*/2$"))
    told = client(hub.environment(tmp_path, hub.WRITE_TOKEN), PUBLISH)
    assert told["url"] == told["again"] == f"{hub.url}/datasets/lab/digits"
    assert told["foreign"] == [403, "HfHubHTTPError"]
    assert (told["stale"][0], told["tagged"][0], told["who"]) == (412, 409, "write")
    assert told["tree"] == [".gitattributes", "README.md", "a.png", "b.tar", "data", "data/0 1.tar"]
    assert told["titles"] == ["Files", "Files", "initial commit"]
    head = told["head"]
    assert hub.commits("lab/digits")[0] == head
    assert told["refs"] == {"main": head, "v1.0.0": head}
    assert hub.tags("lab/digits") == {"v1.0.0": head}
    assert hub.tag_log == [("lab/digits", "v1.0.0", head)]
    files = hub.files("lab/digits", "v1.0.0")
    assert files["README.md"] == CARD
    assert len(files["data/0 1.tar"]) == 150_000
    # What is there is not sent again; the part that was refused is.
    assert sorted(hub.received.values()) == [1, 5_000, 150_000 + 65_536]
    assert Counter(request.status for request in hub.requests)[412] == 1


def test_a_client_is_refused(hub: HubServer, tmp_path: Path) -> None:
    hub.add_repo("lab/digits", private=True)
    hub.add_repo("lab/secret", files={"a.txt": b"a"}, gated=True)
    hub.add_repo("lab/model", repo_type="model", files={"config.json": b"{}"})
    script = """
try:
    commit(Add("README.md", b"---\\nlicense: nobody-knows\\n---\\n"))
except ValueError as error:
    told["card"] = str(error)
told["model"] = (api.repo_exists("lab/model"), api.repo_exists("lab/models"))
kinds = {"read": "r", "fine": "f", "stranger": "s", "unknown": "u"}
for name, letter in kinds.items():
    api.token = "hf_" + 34 * letter
    told[name] = status(commit, Add("a.txt", b"a"))
api.token = False
told["gated"] = status(api.hf_hub_download, "lab/secret", "a.txt", repo_type="dataset")
told["nobody"] = status(api.dataset_info, "lab/digits")
"""
    told = client(hub.environment(tmp_path, hub.WRITE_TOKEN), script)
    assert '"license" must be one of' in told["card"]
    assert told["model"] == [True, False]
    assert told["read"] == [403, "HfHubHTTPError"]
    assert told["fine"] is None
    assert told["stranger"] == [404, "RepositoryNotFoundError"]
    assert told["unknown"] == [401, "HfHubHTTPError"]
    assert told["gated"] == [401, "GatedRepoError"]
    assert told["nobody"] == [401, "RepositoryNotFoundError"]
    assert hub.files("lab/digits")["a.txt"] == b"a"


def test_clients_download(hub: HubServer, tmp_path: Path) -> None:
    files = {"README.md": CARD, "data/a.tar": archive(1, 2), "data/b.tar": archive(3)}
    hub.add_repo("lab/digits", files=files)
    hub.faults.append(Fault("truncate", path="^/lfs/.*a.tar"))
    script = """
from huggingface_hub import constants, hf_hub_download, snapshot_download
constants.DOWNLOAD_CHUNK_SIZE = 1024
file = hf_hub_download("lab/digits", "data/a.tar", repo_type="dataset")
folder = pathlib.Path(snapshot_download("lab/digits", repo_type="dataset", revision="main"))
told["sizes"] = {p.name: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
told["missing"] = status(hf_hub_download, "lab/digits", "c.tar", repo_type="dataset")
told["revision"] = status(hf_hub_download, "lab/digits", "data/a.tar", repo_type="dataset", revision="v9")
import datasets
rows = datasets.load_dataset("lab/digits", split="train", streaming=True)
told["labels"] = [row["cls"] for row in rows]
"""
    told = client(hub.environment(tmp_path) | {"USE_TORCH": "0"}, script)
    assert told["sizes"] == {name.split("/")[-1]: len(data) for name, data in hub.files("lab/digits").items()}
    assert told["missing"] == [404, "RemoteEntryNotFoundError"]
    assert told["revision"] == [404, "RevisionNotFoundError"]
    assert told["labels"] == [1, 2, 3]
    assert 206 in [request.status for request in hub.requests]


def test_a_client_uploads_through_xet(hub: HubServer, tmp_path: Path) -> None:
    hub.add_repo("lab/digits")
    hub.faults += [Fault("503", path="/shards"), Fault("drop-mid", path="^/xorbs/"), Fault("expired")]
    script = """
lines = b"".join(b"%d\\n" % n for n in range(40_000))
numbers = b"".join(n.to_bytes(4, "big") for n in range(40_000))
pathlib.Path("a.tar").write_bytes(some(300_000))
commit(Add("a.tar", "a.tar"), Add("b.tar", lines), Add("c.tar", numbers), Add("d.png", b"d"), Add("e", b"e"))
commit(Add("f.tar", lines + numbers))
"""
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN, xet=True)
    client(environment, f"os.chdir({str(tmp_path)!r})\n{script}")
    files = hub.files("lab/digits")
    assert files["a.tar"] == (tmp_path / "a.tar").read_bytes()
    assert files["f.tar"] == files["b.tar"] + files["c.tar"]
    assert [files["d.png"], files["e"]] == [b"d", b"e"]
    assert files["b.tar"].endswith(b"39998\n39999\n")
    assert hub.received_xorbs > 300_000
    assert not hub.received
    assert not [fault for fault in hub.faults if fault.times]


# --- faults, with bare requests --------------------------------------------------------------------------


def ask(hub: HubServer, method: str, path: str, body: bytes = b"", url: str = "") -> tuple[int, bytes]:
    """The answer's status, or 0 if there is none, and its body as far as it came."""
    connection = http.client.HTTPConnection(urlsplit(url or hub.url).netloc, timeout=5)
    headers = {"Authorization": f"Bearer {hub.WRITE_TOKEN}"} if not url else {}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.IncompleteRead as error:
        return 0, error.partial
    except ConnectionError:
        return 0, b""
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["401", "403", "409", "412", "429", "500", "502", "503", "504"])
def test_a_status_is_answered_and_nothing_done(hub: HubServer, kind: str) -> None:
    hub.add_repo("lab/digits")
    hub.faults.append(Fault(kind, at=1))
    tag = b'{"tag": "v1"}'
    statuses = [ask(hub, "POST", "/api/datasets/lab/digits/tag/main", tag)[0] for _ in range(3)]
    assert statuses == [200, int(kind), 409]
    assert [request.status for request in hub.requests] == statuses
    assert [request.sent for request in hub.requests] == [len(tag)] * 3


@pytest.mark.parametrize(
    ("kind", "sent", "done"), [("drop", 0, False), ("drop-mid", 6, False), ("drop-after", 13, True)]
)
def test_a_connection_is_dropped(hub: HubServer, kind: str, sent: int, done: bool) -> None:
    hub.add_repo("lab/digits")
    hub.faults.append(Fault(kind, path="/tag/"))
    assert ask(hub, "POST", "/api/datasets/lab/digits/tag/main", b'{"tag": "v1"}') == (0, b"")
    assert (hub.requests[0].sent, hub.requests[0].status) == (sent, None)
    assert bool(hub.tags("lab/digits")) == bool(hub.tag_log) == done


def test_answers_come_late_short_or_from_another(hub: HubServer) -> None:
    hub.add_repo("lab/digits", files={"README.md": CARD})
    path = "/datasets/lab/digits/resolve/main/README.md"
    hub.faults += [Fault(kind, seconds=0.05) for kind in ("slow", "html", "truncate")]
    assert ask(hub, "GET", path) == (200, CARD)
    assert b"<title>" in ask(hub, "GET", path)[1]
    assert ask(hub, "GET", path) == (0, CARD[: len(CARD) // 2])
    assert ask(hub, "GET", path) == (200, CARD)


def test_urls_for_large_files_expire(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add_repo("lab/digits")
    wanted = {"transfers": ["basic"], "objects": [{"oid": "0" * 64, "size": 3}]}

    def granted() -> str:
        path = "/datasets/lab/digits.git/info/lfs/objects/batch"
        told = json.loads(ask(hub, "POST", path, json.dumps(wanted).encode())[1])
        return str(told["objects"][0]["actions"]["upload"]["href"])

    hub.faults.append(Fault("expired"))
    url = granted()
    assert b"Request has expired" in ask(hub, "PUT", url, b"abc", url)[1]
    assert b"BadDigest" in ask(hub, "PUT", url, b"abc", url)[1]
    assert b"SignatureDoesNotMatch" in ask(hub, "PUT", url.replace("expires=", "expires=1"), b"abc", url)[1]
    monkeypatch.setattr(hub, "url_lifetime", -1.0)
    late = granted()
    assert b"Request has expired" in ask(hub, "PUT", late, b"abc", late)[1]
    assert hub.received == {"0" * 64: 12}
