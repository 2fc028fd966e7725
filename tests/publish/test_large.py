"""Publishing more than 100 files: several commits on a branch, and never a part of a release to be seen."""

from __future__ import annotations

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from werkzeug import Response

from synthkit.release.manifest import read_manifest
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import Fault, HubServer, Request
from tests.helpers.publishing import REPO, TINY, build, published, whole
from tests.helpers.signing import SIGNATURE, make_key
from tests.publish.test_publish_faults import FAULTS, command, finished, survives

# One image a shard.
LARGE = TINY.replace("shard_size: 4", "shard_size: 1")
BRANCH = "publishing-v1.0.0"
MAIN = f"/api/datasets/{REPO}/commit/main"
ON_BRANCH = f"/api/datasets/{REPO}/commit/{BRANCH}"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of more than 100 files. Read it, do not change it."""
    release = build(tmp_path_factory.mktemp("large"), "target_per_class=52", text=LARGE)
    assert 100 < len(read_manifest(release).files) < 200
    return release


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its next version, in which every shard is another file."""
    return build(
        tmp_path_factory.mktemp("larger"), "version=1.1.0", "seed=1", "target_per_class=53", text=LARGE
    )


def commits(hub: HubServer, tag: str = "v1.0.0") -> list[int]:
    """How many files each commit that led to a version added, changed or deleted, the first commit last."""
    log = [dict(commit.files) for commit in hub.store.get("dataset", REPO).log(tag)]
    return [
        sum(new.get(path) != old.get(path) for path in new.keys() | old.keys()) for new, old in pairwise(log)
    ]


def branches(hub: HubServer) -> set[str]:
    return set(hub.store.get("dataset", REPO).branches)


def large_files(hub: HubServer) -> dict[str, int]:
    """The sizes of the large files that the Hub has, by SHA-256."""
    return {sha256: len(content) for sha256, content in hub.store.get("dataset", REPO).large.items()}


def shown(hub: HubServer) -> dict[str, str]:
    """What main shows."""
    return published(hub, "main")


def watch(hub: HubServer) -> list[dict[str, str]]:
    """Keep all that main shows and every tag has, from now on, after each request."""
    seen: list[dict[str, str]] = []

    def look(_: Request, response: Response) -> Response:
        if ("dataset", REPO) in hub.store.repositories:
            for revision in ("main", *hub.store.get("dataset", REPO).tags):
                files = published(hub, revision)
                if files not in seen:
                    seen.append(files)
        return response

    hub.on_answer = look
    return seen


def before(path: str, nth: int, do: Callable[[Request], object]) -> Callable[[Request], None]:
    """Do something before the nth request that changes what is at a path is carried out."""
    count = Counter[str]()

    def arrived(request: Request) -> None:
        if request.method != "GET" and path in request.path:
            count[path] += 1
            if count[path] == nth:
                do(request)

    return arrived


@pytest.mark.slow
def test_no_commit_on_the_branch_has_more_than_100_files_no_byte_is_sent_twice_and_no_part_is_seen(
    hub: HubServer, synthkit: Client, large: Path
) -> None:
    seen = watch(hub)
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    total = len(read_manifest(large).files) + 1
    assert commits(hub) == [total - 100, 100]
    assert whole(hub, "v1.0.0") and whole(hub, "main")
    assert seen == [{}, published(hub)]
    assert branches(hub) == {"main"}
    assert set(hub.received) >= {file.sha256 for file in read_manifest(large).files if ".tar" in file.path}
    assert hub.received == large_files(hub)
    assert "v1.0.0 is published already, and whole; nothing to do" in synthkit("publish", large, REPO).output


@pytest.mark.slow
def test_xet_carries_it_to_the_branch(hub: HubServer, large: Path, tmp_path: Path) -> None:
    ran = finished(command("publish", large, REPO), hub.environment(tmp_path, hub.WRITE_TOKEN, xet=True))
    assert ran.returncode == 0, ran.stderr
    assert whole(hub, "v1.0.0") and shown(hub) == published(hub)
    assert hub.received_xorbs and not hub.received.total()


@pytest.mark.slow
def test_a_dry_run_tells_of_the_branch(hub: HubServer, synthkit: Client, large: Path, release: Path) -> None:
    told = f"in several commits on the branch {BRANCH}, then all at once on main"
    assert told in synthkit("publish", large, REPO, "--dry-run").output
    assert told not in synthkit("publish", release, REPO, "--dry-run").output


@pytest.mark.slow
def test_the_next_version_is_seen_at_once_too(
    hub: HubServer, synthkit: Client, large: Path, larger: Path
) -> None:
    assert synthkit("publish", large, REPO).exit_code == 0
    first, seen = published(hub), watch(hub)
    ran = synthkit("publish", larger, REPO)
    assert ran.exit_code == 0, ran.output
    *on_branch, on_main = commits(hub, "v1.1.0")
    assert max(on_branch) == 100 and on_main == len(first)
    assert seen == [first, shown(hub)] and shown(hub) == published(hub, "v1.1.0")
    assert published(hub) == first
    assert branches(hub) == {"main"}


@pytest.mark.parametrize(
    ("path", "nth", "left"),
    [
        pytest.param(f"/branch/{BRANCH}", 1, {"main"}, marks=pytest.mark.slow),
        pytest.param(ON_BRANCH, 1, {"main", BRANCH}, marks=pytest.mark.slow),
        pytest.param(ON_BRANCH, 2, {"main", BRANCH}, marks=pytest.mark.slow),
        pytest.param("/tag/", 1, {"main", BRANCH}, marks=pytest.mark.slow),
        pytest.param(MAIN, 1, {"main", BRANCH}, marks=pytest.mark.slow),
        pytest.param(f"/branch/{BRANCH}", 2, {"main", BRANCH}, marks=pytest.mark.slow),
    ],
    ids=["branch", "first", "second", "tag", "main", "delete"],
)
def test_killed_before_any_step_and_published_again_sends_only_the_rest(
    hub: HubServer, synthkit: Client, large: Path, tmp_path: Path, path: str, nth: int, left: set[str]
) -> None:
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN)
    process = subprocess.Popen(command("publish", large, REPO), env=environment, stderr=subprocess.DEVNULL)

    def kill(request: Request) -> None:
        hub.on_request = None
        hub.faults.append(Fault("drop", at=request.index))
        process.kill()
        process.wait()

    seen = watch(hub)
    hub.on_request = before(path, nth, kill)
    try:
        assert process.wait(timeout=120) == -signal.SIGKILL
    finally:
        process.kill()
    assert branches(hub) == left
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert whole(hub, "v1.0.0") and shown(hub) == published(hub)
    assert seen == [{}, published(hub)]
    assert branches(hub) == {"main"} and len(hub.tag_log) == 1
    total = len(read_manifest(large).files) + 1
    assert sum(commits(hub)) == total and max(commits(hub)) == 100
    assert hub.received == large_files(hub)


# --- a branch that is there already ---------------------------------------------------------------------


def interrupted(hub: HubServer, synthkit: Client, release: Path, path: str = "/tag/") -> None:
    """Publish, and be refused at a step."""
    hub.faults.append(Fault("403", path=path))
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 1 and not hub.faults[-1].times, ran.output


@pytest.mark.slow
def test_a_branch_with_another_content_of_the_version_is_replaced(
    hub: HubServer, synthkit: Client, large: Path, tmp_path: Path
) -> None:
    other = build(tmp_path, "target_per_class=52", "summary=Another card.", text=LARGE, like=large)
    interrupted(hub, synthkit, other)
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert whole(hub, "v1.0.0")
    cards = [commit.files.get("README.md") for commit in hub.store.get("dataset", REPO).log("v1.0.0")]
    assert not any(b"Another card." in card.content for card in cards if card)
    assert hub.received == large_files(hub)


@pytest.mark.slow
def test_a_branch_from_before_main_changed_is_replaced(hub: HubServer, synthkit: Client, large: Path) -> None:
    hub.add_repo(REPO, files={"README.md": b"# Mine"})
    interrupted(hub, synthkit, large, ON_BRANCH)
    changed = hub.commit(REPO, {"README.md": b"# Mine, edited"})
    assert synthkit("publish", large, REPO).exit_code == 0
    assert whole(hub, "v1.0.0") and shown(hub) == published(hub)
    assert changed in {commit.sha for commit in hub.store.get("dataset", REPO).log("v1.0.0")}


@pytest.mark.slow
def test_the_next_version_deletes_the_branch_of_one_that_was_given_up(
    hub: HubServer, synthkit: Client, large: Path, larger: Path
) -> None:
    interrupted(hub, synthkit, large, ON_BRANCH)
    repository = hub.store.get("dataset", REPO)
    others = {"publishing-v1.2.0", "publishing-vision", "mine"}
    repository.branches.update(dict.fromkeys(others, repository.branches["main"]))
    assert branches(hub) == {"main", BRANCH, *others}
    ran = synthkit("publish", larger, REPO)
    assert ran.exit_code == 0, ran.output
    assert branches(hub) == {"main", *others}
    assert whole(hub, "v1.1.0") and shown(hub) == published(hub, "v1.1.0")


@pytest.mark.slow
def test_main_that_cannot_follow_is_told_and_follows_later(
    hub: HubServer, synthkit: Client, large: Path, tmp_path: Path
) -> None:
    hub.faults.append(Fault("504", path=MAIN, times=100))
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 1
    assert f"{REPO}: v1.0.0 is published, but main does not show it yet: " in ran.output.splitlines()[-1]
    assert "504" in ran.output and whole(hub, "v1.0.0") and shown(hub) == {}
    hub.faults.clear()
    assert synthkit("pull", f"{REPO}@v1.0.0", "--out", tmp_path).exit_code == 0
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert "v1.0.0 was set by an earlier publish that did not finish" in ran.output
    assert shown(hub) == published(hub) and branches(hub) == {"main"}
    assert "nothing to do" in synthkit("publish", large, REPO).output


@pytest.mark.slow
def test_main_follows_no_version_that_is_not_the_latest(
    hub: HubServer, synthkit: Client, large: Path, larger: Path
) -> None:
    interrupted(hub, synthkit, large, MAIN)
    repository = hub.store.get("dataset", REPO)
    begun = repository.branches[BRANCH]
    assert synthkit("publish", larger, REPO).exit_code == 0
    repository.branches[BRANCH] = begun
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert shown(hub) == published(hub, "v1.1.0") and branches(hub) == {"main"}


@pytest.mark.parametrize(
    "stopped", [pytest.param("/tag/", marks=pytest.mark.slow), MAIN], ids=["untagged", "tagged"]
)
def test_main_was_moved_by_git_instead(hub: HubServer, synthkit: Client, large: Path, stopped: str) -> None:
    interrupted(hub, synthkit, large, stopped)
    repository = hub.store.get("dataset", REPO)
    commit = repository.branches[BRANCH]
    assert repository.branches["main"] in {commit.sha for commit in repository.log(commit)}
    repository.branches["main"] = commit
    assert synthkit("publish", large, REPO).exit_code == 0
    assert repository.branches == {"main": commit} and repository.tags == {"v1.0.0": commit}


# --- two at once, and a network that fails ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "nth"),
    [
        pytest.param("repos/create", 1, marks=pytest.mark.slow),
        pytest.param(f"/branch/{BRANCH}", 1, marks=pytest.mark.slow),
        pytest.param(ON_BRANCH, 1, marks=pytest.mark.slow),
        pytest.param(ON_BRANCH, 2, marks=pytest.mark.slow),
        pytest.param("/tag/", 1, marks=pytest.mark.slow),
        pytest.param(MAIN, 1, marks=pytest.mark.slow),
    ],
    ids=["repository", "branch", "first", "second", "tag", "main"],
)
def test_somebody_else_publishes_the_same_at_any_step(
    hub: HubServer, synthkit: Client, large: Path, tmp_path: Path, path: str, nth: int
) -> None:
    environment, seen = hub.environment(tmp_path, hub.WRITE_TOKEN), watch(hub)

    def overtake(_: Request) -> None:
        hub.on_request = None
        ran = finished(command("publish", large, REPO), environment)
        assert ran.returncode == 0, ran.stderr

    hub.on_request = before(path, nth, overtake)
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert hub.on_request is None
    assert len(hub.tag_log) == 1 and whole(hub, "v1.0.0")
    assert seen == [{}, published(hub)] and branches(hub) == {"main"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"/branch/{BRANCH}", marks=pytest.mark.slow),
        pytest.param(ON_BRANCH, marks=pytest.mark.slow),
        "/tag/",
    ],
    ids=["branch", "commit", "tag"],
)
@pytest.mark.slow
def test_a_higher_version_is_published_meanwhile(
    hub: HubServer, synthkit: Client, large: Path, larger: Path, tmp_path: Path, path: str
) -> None:
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN)

    def overtake(_: Request) -> None:
        hub.on_request = None
        ran = finished(command("publish", larger, REPO), environment)
        assert ran.returncode == 0, ran.stderr

    hub.on_request = before(path, 1, overtake)
    ran = synthkit("publish", large, REPO)
    assert all(whole(hub, made.commit) for made in hub.tag_log)
    assert shown(hub) == published(hub, "v1.1.0")
    if path != "/tag/":
        assert ran.exit_code == 1 and "v1.0.0 is not higher than v1.1.0" in ran.output.splitlines()[-1]
        assert [made.tag for made in hub.tag_log] == ["v1.1.0"]


@pytest.mark.slow
def test_main_changes_while_the_branch_is_filled(hub: HubServer, synthkit: Client, large: Path) -> None:
    hub.add_repo(REPO)
    hub.on_request = before(MAIN, 1, lambda _: hub.commit(REPO, {"README.md": b"# Mine"}))
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 0, ran.output
    assert "replaces README.md, which no release brought" in ran.output
    assert whole(hub, "v1.0.0") and shown(hub) == published(hub)


def test_what_arrives_otherwise_on_the_branch_is_not_tagged(
    hub: HubServer, synthkit: Client, large: Path
) -> None:
    def spoil(request: Request) -> None:
        repository = hub.store.get("dataset", REPO) if hub.store.repositories else None
        if "/tree/" in request.path and repository and "manifest.json" in repository.at(BRANCH).files:
            hub.on_request = None
            files = repository.head(BRANCH).files
            assert isinstance(files, dict)
            files["recipe.yaml"] = repository.made("recipe.yaml", b"other bytes")

    hub.on_request = before(ON_BRANCH, 2, lambda _: setattr(hub, "on_request", spoil))
    ran = synthkit("publish", large, REPO)
    assert ran.exit_code == 1
    assert "what arrived is not the release: recipe.yaml" in ran.output.splitlines()[-1]
    assert not hub.tag_log and shown(hub) == {}


def fail_once(hub: HubServer, synthkit: Client, release: Path, index: int, kind: str) -> None:
    """Have one request of a publish fail, and see main whole in the end, and no branch left."""
    survives(hub, synthkit, release, Fault(kind, at=index))
    assert shown(hub) == published(hub) and branches(hub) == {"main"}


def changing(hub: HubServer) -> list[int]:
    """The requests that changed branches and tags."""
    found = [
        record.index
        for record in hub.requests
        if re.search("/(branch|commit|tag)/", record.path) and record.method != "GET"
    ]
    assert len(found) == 6
    return found


@pytest.mark.slow
def test_every_change_fails_once(hub: HubServer, synthkit: Client, large: Path) -> None:
    assert synthkit("publish", large, REPO).exit_code == 0
    kinds = ("drop-after", "409", "504", "412", "drop-after", "html")
    for index, kind in zip(changing(hub), kinds, strict=True):
        fail_once(hub, synthkit, large, index, kind)


@pytest.mark.slow
def test_every_request_that_is_not_about_one_file_fails_once(
    hub: HubServer, synthkit: Client, large: Path
) -> None:
    assert synthkit("publish", large, REPO).exit_code == 0
    indices = [record.index for record in hub.requests if not re.search("/lfs/|/preupload/", record.path)]
    for number, index in enumerate(indices):
        fail_once(hub, synthkit, large, index, FAULTS[number % len(FAULTS)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_every_change_fails_in_every_way(hub: HubServer, synthkit: Client, large: Path, kind: str) -> None:
    assert synthkit("publish", large, REPO).exit_code == 0
    for index in changing(hub):
        fail_once(hub, synthkit, large, index, kind)


@pytest.mark.parametrize(
    ("path", "again"),
    [
        pytest.param("/tag/", True, marks=pytest.mark.slow),
        pytest.param(MAIN, True, marks=pytest.mark.slow),
        pytest.param(MAIN, False, marks=pytest.mark.slow),
    ],
)
def test_a_signed_release_goes_on_where_it_was_stopped(
    hub: HubServer, synthkit: Client, large: Path, tmp_path: Path, path: str, again: bool
) -> None:
    """Signing again gives another signature: the branch stays, and a tagged version keeps its own."""
    lab = make_key(tmp_path, "lab")
    signed = ("--sign", "--key", lab.key)
    hub.faults.append(Fault("503", path=path, times=100))
    assert synthkit("publish", large, REPO, *signed).exit_code == 1
    assert branches(hub) == {"main", BRANCH}
    hub.faults.clear()
    hub.requests.clear()
    ran = synthkit("publish", large, REPO, *(signed if again else ()))
    assert ran.exit_code == 0, ran.output
    assert not any(request.method == "POST" and "/branch/" in request.path for request in hub.requests)
    assert branches(hub) == {"main"}
    assert SIGNATURE in published(hub) and shown(hub) == published(hub)
    assert "Signed by" in synthkit("verify", f"{REPO}@v1.0.0", "--signer", lab.pub).output
