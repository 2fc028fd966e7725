"""The page that `publish --page` puts into a static Space, and the link to it in the card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import Cli, digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import Fault, HubServer
from tests.helpers.publishing import REPO, build, published, refused, whole
from tests.publish.test_publish_faults import FAULTS

SPACE = "lab/digits-page"
LINK = f"https://huggingface.co/spaces/{SPACE}"


def shown(hub: HubServer) -> str:
    """The page that the Space shows."""
    return hub.files(SPACE, repo_type="space")["index.html"].decode()


def spaces(hub: HubServer) -> list[str]:
    return [name for kind, name in hub.store.repositories if kind == "space"]


def test_the_page_comes_into_a_static_space_and_the_card_links_it(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert f"{hub.url}/spaces/{SPACE}: its page, " in ran.output
    assert whole(hub, "v1.0.0")
    assert f"]({LINK})" in hub.files(REPO)["README.md"].decode()
    files = hub.files(SPACE, repo_type="space")
    assert files.keys() == {".gitattributes", "README.md", "index.html"}
    front = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert front == {
        "title": "small",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "license": "cc-by-4.0",
        "datasets": [REPO],
    }
    assert f"datasets/{REPO}/tree/v1.0.0" in files["README.md"].decode()
    # It says how to load what is published, not what lies here.
    page = shown(hub)
    assert REPO in page and "v1.0.0" in page
    assert f"repo_id: {REPO}" in page and "page: true" in page
    assert str(release) not in page
    assert hub.store.get("space", SPACE).private


def test_a_copy_from_the_hub_is_intact(hub: HubServer, synthkit: Client, release: Path) -> None:
    assert synthkit("publish", release, REPO, "--page").exit_code == 0
    ran = synthkit("verify", f"{REPO}@v1.0.0")
    assert ran.exit_code == 0, ran.output


def test_it_is_what_a_build_with_hub_page_gives(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    assert synthkit("publish", release, REPO, "--page").exit_code == 0
    by_flag, page = published(hub), shown(hub)
    built = build(tmp_path, f"hub.repo_id={REPO}", "hub.page=true", like=release)
    assert by_flag == digests(built)
    hub.reset()
    assert synthkit("publish", built).exit_code == 0
    assert shown(hub) == page


def test_no_page_although_the_recipe_asks_for_one(
    hub: HubServer, synthkit: Client, release: Path, tmp_path: Path
) -> None:
    built = build(tmp_path, f"hub.repo_id={REPO}", "hub.page=true", like=release)
    assert LINK in (built / "README.md").read_text()
    assert synthkit("publish", built, "--no-page").exit_code == 0
    assert whole(hub, "v1.0.0")
    assert LINK not in hub.files(REPO)["README.md"].decode()
    assert spaces(hub) == []


def test_real_images_are_on_it_only_if_asked_for(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO, "--page")
    without = shown(hub)
    assert "The real images are not shown" in without
    ran = synthkit("publish", release, REPO, "--page", "--page-sources")
    assert "v1.0.0 is published already" in ran.output
    assert "its page, " in ran.output
    assert "The real images are not shown" not in shown(hub)
    assert len(re.findall("data:image/webp", shown(hub))) > len(re.findall("data:image/webp", without))


def test_a_dry_run_says_what_would_be_sent(hub: HubServer, synthkit: Client, release: Path) -> None:
    ran = synthkit("publish", release, REPO, "--page", "--dry-run")
    assert ran.exit_code == 0, ran.output
    assert re.search(
        rf"Page: {hub.url}/spaces/{SPACE}: [\d.]+ kB to send to a Space to be made, private", ran.output
    )
    assert "Nothing was sent" in ran.output
    assert not hub.store.repositories


def test_again_nothing_is_sent(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO, "--page")
    first = len(hub.requests)
    for more in ((), ("--dry-run",)):
        ran = synthkit("publish", release, REPO, "--page", *more)
        assert ran.exit_code == 0, ran.output
        assert "published already, and whole" in ran.output
        assert f"{SPACE}: shows this page already" in ran.output
    # A publish that does not speak of the page finds the same version.
    assert "published already, and whole" in synthkit("publish", release, REPO).output
    assert all(request.method in ("GET", "HEAD") for request in hub.requests[first:])


def test_a_page_for_a_version_that_links_none(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO)
    before = published(hub)
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert "The card of v1.0.0 does not link it: a published version never changes" in ran.output
    assert published(hub) == before
    assert REPO in shown(hub)


def test_the_next_version_replaces_it_and_a_lower_one_does_not(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    synthkit("publish", release, REPO, "--page")
    synthkit("publish", next_release, REPO, "--page")
    page = shown(hub)
    assert "1.1.0" in page
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert "is for 1.1.0, a higher version; no page is sent" in ran.output
    assert shown(hub) == page
    assert len(hub.commits(SPACE, "space")) == 3  # with the first one, of the Hub


def test_a_space_of_another_purpose_stays(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(SPACE, "space", {"app.py": b"print('mine')"})
    message = refused(hub, synthkit, release, REPO, "--page")
    assert "the Space for the page holds files of another purpose (app.py)" in message
    assert "--no-page" in message


def test_a_space_with_a_page_of_ones_own_stays(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(SPACE, "space", {"index.html": b"<h1>mine</h1>", "README.md": b"# Mine"})
    assert "the Space for the page is in use" in refused(hub, synthkit, release, REPO, "--page")


@pytest.mark.parametrize("options", [["--page-sources"], ["--score", "score.json"]], ids=["sources", "score"])
def test_options_of_a_page_without_one(
    hub: HubServer, synthkit: Client, release: Path, options: list[str]
) -> None:
    message = refused(hub, synthkit, release, REPO, *options)
    assert message == "error: --page-sources and --score: are for the page; add --page"


def test_a_name_that_is_too_long_for_the_space(hub: HubServer, synthkit: Client, release: Path) -> None:
    message = refused(hub, synthkit, release, f"lab/{'d' * 93}", "--page")
    assert "-page: is not the name of a repository" in message


def test_a_token_that_may_not_make_a_space_is_told_of_before_anything_is_sent(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    hub.add_repo(REPO)
    message = refused(hub, synthkit, release, REPO, "--page", HF_TOKEN=hub.FINE_TOKEN)
    assert SPACE in message


def test_a_page_that_does_not_arrive_is_sent_by_the_same_command(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    hub.faults.append(Fault("403", method="POST", path=rf"/api/spaces/{SPACE}/commit/"))
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 1
    assert ran.output.splitlines()[-1].startswith(
        f"error: {REPO}: v1.0.0 is published, but its page is not: "
    )
    assert whole(hub, "v1.0.0")
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert "published already, and whole" in ran.output
    assert REPO in shown(hub)


def test_somebody_else_changes_the_space_meanwhile(hub: HubServer, synthkit: Client, release: Path) -> None:
    def push(request: object) -> None:
        if f"/api/spaces/{SPACE}/preupload/" in getattr(request, "path", ""):
            hub.on_request = None
            hub.commit(SPACE, {"style.css": b"body {}"}, repo_type="space")

    synthkit("publish", release, REPO, "--page")
    hub.commit(SPACE, {"index.html": b"edited"}, repo_type="space")
    hub.on_request = push
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert REPO in shown(hub)
    assert "style.css" not in hub.files(SPACE, repo_type="space")


def test_the_page_of_a_private_release_is_not_put_into_a_public_space(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    synthkit("publish", release, REPO, "--page")
    hub.store.get("space", SPACE).private = False
    message = refused(hub, synthkit, next_release, REPO, "--page")
    assert "the Space for the page is public, and the data set is not: change that" in message
    assert f"{hub.url}/spaces/{SPACE}/settings" in message


def test_a_public_release_has_a_public_page(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO, "--page", "--public")
    assert not hub.store.get("space", SPACE).private


def test_the_card_of_a_preview_links_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    build(tmp_path, f"hub.repo_id={REPO}", "hub.page=true")
    assert (
        cli(
            "build", "recipe.yaml", "--limit", "2", "--set", f"hub.repo_id={REPO}", "--set", "hub.page=true"
        ).exit_code
        == 0
    )
    assert LINK not in (tmp_path / "releases" / "small-preview" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_every_request_of_a_page_fails(hub: HubServer, synthkit: Client, release: Path, kind: str) -> None:
    """The same command goes on; neither a half release nor a half page is ever shown."""
    hub.reset()
    assert synthkit("publish", release, REPO, "--page").exit_code == 0
    page, count = shown(hub), len(hub.requests)
    of_the_space = [request.index for request in hub.requests if "/spaces/" in request.path]
    assert of_the_space
    for index in range(of_the_space[0], count):
        hub.reset()
        hub.faults.append(Fault(kind, at=index))
        ran = synthkit("publish", release, REPO, "--page")
        assert all(whole(hub, made.commit) for made in hub.tag_log), (index, ran.output)
        assert "TRACEBACK" not in ran.output, (index, ran.output)
        if ran.exit_code:
            assert ran.output.splitlines()[-1].startswith("error: "), (index, ran.output)
            again = synthkit("publish", release, REPO, "--page")
            assert again.exit_code == 0, (index, ran.output, again.output)
        assert whole(hub, "v1.0.0") and shown(hub) == page, (index, ran.output)


def test_the_page_is_for_the_highest_version_of_the_data_set(
    hub: HubServer, synthkit: Client, release: Path, next_release: Path
) -> None:
    synthkit("publish", release, REPO)
    synthkit("publish", next_release, REPO)
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert "is for 1.1.0, a higher version; no page is sent" in ran.output
    assert spaces(hub) == []


def test_a_gated_data_set_has_a_private_page(hub: HubServer, synthkit: Client, release: Path) -> None:
    synthkit("publish", release, REPO, "--public")
    hub.store.get("dataset", REPO).gated = True
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert hub.store.get("space", SPACE).private


def test_a_space_of_one_commit_by_somebody_stays(hub: HubServer, synthkit: Client, release: Path) -> None:
    hub.add_repo(SPACE, "space")
    hub.store.get("space", SPACE).begin_with({"README.md": b"---\nsdk: gradio\n---\n"})
    assert "the Space for the page is in use" in refused(hub, synthkit, release, REPO, "--page")


def test_a_page_of_a_higher_version_that_arrives_meanwhile_is_told(
    hub: HubServer, synthkit: Client, release: Path
) -> None:
    def push(request: object) -> None:
        if f"/api/spaces/{SPACE}/commit/" in getattr(request, "path", ""):
            hub.on_request = None
            card = hub.files(SPACE, repo_type="space")["README.md"].replace(
                b"version 1.0.0", b"version 2.0.0"
            )
            hub.commit(SPACE, {"README.md": card}, repo_type="space")

    synthkit("publish", release, REPO, "--page")
    hub.commit(SPACE, {"index.html": b"edited"}, repo_type="space")
    hub.on_request = push
    ran = synthkit("publish", release, REPO, "--page")
    assert ran.exit_code == 0, ran.output
    assert "is for 2.0.0, a higher version; no page is sent" in ran.output


def test_a_published_page_of_an_audited_release_has_no_real_images(
    hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    audited = build(tmp_path)
    assert Cli(tmp_path)("audit", audited).exit_code == 0
    assert synthkit("publish", audited, REPO, "--page").exit_code == 0
    without = shown(hub)
    assert "Copies" in without
    assert 'alt="real image' not in without
    assert synthkit("publish", audited, REPO, "--page", "--page-sources").exit_code == 0
    assert 'alt="real image' in shown(hub)
