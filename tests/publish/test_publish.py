"""Publishing to a Hub: what arrives, what is refused, and what failures leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkit.release.manifest import read_manifest
from tests.conftest import Cli, digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import Fault, HubServer, Request
from tests.helpers.publishing import REPO, TINY, build, published, refused, whole


def test_dry_run_lists_everything_and_sends_nothing(hub: HubServer, synthkit: Client, release: Path) -> None:
    ran = synthkit("publish", release, REPO, "--dry-run")
    assert ran.exit_code == 0, ran.output
    for file in [*read_manifest(release).files]:
        assert file.path in ran.output
    assert "small 1.0.0 -> " in ran.output
    assert "tag v1.0.0" in ran.output
    assert "to be made, private" in ran.output
    assert all(request.method == "GET" or "validate-yaml" in request.path for request in hub.requests)


def test_publishes_every_byte_and_then_the_tag(hub: HubServer, synthkit: Client, release: Path) -> None:
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0, ran.output
    assert f'load_dataset("{REPO}", revision="v1.0.0"' in ran.output
    assert whole(hub, "v1.0.0")
    tars = {path: sha256 for path, sha256 in digests(release).items() if path.startswith("data/")}
    assert tars.items() <= published(hub).items()
    last = [request for request in hub.requests if request.method == "POST"][-1]
    assert last.path.startswith(f"/api/datasets/{REPO}/tag/")
    assert hub.store.get("dataset", REPO).private


def test_the_card_is_addressed_as_a_build_for_that_repository_is(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    assert synthkit("publish", release, REPO).exit_code == 0
    assert published(hub) == digests(build(tmp_path, f"hub.repo_id={REPO}", like=release))


def test_the_local_release_stays_as_it_is(hub: HubServer, synthkit: Client, copy: Path) -> None:
    before = digests(copy)
    assert synthkit("publish", copy, REPO).exit_code == 0
    assert digests(copy) == before


def test_publishing_again_says_so_and_sends_nothing(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO)
    first = len(hub.requests)
    ran = synthkit("publish", release, REPO)
    assert ran.exit_code == 0
    assert "v1.0.0 is published already, and whole" in ran.output
    assert all(request.method in ("GET", "HEAD") for request in hub.requests[first:])


def test_public_when_told(hub: HubServer, synthkit: Client, release: Path) -> None:
    assert synthkit("publish", release, REPO, "--public").exit_code == 0
    assert not hub.store.get("dataset", REPO).private


def test_a_new_version_replaces_the_files_and_keeps_the_old_tag(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    assert synthkit("publish", release, REPO).exit_code == 0
    before = published(hub)
    ran = synthkit("publish", next_release, REPO)
    assert ran.exit_code == 0, ran.output
    assert whole(hub, "v1.1.0") and whole(hub, "v1.0.0")
    assert published(hub) == before
    shards = [path for path in published(hub, "v1.1.0") if path.endswith(".tar")]
    assert len(shards) == 3  # those of v1.0.0 were two


def test_the_recipe_can_name_the_repository(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    release = build(tmp_path, f"hub.repo_id={REPO}", "hub.private=false", like=release)
    assert synthkit("publish", release).exit_code == 0
    assert published(hub) == digests(release)
    assert not hub.store.get("dataset", REPO).private


# --- what is refused, in one line, and changes nothing ------------------------------------------------


def test_a_version_never_changes(hub: HubServer, synthkit: Client, release: Path, tmp_path: Path) -> None:
    synthkit("publish", release, REPO)
    before = published(hub)
    other = build(tmp_path, "summary=The same images under another card.", like=release)
    message = refused(hub, synthkit, other, REPO)
    assert "v1.0.0 is published already, with other content" in message
    assert "raise its version and build again" in message
    assert published(hub) == before


def test_a_lower_version(hub: HubServer, synthkit: Client, release: Path, next_release: Path) -> None:
    synthkit("publish", next_release, REPO)
    message = refused(hub, synthkit, release, REPO)
    assert "v1.0.0 is not higher than v1.1.0" in message


def test_a_tag_that_someone_set_by_hand(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(REPO, files={"manifest.json": b"{}"})
    repository = hub.store.get("dataset", REPO)
    repository.tags["v1.0.0"] = hub.commits(REPO)[0]
    assert "with other content" in refused(hub, synthkit, release, REPO)


def test_a_tag_on_half_a_release(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO)
    commit = hub.commit(REPO, {"data/train-00000.tar": None})
    hub.store.get("dataset", REPO).tags["v1.0.0"] = commit
    message = refused(hub, synthkit, release, REPO)
    assert "not what its manifest says: data/train-00000.tar is missing" in message


def test_files_that_no_release_brought(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(REPO, files={"thesis.txt": b"mine"})
    assert "thesis.txt" in refused(hub, synthkit, release, REPO)
    assert hub.files(REPO)["thesis.txt"] == b"mine"


def test_a_card_of_ones_own_is_replaced_and_told(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(REPO, files={"README.md": b"# Mine"})
    told = "replaces README.md, which no release brought"
    assert told in synthkit("publish", release, REPO, "--dry-run").output
    assert told in synthkit("publish", release, REPO).output
    assert whole(hub, "v1.0.0")


def test_a_card_edited_between_two_versions(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    synthkit("publish", release, REPO)
    ran = synthkit("publish", next_release, REPO, "--dry-run")
    assert "replaces" not in ran.output
    card = hub.files(REPO)["README.md"]
    hub.commit(REPO, {"README.md": card.replace(b"synthetic", b"SYNTHETIC")})
    assert "replaces README.md" in synthkit("publish", next_release, REPO, "--dry-run").output


def test_a_publish_that_was_never_finished_gives_way(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    hub.faults.append(Fault("403", path="/tag/"))
    assert synthkit("publish", release, REPO).exit_code == 1
    ran = synthkit("publish", next_release, REPO)
    assert ran.exit_code == 0
    assert "replaces small 1.0.0, which was sent but never tagged" in ran.output
    assert whole(hub, "v1.1.0")


def test_a_branch_called_as_the_tag(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(REPO)
    repository = hub.store.get("dataset", REPO)
    repository.branches["v1.0.0"] = repository.branches["main"]
    assert "has a branch called v1.0.0" in refused(hub, synthkit, release, REPO)


def test_a_private_repository_stays_private_and_that_is_told(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    hub.add_repo(REPO, private=True)
    ran = synthkit("publish", release, REPO, "--public")
    assert ran.exit_code == 0
    assert "It stays private: change that at" in ran.output
    assert hub.store.get("dataset", REPO).private


def test_a_model_and_a_space_of_that_name_are_told_of(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    for kind in ("model", "space"):
        hub.add_repo(REPO, repo_type=kind)
    for options in (("--dry-run",), ()):
        ran = synthkit("publish", release, REPO, *options)
        assert ran.exit_code == 0, ran.output
        for kind in ("model", "space"):
            assert f"{REPO}: is a {kind} on the Hub, too; the data set goes beside it" in ran.output
    assert whole(hub, "v1.0.0")
    assert "on the Hub, too" not in synthkit("publish", release, REPO).output


@pytest.mark.parametrize("kind", ["403", "503", "drop", "html"])
def test_other_kinds_that_cannot_be_looked_up_stop_nothing(
    hub: HubServer, synthkit: Client, release: Path, kind: str
) -> None:
    hub.faults.append(Fault(kind, path="^/api/(models|spaces)/", times=100))
    ran = synthkit("publish", release, REPO, "--dry-run")
    assert ran.exit_code == 0, ran.output
    assert "on the Hub, too" not in ran.output


@pytest.mark.parametrize(
    "name", ["digits", "lab/digits/more", "lab/di gits", "lab/-digits", "lab/dig..its", "lab/" + 97 * "d"]
)
def test_names_that_are_none(hub: HubServer, synthkit: Client, release: Path, name: str) -> None:
    assert "is not the name of a repository" in refused(hub, synthkit, release, name)
    assert not hub.requests


def test_no_name(hub: HubServer, synthkit: Client, release: Path) -> None:
    assert "ORGANISATION/NAME" in refused(hub, synthkit, release)


def test_a_preview(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(TINY)
    Cli(tmp_path)("build", "recipe.yaml", "--limit", "4")
    message = refused(hub, synthkit, tmp_path / "releases" / "small-preview", REPO)
    assert "is a preview, not a release" in message


def test_no_licence(hub: HubServer, synthkit: Client, release: Path, tmp_path: Path) -> None:
    release = build(tmp_path, text=TINY.replace("license: cc-by-4.0\n", ""), like=release)
    message = refused(hub, synthkit, release, REPO)
    assert "names no licence" in message and "license" in message


def test_a_licence_that_the_hub_does_not_know(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    message = refused(hub, synthkit, build(tmp_path, "license=my-own", like=release), REPO)
    assert "the Hub refuses the card" in message and "license" in message
    assert not hub.store.repositories


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("recipe.yaml", b"a: ["),
        ("recipe.yaml", b"[1, 2]"),
        ("recipe.yaml", "summary: Stra\xdfe".encode("latin-1")),
        ("recipe.yaml", b"extends: /etc/passwd"),
        ("README.md", b"nothing"),
        ("provenance/train-00000.parquet", b"PAR1"),
        ("manifest.json", b"{}"),
    ],
)
def test_a_release_of_which_a_file_was_edited(
    hub: HubServer, synthkit: Client, copy: Path, name: str, content: bytes
) -> None:
    (copy / name).write_bytes(content)
    assert name in refused(hub, synthkit, copy, REPO)
    assert not hub.store.repositories


def test_a_manifest_sealed_anew(hub: HubServer, synthkit: Client, copy: Path) -> None:
    manifest = read_manifest(copy)
    for change in ({"environment": {}}, {"images": 0, "classes": []}):
        (copy / "manifest.json").write_bytes(manifest.model_copy(update=change).sealed().to_json())
        assert "manifest.json: " in refused(hub, synthkit, copy, REPO)


def test_a_damaged_release(hub: HubServer, synthkit: Client, copy: Path) -> None:
    shard = next((copy / "data").iterdir())
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    message = refused(hub, synthkit, copy, REPO)
    assert shard.name in message and "synthkit verify" in message
    assert not hub.store.repositories


def test_a_release_changed_while_it_is_sent(hub: HubServer, synthkit: Client, copy: Path) -> None:
    shard = copy / "data" / "train-00000.tar"

    def change() -> None:
        with shard.open("ab") as stream:
            stream.write(bytes(512))

    hub.on_request = lambda request: change() if request.path == "/api/repos/create" else None
    message = refused(hub, synthkit, copy, REPO)
    assert "changed since it was verified" in message and shard.name in message


def test_a_file_that_goes_while_it_is_sent(hub: HubServer, synthkit: Client, copy: Path) -> None:
    def remove(request: Request) -> None:
        if "/repos/create" in request.path:
            (copy / "data" / "train-00000.tar").unlink()

    hub.on_request = remove
    assert "a file was removed after it was verified" in refused(hub, synthkit, copy, REPO)


def test_a_folder_that_is_no_release(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    assert "has no manifest.json" in refused(hub, synthkit, tmp_path, REPO)


# --- accounts ------------------------------------------------------------------------------------------


def test_no_token(hub: HubServer, release: Path, tmp_path: Path) -> None:
    with Client(hub.environment(tmp_path), tmp_path) as synthkit:
        assert "no token: log in with `hf auth login`" in refused(hub, synthkit, release, REPO)


def test_a_token_that_may_only_read(hub: HubServer, synthkit: Client, release: Path) -> None:
    message = refused(hub, synthkit, release, REPO, HF_TOKEN=hub.READ_TOKEN)
    assert "the token may only read" in message and "write access" in message


def test_a_token_that_is_not_valid(hub: HubServer, synthkit: Client, release: Path) -> None:
    message = refused(hub, synthkit, release, REPO, HF_TOKEN="hf_" + "x" * 34)
    assert "does not accept the token" in message


def test_a_token_for_another_repository(hub: HubServer, synthkit: Client, release: Path) -> None:
    message = refused(hub, synthkit, release, "lab/other", HF_TOKEN=hub.FINE_TOKEN)
    assert "the Hub does not let this token do it" in message
    assert synthkit("publish", release, REPO, HF_TOKEN=hub.FINE_TOKEN).exit_code == 0


def test_a_namespace_of_others(hub: HubServer, synthkit: Client, release: Path) -> None:
    message = refused(hub, synthkit, release, "eve/digits")
    assert "ada is not a member of eve" in message


def test_no_network(hub: HubServer, release: Path, tmp_path: Path) -> None:
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN) | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    with Client(environment, tmp_path) as synthkit:
        ran = synthkit("publish", release, REPO, "--dry-run")
        assert "train-00000.tar" in ran.output  # what would be sent is told all the same
        message = refused(hub, synthkit, release, REPO)
        assert "http://127.0.0.1:9 cannot be reached" in message and "HF_ENDPOINT" in message
        pulled = synthkit("pull", f"{REPO}@v1.0.0", "--out", tmp_path)
        assert pulled.exit_code == 1 and "cannot be reached" in pulled.output


def test_an_endpoint_that_is_no_hub(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.faults.append(Fault("html", at=0))
    assert "does not answer as a Hub does" in refused(hub, synthkit, release, REPO)
