"""Publishing over a network that fails: the tag is set for a whole release only, no file is sent twice."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.hub_client import Client
from tests.helpers.hub_server import SAYS, Fault, HubServer, Request
from tests.helpers.publishing import REPO, build, refused, whole

FAULTS = (
    *("429", "500", "502", "503", "504", "401", "403", "409", "412"),
    *("drop", "drop-mid", "drop-after", "expired", "html", "truncate", "slow"),
)


def requests_of_a_publish(hub: HubServer, synthkit: Client, release: Path) -> int:
    hub.reset()
    assert synthkit("publish", release, REPO).exit_code == 0
    return len(hub.requests)


def survives(hub: HubServer, synthkit: Client, release: Path, fault: Fault) -> None:
    """Publish with a fault, and again if it failed; the tag may be set only once all files are there."""
    hub.reset()
    hub.faults.append(fault)
    ran = synthkit("publish", release, REPO)
    assert all(whole(hub, made.commit) for made in hub.tag_log), (fault, ran.output)
    if ran.exit_code:
        assert ran.output.splitlines()[-1].startswith("error: "), (fault, ran.output)
        again = synthkit("publish", release, REPO)
        assert again.exit_code == 0, (fault, ran.output, again.output)
    assert "TRACEBACK" not in ran.output, (fault, ran.output)
    assert hub.WRITE_TOKEN not in ran.output
    assert len(hub.tag_log) == 1 and whole(hub, "v1.0.0"), (fault, ran.output)


@pytest.mark.slow
def test_every_request_fails_once(hub: HubServer, synthkit: Client, release: Path) -> None:
    for index in range(requests_of_a_publish(hub, synthkit, release)):
        survives(hub, synthkit, release, Fault(FAULTS[index % len(FAULTS)], at=index))


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_every_request_fails_in_every_way(hub: HubServer, synthkit: Client, release: Path, kind: str) -> None:
    for index in range(requests_of_a_publish(hub, synthkit, release)):
        survives(hub, synthkit, release, Fault(kind, at=index))


@pytest.mark.parametrize(
    "kind", ["429", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("503", "drop", "drop-after"))]
)
def test_what_passes_is_waited_for(hub: HubServer, synthkit: Client, release: Path, kind: str) -> None:
    for path in (
        "whoami",
        "repos/create",
        "/refs",
        "/tree/",
        "lfs/objects/batch",
        "/lfs/",
        "/commit/",
        "/tag/",
    ):
        hub.reset()
        hub.faults.append(Fault(kind, path=path, times=2))
        ran = synthkit("publish", release, REPO)
        assert ran.exit_code == 0, (path, ran.output)
        assert whole(hub, "v1.0.0") and len(hub.tag_log) == 1


def test_the_hub_says_how_long_to_wait(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.faults.append(Fault("429", path="/commit/", seconds=7))
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0
    assert "trying again in 7 s" in ran.output
    assert ran.waited >= 7


def test_the_hubs_own_rate_limit_is_waited_for(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.faults.append(Fault("ratelimit", path="/refs", seconds=55))
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0
    assert "trying again in 56 s" in ran.output


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_not_waited_for_for_ever(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    for path in ("/refs", "/commit/", "/tag/"):
        hub.reset()
        hub.faults.append(Fault("slow", path=path, seconds=1.5))
        ran = synthkit("publish", release, REPO, SYNTHKIT_HUB_TIMEOUT="0.5")
        assert ran.exit_code == 0, (path, ran.output)
        assert "ReadTimeout: timed out; trying again" in ran.output
        assert whole(hub, "v1.0.0") and len(hub.tag_log) == 1
    for seconds in ("soon", "0", "-1", "nan", "inf"):
        message = refused(hub, synthkit, release, REPO, SYNTHKIT_HUB_TIMEOUT=seconds)
        assert "SYNTHKIT_HUB_TIMEOUT: must be a number of seconds" in message


def test_what_the_hub_says_is_told(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.faults.append(Fault("403", path="/commit/"))
    message = refused(hub, synthkit, release, REPO)
    assert SAYS["403"] in message
    assert "run the same command again" not in message


def test_someone_else_publishes_meanwhile(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(REPO)
    others = {"README.md": b"---\nlicense: mit\n---\n"}

    def push(request: Request) -> None:
        if "/commit/" in request.path:
            hub.on_request = None
            hub.commit(REPO, dict(others))

    hub.on_request = push
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0, ran.output
    assert whole(hub, "v1.0.0")
    assert "replaces README.md, which no release brought" in ran.output


def test_the_same_release_is_published_twice_at_once(hub: HubServer, synthkit: Client, release: Path) -> None:
    def tag(request: Request) -> None:
        if "/tag/" in request.path:
            hub.on_request = None
            hub.store.tag(hub.store.get("dataset", REPO), "v1.0.0", hub.commits(REPO)[0])

    hub.on_request = tag
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0, ran.output
    assert whole(hub, "v1.0.0")


def test_another_release_takes_the_version_at_the_last_moment(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    other = build(tmp_path, "summary=Another card.", like=release)
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN)

    def overtake(request: Request) -> None:
        if "/tag/" in request.path:
            hub.on_request = None
            assert finished(command("publish", other, REPO), environment).returncode == 0

    hub.on_request = overtake
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 1
    assert "v1.0.0 is published already, with other content" in ran.output
    assert len(hub.tag_log) == 1 and whole(hub, "v1.0.0")
    assert b"Another card." in hub.files(REPO, "v1.0.0")["README.md"]


def test_what_arrives_otherwise_is_not_tagged(hub: HubServer, synthkit: Client, release: Path) -> None:
    def spoil(request: Request) -> None:
        if "/tree/" in request.path and len(hub.commits(REPO)) == 2:
            hub.on_request = None
            files = hub.store.get("dataset", REPO).head("main").files
            path = "data/train-00000.tar"
            files[path] = hub.store.get("dataset", REPO).made(path, b"other bytes")

    hub.on_request = spoil
    message = refused(hub, synthkit, release, REPO)
    assert "what arrived is not the release: data/train-00000.tar" in message
    assert "v1.0.0 was not set" in message


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "synthkit", *map(str, arguments)]


def finished(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("xet", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["lfs", "xet"])
def test_killed_and_published_again_sends_only_the_rest(
    hub: HubServer, release: Path, tmp_path: Path, xet: bool
) -> None:
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN, xet=xet)
    process = subprocess.Popen(command("publish", release, REPO), env=environment, stderr=subprocess.DEVNULL)
    verified = 0

    def kill(request: Request) -> None:
        """Kill the process after two large files; with Xet, which sends all at once, after the last one."""
        nonlocal verified
        verified += "/lfs/verify" in request.path
        if verified == 3 or "/commit/" in request.path:
            hub.on_request = None
            process.kill()
            process.wait()

    hub.on_request = kill
    try:
        assert process.wait(timeout=60) == -signal.SIGKILL
    finally:
        process.kill()
    assert not hub.tag_log
    sent, xorbs = hub.received.copy(), hub.received_xorbs
    ran = finished(command("publish", release, REPO), environment)
    assert ran.returncode == 0, ran.stderr
    assert whole(hub, "v1.0.0")
    sizes = contents(hub)
    arrived = [sha256 for sha256, count in sent.items() if count == sizes[sha256]]
    assert xet or len(arrived) >= 2
    assert all(hub.received[sha256] == sizes[sha256] for sha256 in arrived)
    assert hub.received_xorbs == xorbs


def contents(hub: HubServer) -> dict[str, int]:
    """The sizes of the published files by SHA-256."""
    files = hub.files(REPO, "v1.0.0").values()
    return {hashlib.sha256(content).hexdigest(): len(content) for content in files}


def test_xet_carries_the_same_bytes_over_a_network_that_fails(
    hub: HubServer, release: Path, tmp_path: Path
) -> None:
    hub.faults += [
        Fault("429", path="/xet-write-token/"),
        Fault("503", path="/xorb-grants/"),
        Fault("drop-mid", path="^/xorbs/"),
        Fault("drop-after", path="/xorb-commits/"),
        Fault("500", path="/shards"),
    ]
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN, xet=True)
    ran = finished(command("publish", release, REPO), environment)
    assert ran.returncode == 0, ran.stderr
    assert whole(hub, "v1.0.0")
    assert hub.received_xorbs and not hub.received.total()
    assert not any(fault.times for fault in hub.faults)


def test_the_token_is_nowhere_to_be_seen(
    hub: HubServer, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "latency", 0.01)
    token = "hf_" + "T" * 34
    monkeypatch.setitem(hub.tokens, token, hub.tokens[hub.WRITE_TOKEN])
    hub.faults += [Fault("403", path="/commit/"), Fault("503", path="whoami")]
    environment = hub.environment(tmp_path / "home") | {"SYNTHKIT_DEBUG": "1", "HF_DEBUG": "0"}
    environment.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN", None)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(token)
    shown = []
    for _ in range(2):
        process = subprocess.Popen(
            command("publish", release, REPO),
            env=environment | {"SYNTHKIT_DEBUG": str(1 - len(shown))},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        time.sleep(0.5)
        processes = finished(["ps", "axww", "-o", "args"], environment).stdout
        assert token not in processes
        shown.append(process.communicate()[0])
    assert "Traceback" in shown[0] and "is published" in shown[1], shown
    assert not any(token in text for text in shown)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert holding == [tmp_path / "home" / "token"]
    assert not any(token.encode() in content for content in hub.files(REPO, "v1.0.0").values())


@pytest.mark.parametrize("token", ["hf_abc\x01def", "hf_zürich", "hf_" + 9 * "a" + "\n" + 9 * "b"])
def test_a_token_that_no_header_can_hold_is_not_told(
    hub: HubServer, synthkit: Client, release: Path, token: str
) -> None:
    message = refused(hub, synthkit, release, REPO, HF_TOKEN=token)
    assert not any(form in message for form in (token, repr(token)[1:-1], ascii(token)[1:-1], "abc", "aaaa"))
    assert "token" in message
