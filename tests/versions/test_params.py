"""Releases by DVC: what is made again, what is recorded, and what keeps a version from being one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from synthkit.versions import git, params
from tests.conftest import Cli, digests
from tests.helpers.paths import ROOT
from tests.helpers.project import RECIPE, Project
from tests.helpers.signing import make_key

OTHER = """\
name: other
license: cc-by-4.0
source: {kind: folder, root: images}
target_per_class: 40
model: {id: "builtin:tiny-unclip-digits"}
sampler: {steps: 25, guidance_scale: 2.0, batch_size: 8}
output: {shard_size: 8}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    started = Project(tmp_path / "project", dict(os.environ))
    started.start()
    for name in ("HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.setenv(name, started.environment[name])
    return started


def refused(project: Project, *words: str, name: str = "small") -> None:
    """`synthkit release` fails in one line that says these words, and leaves everything as it was."""
    before = project("git", "status", "--porcelain"), project("git", "rev-parse", "HEAD")
    result = Cli(project.folder)("release", name)
    assert result.exit_code == 1, result.output
    assert result.output.startswith("error: ") and result.output.count("\n") == 1, result.output
    for word in words:
        assert word in result.output
    assert (project("git", "status", "--porcelain"), project("git", "rev-parse", "HEAD")) == before


def test_a_release_that_is_not_listed(project: Project) -> None:
    refused(project, "params.yaml: lists no release smal; it lists small", name="smal")


def test_a_tree_with_changes(project: Project) -> None:
    project.edit(RECIPE, "steps: 2", "steps: 3")
    (project.folder / "note.txt").write_text("stray")
    refused(project, "note.txt", RECIPE, "not committed", "name in .gitignore")


def test_what_a_release_records_does_not_make_the_tree_dirty(project: Project) -> None:
    project("git", "tag", "small@v1.0.0")
    killed = ("reports/small/.verify.json.0123abcd.tmp", "changelog/.small.yaml.0123abcd.tmp")
    for name in ("dvc.lock", "reports/small/verify.json", "changelog/small.yaml", *killed):
        project.edit(name, "", "{}\n")
    refused(project, "small@v1.0.0: is tagged already")


def test_code_that_was_moved_is_a_change(project: Project) -> None:
    project.edit("changelog/code.py", "", "print()\n")
    project.commit("Code")
    project("git", "mv", "changelog/code.py", "code.py")
    refused(project, "code.py", "not committed")


def test_a_recipe_that_git_does_not_know(project: Project) -> None:
    project.edit(".gitignore", "/releases/", "/releases/\n/recipes/")
    project("git", "rm", "-q", "--cached", RECIPE)
    project.commit("Ignore recipes")
    refused(project, f"{RECIPE}: not committed")


def test_a_base_that_git_does_not_know(project: Project) -> None:
    project.edit("base.yaml", "", "prompt: a {name}\n")
    project.edit(RECIPE, "name: small", "extends: ../base.yaml\nname: small")
    project.edit(".gitignore", "/releases/", "/releases/\n/base.yaml")
    project.commit("Extend")
    refused(project, "base.yaml: not committed")


def test_file_names_that_are_not_text(project: Project) -> None:
    (project.folder / os.fsdecode(b"sp\xe4t.txt")).write_text("stray")
    refused(project, "not committed")


def test_a_project_in_a_folder_of_a_repository(tmp_path: Path, project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    place = tmp_path / "all" / "späte daten"
    shutil.copytree(project.folder, place)
    inner = Project(place, project.environment)
    inner("git", "init", "-q", "..")
    for name in ("name", "email"):
        inner("git", "config", f"user.{name}", "tests@example.org")
    inner.commit("Start")
    inner("git", "tag", "small@v1.0.0")
    inner.edit("dvc.lock", "", "{}\n")
    refused(inner, "small@v1.0.0: is tagged already")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no releases"),
        ("[1]", "lists no releases"),
        ("releases: {small: {recipe: r, version: 2026-13-45}}", "params.yaml: is not plain YAML"),
        ("releases: !!int x", "params.yaml: is not plain YAML"),
        ("releases: !!bool x", "params.yaml: is not plain YAML"),
        ("releases: !!timestamp x", "params.yaml: is not plain YAML"),
        ("releases: !!int ''", "params.yaml: is not plain YAML"),
        ("[" * 5000, "params.yaml: is not plain YAML"),
        ("releases: {small: {recipe: r, version: 1.0}}", "releases.small.version"),
    ],
)
def test_parameters_that_are_none(project: Project, text: str, words: str) -> None:
    (project.folder / "params.yaml").write_text(text)
    refused(project, words)


def test_a_version_that_is_taken_or_lower(project: Project) -> None:
    project("git", "tag", "small@v1.0.0")
    refused(project, "small@v1.0.0: is tagged already", "raise releases.small.version in params.yaml")
    project("git", "tag", "small@v1.10.0")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.9.0")
    project.commit("1.9.0")
    refused(project, "small@v1.9.0: is not higher than 1.10.0")


def earlier(project: Project, monkeypatch: pytest.MonkeyPatch) -> git.Earlier:
    monkeypatch.chdir(project.folder)
    return git.check_version(params.find("small"))


def test_a_tag_of_another_branch(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In another git worktree: its tags are all of the repository's, its history is not."""
    assert earlier(project, monkeypatch) == git.Earlier(None, None)
    project("git", "commit", "-q", "--allow-empty", "-m", "Work")
    project("git", "tag", "small@v1.0.0")
    project("git", "tag", "smaller@v9.0.0")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.2.0")
    project.commit("1.2.0")
    assert earlier(project, monkeypatch) == git.Earlier("1.0.0", None)
    project("git", "worktree", "add", "-q", tmp_path / "other", "-b", "other", "HEAD")
    project("git", "commit", "-q", "--allow-empty", "-m", "More")
    project("git", "tag", "-a", "small@v1.1.0", "-m", "Annotated")
    assert earlier(project, monkeypatch) == git.Earlier("1.1.0", None)
    other = Project(tmp_path / "other", project.environment)
    found = earlier(other, monkeypatch)
    assert found == git.Earlier("1.0.0", "1.1.0")
    listed = params.find("small")
    assert found.note(listed) == (
        "small: 1.1.0 is tagged on another branch; changes are told since 1.0.0, the last version that this "
        "commit descends from"
    )
    other("git", "checkout", "-q", "--detach")
    assert earlier(other, monkeypatch) == found
    assert git.push_command(listed) == "git push origin small@v1.2.0"
    project("git", "tag", "small@v1.2.0")
    refused(other, "small@v1.2.0: is tagged already")
    project("git", "tag", "small@v1.3.0")
    other.edit("params.yaml", "version: 1.2.0", "version: 1.2.1")
    other.commit("1.2.1")
    refused(other, "small@v1.2.1: is not higher than 1.3.0, which is tagged on another branch; raise")


@pytest.mark.slow
def test_a_release_in_another_worktree(project: Project, tmp_path: Path) -> None:
    project("synthkit", "release", "small", "--tag")
    project("git", "worktree", "add", "-q", tmp_path / "other", "-b", "other", "HEAD")
    project("git", "commit", "-q", "--allow-empty", "-m", "More")
    project("git", "tag", "small@v1.1.0")
    other = Project(tmp_path / "other", project.environment)
    other.edit("params.yaml", "version: 1.0.0", "version: 1.2.0")
    other.commit("1.2.0")
    printed = other("synthkit", "release", "small", "--tag")
    assert "note: small: 1.1.0 is tagged on another branch; changes are told since 1.0.0" in printed
    assert "what changed since 1.0.0 is not known: 1.0.0 is in no DVC cache or remote" in printed
    assert "says what changed" not in printed
    other("git", "rev-parse", "--verify", "-q", "small@v1.2.0")
    newest = yaml.safe_load((other.folder / "changelog" / "small.yaml").read_text())[0]
    assert (newest["version"], newest["since"]) == ("1.2.0", "1.0.0")


def test_only_other_branches_have_versions(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project("git", "checkout", "-q", "-b", "other")
    project("git", "commit", "-q", "--allow-empty", "-m", "Work")
    project("git", "tag", "small@v0.9.0")
    project("git", "checkout", "-q", "-")
    found = earlier(project, monkeypatch)
    assert found == git.Earlier(None, "0.9.0")
    told = found.note(params.find("small"))
    assert told and told.endswith("this commit descends from no version, so no changes are told")


def test_a_shallow_clone(project: Project, tmp_path: Path) -> None:
    project("git", "commit", "-q", "--allow-empty", "-m", "Work")
    project("git", "clone", "-q", "--depth", "1", f"file://{project.folder}", tmp_path / "shallow")
    shallow = Project(tmp_path / "shallow", project.environment)
    refused(shallow, "this clone is shallow", "git fetch --unshallow --tags")


def test_a_version_that_is_none(project: Project) -> None:
    project.edit("params.yaml", "version: 1.0.0", "version: 1.0")
    refused(project, "params.yaml: releases.small.version")


def test_a_misspelt_key(project: Project) -> None:
    project.edit("params.yaml", "recipe:", "recipee:")
    refused(project, "params.yaml: releases.small.recipe: Field required")


def test_a_key_that_is_not_the_recipes_name(project: Project) -> None:
    project.edit(RECIPE, "name: small", "name: smaller")
    refused(project, "releases.small", "makes smaller; use that name")


def test_a_recipe_that_is_not_there(project: Project) -> None:
    (project.folder / RECIPE).unlink()
    refused(project, f"{RECIPE}: there is no such recipe")


def test_an_artifact_that_is_not_declared(project: Project) -> None:
    project.edit("dvc.yaml", "path: releases/small", "path: releases/smaller")
    refused(project, "dvc.yaml: artifacts: lacks small; add: small: {path: releases/small, type: dataset}")


def test_outside_of_a_project(tmp_path: Path) -> None:
    result = Cli(tmp_path)("release", "small")
    assert result.exit_code == 1
    assert "params.yaml: is not here; run this in the folder with params.yaml and dvc.yaml" in result.output


def test_outside_of_git(project: Project) -> None:
    shutil.rmtree(project.folder / ".git")
    result = Cli(project.folder)("release", "small")
    assert result.exit_code == 1
    assert "not a git repository" in result.output
    assert "Traceback" not in result.output


def test_what_decides_a_release_is_told_as_json(cli: Cli) -> None:
    recipe = cli.recipe()
    told = cli("digest", recipe)
    facts = json.loads(told.stdout)
    assert (facts["name"], facts["version"], facts["images"]) == ("small", "1.2.3", 76)
    assert cli("digest", recipe, "--report", "reports/small/inputs.json").exit_code == 0
    assert json.loads((cli.folder / "reports" / "small" / "inputs.json").read_text()) == facts
    changed = json.loads(cli("digest", recipe, "--set", "seed=8").stdout)
    assert changed["digest"] != facts["digest"]
    assert str(cli.folder) not in told.stdout


def test_a_report_of_what_was_verified(cli: Cli, flat_release: Path) -> None:
    assert cli("verify", flat_release, "--report", "verify.json").exit_code == 0
    report = json.loads((cli.folder / "verify.json").read_text())
    assert (report["images"], report["shards"], report["version"]) == (76, 4, "1.2.3")
    broken = Path(shutil.copytree(flat_release, cli.folder / "broken"))
    (broken / "samples.png").write_bytes(b"")
    assert cli("verify", broken, "--report", "broken.json").exit_code == 1
    assert not (cli.folder / "broken.json").exists()


@pytest.mark.slow
def test_only_what_changed_is_made_again_and_what_was_stopped_goes_on(project: Project) -> None:
    for number in range(6):
        place = project.folder / "images" / f"class{number % 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (40 * number, 99, 9)).save(place)
    project.edit("recipes/other.yaml", "", OTHER)
    listed = "  other:\n    recipe: recipes/other.yaml\n    version: 0.1.0\n    protocol: none\n"
    project.edit("params.yaml", "releases:\n", f"releases:\n{listed}")
    command = ["dvc", "repro", "verify"]

    # Stopped like by Ctrl-C, in the middle of a build; then to the end.
    stopped = subprocess.Popen(command, cwd=project.folder, env=project.environment, start_new_session=True)
    shards = project.folder / ".synthkit"
    while not len(list(shards.glob("other-*/shards/*.tar"))) >= 2:
        time.sleep(0.05)
    os.killpg(stopped.pid, signal.SIGINT)
    assert stopped.wait() != 0
    kept = {path: path.stat().st_mtime_ns for path in shards.glob("other-*/shards/*.tar")}
    told = project(*command)
    assert f"{74 - 8 * len(kept)} of them made now" in told
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    data = project.folder / "releases" / "other" / "data"
    other, small = digests(data.parent), project.made()

    # A real image changes: its release alone is made again.
    Image.new("RGB", (40, 40), (1, 2, 3)).save(project.folder / "images" / "class0" / "0.png")
    told = project(*command)
    assert "Running stage 'build@other'" in told
    assert "Stage 'build@small' didn't change, skipping" in told
    assert digests(data.parent) != other
    assert project.made() == small

    # An audit and a signature are kept, and recorded with the release.
    project.commit("Start")
    project("synthkit", "audit", "releases/small")
    key = make_key(project.folder.parent, "lab").key
    project("synthkit", "sign", "releases/small", "--key", key)
    project("synthkit", "release", "small", "--tag")
    assert (project.folder / "releases" / "small" / "manifest.json.sig").exists()
    assert (project.folder / "releases" / "small" / "audit.json").exists()
    assert project("git", "status", "--porcelain") == ""

    # The audit of another release is not recorded as this one's.
    project.edit(RECIPE, "steps: 2", "steps: 3")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.1.0")
    project.commit("Another step")
    project("dvc", "repro", "inputs@small")
    project("synthkit", "release", "small", "--tag")
    report = json.loads((project.folder / "reports" / "small" / "verify.json").read_text())
    assert report["version"] == "1.1.0"
    assert not (project.folder / "releases" / "small" / "audit.json").exists()

    # A new summary: a new card, and no image made.
    project.edit(RECIPE, "license:", "summary: Ones and zeros.\nlicense:")
    told = project(*command)
    assert "0 of them made now" in told
    assert "Stage 'build@other' didn't change, skipping" in told


@pytest.mark.slow
def test_a_release_is_scored_and_compared(project: Project) -> None:
    shipped = ROOT / "eval" / "protocols" / "digits-lt.yaml"
    quick = {"network: resnet10t": "network: test_resnet", "epochs: 10": "epochs: 1"}
    text = re.sub("network_args:.*", "", shipped.read_text())
    for old, new in quick.items():
        assert old in text
        text = text.replace(old, new)
    project.edit("quick.yaml", "", text)
    project.edit("params.yaml", "eval/protocols/digits-lt.yaml", "quick.yaml")
    project.edit("params.yaml", "seeds: 3", "seeds: 2")
    project("dvc", "repro")
    shown = json.loads(project("dvc", "metrics", "show", "--json"))
    files = shown[""]["data"]
    accuracy = files["reports/small/accuracy.json"]["data"]["accuracy"]
    score = json.loads((project.folder / "reports/small/score.json").read_text())
    assert accuracy["overall"]["mean"] == score["accuracy"]["overall"]["mean"]
    table = (project.folder / "comparison" / "table.md").read_text()
    assert "| real only |" in table
    assert "| small |" in table
    assert (project.folder / "comparison" / "plots" / "groups.png").read_bytes().startswith(b"\x89PNG")
    project("dvc", "plots", "show", "--out", "pages")
    assert "groups" in (project.folder / "pages" / "index.html").read_text()
    told = project("dvc", "repro")
    for stage in ("eval@small", "real-only@small", "compare"):
        assert f"Stage '{stage}' didn't change, skipping" in told
    # What was measured may lie there when a version is recorded.
    shutil.rmtree(project.folder / "pages")
    project.commit("Start")
    (project.folder / "comparison" / "table.md").write_text("another\n")
    project("synthkit", "release", "small", "--tag")
