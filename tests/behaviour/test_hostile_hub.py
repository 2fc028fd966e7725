"""A Hub that means harm: its answers are refused in a line, and nothing is fetched beyond its size.

A few of each kind run always, all with `-m slow`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from werkzeug import Response

from synthkit.hub.answers import BadAnswer, check_answer
from tests.conftest import digests
from tests.helpers.hub_client import Client, Ran
from tests.helpers.hub_server import HubServer, Request
from tests.helpers.publishing import REPO, published

REFERENCE = f"{REPO}@v1.0.0"
OnAnswer = Callable[[Request, Response], Response | None]


def few(number: int, *cases: Any) -> list[Any]:
    """The first cases; the others are slow together."""
    return [*cases[:number], *(pytest.param(case, marks=pytest.mark.slow) for case in cases[number:])]


@pytest.fixture
def published_hub(hub: HubServer, release: Path) -> HubServer:
    """A Hub with a release under a tag."""
    files = {
        path.relative_to(release).as_posix(): path.read_bytes()
        for path in release.rglob("*")
        if path.is_file()
    }
    hub.add_repo(REPO, files=files)
    hub.store.tag(hub.store.get("dataset", REPO), "v1.0.0", "main")
    return hub


@pytest.fixture
def fresh(published_hub: HubServer, tmp_path: Path) -> Iterator[Client]:
    """`synthkit` with nothing in the client's cache."""
    home = tmp_path / "home"
    with Client(published_hub.environment(home, published_hub.WRITE_TOKEN), tmp_path) as client:
        yield client


def refused(ran: Ran, *words: str) -> str:
    assert ran.exit_code == 1, ran.output
    message = ran.output.splitlines()[-1]
    assert message.startswith("error: "), ran.output
    assert message.isprintable() and len(message) < 700, message
    for word in words:
        assert word in message, message
    return message


def changed(path: str, change: Callable[[Any], Any]) -> OnAnswer:
    """An `on_answer` that changes the JSON of answers at a path."""

    def answer(request: Request, response: Response) -> Response | None:
        if path not in request.path or response.status_code != 200:
            return None
        content = response.get_json()
        content = change(content) or content
        return Response(json.dumps(content), 200, mimetype="application/json", headers=link(response))

    return answer


def link(response: Response) -> dict[str, str]:
    return {"Link": response.headers["Link"]} if "Link" in response.headers else {}


def with_headers(path: str, **headers: str) -> OnAnswer:
    """An `on_answer` that sets headers of answers at a path."""

    def answer(request: Request, response: Response) -> None:
        if path in request.path:
            for name, value in headers.items():
                response.headers[name.replace("_", "-")] = value

    return answer


COMMITS = ("/../../../evil", "a" * 39, "../" * 8 + "tmp/evil", "A" * 40, "", None, 7, ["a"], "0" * 40 + "\n")


@pytest.mark.parametrize("sha", few(1, *COMMITS), ids=repr)
def test_a_commit_is_40_hexadecimal_digits(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, sha: object
) -> None:
    published_hub.on_answer = changed("/revision/", lambda info: info | {"sha": sha})
    for words in (("pull", REFERENCE, "--out", tmp_path / "in"), ("verify", REFERENCE)):
        refused(synthkit(*words), "does not answer as a Hub does", "40 hexadecimal digits")
    assert not list(tmp_path.iterdir())
    assert not any("/resolve/" in request.path for request in published_hub.requests)


def test_the_head_to_publish_upon_is_a_commit(
    published_hub: HubServer, synthkit: Client, next_release: Path
) -> None:
    published_hub.on_answer = changed("/revision/", lambda info: info | {"sha": "/../.."})
    refused(synthkit("publish", next_release, REPO), "40 hexadecimal digits")
    published_hub.on_answer = changed("/commit/", lambda made: made | {"commitOid": "../x"})
    refused(synthkit("publish", next_release, REPO), "40 hexadecimal digits")
    assert list(published_hub.tags(REPO)) == ["v1.0.0"]


HEADERS: tuple[dict[str, str], ...] = (
    {"X_Repo_Commit": "../../../../evil"},
    {"ETag": '"../../../evil"', "X_Linked_ETag": '"../../../evil"'},
    {"Location": "file:///etc/passwd"},
    {"X_Linked_Size": "99999999999999"},
    {"X_Repo_Commit": "0" * 39},
    {"ETag": '"/tmp/evil"', "X_Linked_ETag": "/tmp/evil"},
    {"ETag": 'W/"W//../evil"', "X_Linked_ETag": 'W/"W//../evil"'},
    {"ETag": "..", "X_Linked_ETag": ".."},
    {"ETag": "e" * 5000, "X_Linked_ETag": "e" * 5000},
    {"Location": "ftp://127.0.0.1/x"},
    {"X_Linked_Size": "-5"},
    {"X_Linked_Size": "many"},
    {"Content_Encoding": "gzip"},
    {"Content_Encoding": "br"},
    {"X_Xet_Hash": "0" * 64, "X_Xet_Refresh_Route": "http://127.0.0.1:9/token"},
    {"X_Xet_Hash": "0" * 64, "Link": '<http://127.0.0.1:9/token>; rel="xet-auth"'},
)


@pytest.mark.parametrize("headers", few(3, *HEADERS), ids=str)
def test_headers_that_lead_out_of_a_folder_or_to_other_hosts(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, headers: dict[str, str]
) -> None:
    published_hub.on_answer = with_headers("/resolve/", **headers)
    told = refused(synthkit("pull", REFERENCE, "--out", tmp_path / "in"), REPO, "HF_ENDPOINT")
    assert "passwd" not in told
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("location", ["http://[::1/x", "http://127.0.0.1:abc/x", "data:,x"])
def test_addresses_that_the_tests_own_hub_cannot_name(location: str) -> None:
    request = httpx2.Request("HEAD", "http://hub/datasets/lab/digits/resolve/main/manifest.json")
    with pytest.raises(BadAnswer, match="neither http"):
        check_answer(httpx2.Response(302, headers={"Location": location}, request=request))


@pytest.mark.parametrize("headers", few(0, *HEADERS), ids=str)
def test_headers_that_lead_out_of_the_clients_cache(
    published_hub: HubServer, fresh: Client, tmp_path: Path, headers: dict[str, str]
) -> None:
    published_hub.on_answer = with_headers("/resolve/", **headers)
    refused(fresh("verify", REFERENCE), REPO, "HF_ENDPOINT")
    assert not list(tmp_path.rglob("evil*"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1000]


def endless(piece: bytes = b"\0" * 65536) -> Iterator[bytes]:
    while True:
        yield piece


def stretched(path: str, sent: list[int]) -> OnAnswer:
    """An `on_answer` whose bodies at a path have no end; `sent` counts what was taken of them."""

    def count() -> Iterator[bytes]:
        for piece in endless():
            sent.append(len(piece))
            yield piece

    def answer(request: Request, response: Response) -> Response | None:
        if path not in request.path or request.method != "GET":
            return None
        kept = {name: value for name, value in response.headers.items() if name.startswith(("ETag", "X-"))}
        return Response(count(), 200, headers=kept, direct_passthrough=True)

    return answer


@pytest.mark.parametrize("path", few(1, "/lfs/", "/tree/", "/resolve/", "/revision/"))
def test_bodies_without_an_end(published_hub: HubServer, synthkit: Client, tmp_path: Path, path: str) -> None:
    sent: list[int] = []
    published_hub.on_answer = stretched(path, sent)
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), REPO, "HF_ENDPOINT")
    # Several come at a time, and much is on its way when the client hangs up.
    assert sum(sent) < 120 << 20
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 200_000]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/lfs/", "/resolve/"])
def test_bodies_without_an_end_are_not_kept_in_the_clients_cache(
    published_hub: HubServer, fresh: Client, tmp_path: Path, path: str
) -> None:
    published_hub.on_answer = stretched(path, [])
    refused(fresh("verify", REFERENCE), REPO, "HF_ENDPOINT")
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.stat().st_size > 200_000]


@pytest.mark.parametrize("change", few(1, lambda content: content + b"x", lambda content: content[:-1]))
def test_a_file_that_is_shorter_or_longer_than_the_manifest_says(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    def answer(request: Request, response: Response) -> Response | None:
        if "/lfs/" not in request.path or request.method != "GET":
            return None
        return Response(change(b"".join(response.response)), 200)  # type: ignore[arg-type]

    published_hub.on_answer = answer
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), "bytes, not the ", "that are stated")
    assert not (tmp_path / "digits").exists()


def test_a_few_bytes_that_unpack_to_gigabytes(
    published_hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    packed = gzip.compress(bytes(1 << 24))
    for path in ("/revision/", "/tree/", "/lfs/"):

        def answer(request: Request, response: Response, path: str = path) -> Response | None:
            if path not in request.path:
                return None
            return Response(packed, 200, {"Content-Encoding": "gzip"}, mimetype="application/json")

        published_hub.on_answer = answer
        refused(synthkit("pull", REFERENCE, "--out", tmp_path), "compressed")


@pytest.mark.parametrize("target", few(1, "itself", "on and on", "another host"))
def test_a_listing_without_an_end(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, target: str
) -> None:
    pages: list[str] = []

    def answer(request: Request, response: Response) -> Response | None:
        if "/tree/" not in request.path:
            return None
        pages.append(request.path)
        base = published_hub.storage if target == "another host" else published_hub.url
        cursor = len(pages) if target == "on and on" else 0
        address = f"{base}/api/datasets/{REPO}/tree/main?recursive=true&cursor={cursor}"
        return Response("[]", 200, {"Link": f'<{address}>; rel="next"'}, mimetype="application/json")

    published_hub.on_answer = answer
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), "HF_ENDPOINT")
    assert 1 < len(pages) <= 5000


@pytest.mark.parametrize("path", few(1, "/tree/", "/resolve/", "/revision/", "/refs"))
def test_the_token_stays_with_the_hub(
    published_hub: HubServer, synthkit: Client, release: Path, tmp_path: Path, path: str
) -> None:
    """Whatever a redirect or a listing says, no other address is shown it."""

    def answer(request: Request, response: Response) -> Response | None:
        if path not in request.path or request.origin != published_hub.url:
            return None
        elsewhere = f"{published_hub.storage}{request.path}"
        if path == "/tree/":
            headers = {"Link": f'<{elsewhere}?cursor=0>; rel="next"'}
            return Response("[]", 200, headers, mimetype="application/json")
        kept = {name: value for name, value in response.headers.items() if name.startswith(("ETag", "X-"))}
        return Response("", 307, {**kept, "Location": elsewhere})

    published_hub.on_answer = answer
    synthkit("pull", REFERENCE, "--out", tmp_path)
    synthkit("publish", release, REPO)
    there = [request for request in published_hub.requests if request.origin == published_hub.storage]
    assert there and not any(request.token for request in there)
    assert any(request.token for request in published_hub.requests)


FILES: tuple[dict[str, Any], ...] = (
    {"size": -1},
    {"path": None},
    {"path": "../x"},
    {"size": "12"},
    {"size": 1.5},
    {"size": None},
    {"size": 10**30},
    {"oid": None},
    {"path": ["x"]},
    {"lfs": {"oid": 7, "size": 1, "pointerSize": 1}},
    {"lfs": "x"},
)


@pytest.mark.parametrize("change", few(1, *FILES), ids=str)
def test_files_that_a_listing_cannot_hold(
    published_hub: HubServer,
    synthkit: Client,
    release: Path,
    next_release: Path,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    def spoil(listed: list[dict[str, Any]]) -> None:
        for item in listed:
            if item["type"] == "file":
                item.update(change)

    published_hub.on_answer = changed("/tree/", spoil)
    for words in (
        ("pull", REFERENCE, "--out", tmp_path / "in"),
        ("publish", release, REPO),
        ("publish", next_release, REPO, "--dry-run"),
    ):
        refused(synthkit(*words), REPO if change == {"path": "../x"} else "HF_ENDPOINT")
    assert not list(tmp_path.iterdir())


NAMES = ("../x", "\x1b[2J\u202e.md", "/etc/passwd", ".git/config", "a\\b", "C:\\x", "a\0b", "x" * 5000, "")


@pytest.mark.parametrize("name", few(1, *NAMES), ids=lambda name: ascii(name)[:20])
def test_a_file_of_an_impossible_name_beside_the_release(
    published_hub: HubServer, synthkit: Client, next_release: Path, tmp_path: Path, name: str
) -> None:
    """It is never fetched, and to delete it is not asked either."""

    def add(listed: list[dict[str, Any]]) -> None:
        listed.append({"type": "file", "path": name, "oid": "0" * 40, "size": 3})

    published_hub.on_answer = changed("/tree/", add)
    assert synthkit("pull", REFERENCE, "--out", tmp_path).exit_code == 0
    assert digests(tmp_path / "digits") == published(published_hub)
    refused(synthkit("publish", next_release, REPO), "holds files that no release brought")
    published_hub.on_answer = None
    manifest = json.loads(published_hub.files(REPO)["manifest.json"])
    manifest["files"].append({"path": name, "bytes": 3, "sha256": "0" * 64})
    published_hub.commit(REPO, {"manifest.json": json.dumps(manifest).encode()})
    published_hub.on_answer = changed("/tree/", add)
    refused(synthkit("publish", next_release, REPO))


@pytest.mark.parametrize("seconds", few(1, 10**7, 10**30))
@pytest.mark.parametrize("path", few(1, "/tree/", "/revision/", "/resolve/", "/lfs/"))
def test_a_pause_of_a_year_is_not_slept(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, path: str, seconds: int
) -> None:
    once: list[str] = []

    def answer(request: Request, response: Response) -> Response | None:
        if path not in request.path or len(once) >= 2:
            return None
        once.append(request.path)
        headers = {"Retry-After": str(seconds), "RateLimit": f'"api";r=0;t={seconds}'}
        return Response('{"error": "later"}', 429, headers, mimetype="application/json")

    published_hub.on_answer = answer
    ran = synthkit("pull", REFERENCE, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert 0 < ran.waited <= 700


@pytest.mark.parametrize("value", few(1, "\xb2", "-5", "nan", "1e9", "soon", ""))
def test_pauses_that_are_none(published_hub: HubServer, synthkit: Client, tmp_path: Path, value: str) -> None:
    once: list[str] = []

    def answer(request: Request, response: Response) -> Response | None:
        if "/tree/" not in request.path or once:
            return None
        once.append(request.path)
        return Response("{}", 503, {"Retry-After": value}, mimetype="application/json")

    published_hub.on_answer = answer
    ran = synthkit("pull", REFERENCE, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert ran.waited < 60


BODIES = ("[" * 200_000, '{"sha": ' + "9" * 10_000 + "}", "null", "[]", "7", '"x"', "{", "", '{"sha": NaN}')


@pytest.mark.parametrize("body", few(1, *BODIES), ids=lambda body: body[:12])
def test_answers_that_are_none(published_hub: HubServer, synthkit: Client, tmp_path: Path, body: str) -> None:
    for path in ("/revision/", "/tree/"):

        def answer(request: Request, response: Response, path: str = path) -> Response | None:
            return Response(body, 200, mimetype="application/json") if path in request.path else None

        published_hub.on_answer = answer
        ran = synthkit("pull", REFERENCE, "--out", tmp_path)
        if body == "[]" and path == "/tree/":
            refused(ran, "it has no manifest.json")
        else:
            refused(ran, "HF_ENDPOINT")


def test_what_a_hub_says_has_nothing_that_a_terminal_obeys(
    published_hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    said = "\x1b]0;owned\x07\x1b[2J\u202e" + published_hub.WRITE_TOKEN + "x" * 100_000

    def answer(request: Request, response: Response) -> Response | None:
        if "/tree/" not in request.path:
            return None
        return Response(json.dumps({"error": said}), 403, mimetype="application/json")

    published_hub.on_answer = answer
    for words in (("pull", REFERENCE, "--out", tmp_path), ("publish", release, REPO)):
        ran = synthkit(*words)
        refused(ran)
        assert published_hub.WRITE_TOKEN not in ran.output
        assert all(line.isprintable() for line in ran.output.splitlines())
    published_hub.on_answer = changed(
        "/refs",
        lambda refs: (
            refs
            | {
                "tags": [
                    {"name": f"v9.{n}.\x1b[2J", "ref": "x", "targetCommit": "0" * 40} for n in range(500)
                ]
            }
        ),
    )
    refused(synthkit("pull", f"{REPO}@v7.0.0", "--out", tmp_path), "has no version v7.0.0; it has v9.")
