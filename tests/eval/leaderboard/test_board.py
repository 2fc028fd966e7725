"""`synthkit compare` of a leaderboard: a repository on the Hub, and a folder that is its copy."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit_eval.comparison.find import ScoreFile
from synthkit_eval.kin import kin_of_all
from synthkit_eval.leaderboard.again import trained_again
from synthkit_eval.score import Score
from synthkit_eval.score_detail import row_of, schema
from synthkit_eval.score_files import HANDED_IN, Scored
from tests.conftest import Cli
from tests.eval.leaderboard.conftest import REPO
from tests.helpers.hub_client import Client, Ran
from tests.helpers.hub_server import Fault, HubServer
from tests.helpers.hub_store import Repository
from tests.helpers.scores import ECD, RANDOM, detail, score

BOARD, ADDRESS = "lab/board", "hf://datasets/lab/board"
ROW = f"{REPO}@v1.0.0.parquet"


@pytest.fixture
def board(score_file: Path, hub: HubServer, published: Repository) -> HubServer:
    """A Hub with the release, and a leaderboard with its score."""
    hub.store.repositories["dataset", REPO] = published
    hub.add_repo(BOARD, files={"README.md": b"# Scores", ROW: score_file.read_bytes()})
    return hub


def lines(ran: Ran) -> list[str]:
    """What a command told; how far a download is, it tells only where that takes seconds."""
    return [line for line in ran.output.splitlines() if not line.startswith("downloading: ")]


def changed(scored: Scored, **changes: Any) -> bytes:
    """A score file with other keys, named by their dotted paths with _ for the points between."""
    data = scored.score.model_dump(mode="json")
    for path, value in changes.items():
        section, _, key = path.partition("__")
        data[section] = value if not key else data[section] | {key: value}
    table = pa.Table.from_pylist([row_of(Score.model_validate(data), scored.detail)], schema=schema())
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def test_a_row_says_its_release_its_commit_and_what_was_checked(
    board: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    ran = synthkit("compare", ADDRESS, "--out", tmp_path / "board.md")
    assert ran.exit_code == 0, ran.output
    assert lines(ran) == [f"{tmp_path / 'board.md'}: 1 score(s) in 1 section(s)"]
    page = (tmp_path / "board.md").read_text()
    commit, of_board = board.tags(REPO)["v1.0.0"], board.commits(BOARD)[0]
    link = f"[lab/scored@v1.0.0]({board.url}/datasets/{REPO}/tree/{commit})"
    name = ROW.replace("_", r"\_")
    assert f"| small | {link} | {commit[:12]} | score and release | {name} |" in page
    assert f"Scores of hf://datasets/lab/board at commit {of_board[:12]}. Rows stand in the order" in page
    assert board.WRITE_TOKEN not in page


def test_a_bad_row_hides_no_good_one(board: HubServer, synthkit: Client, scored: Scored) -> None:
    board.commit(
        BOARD,
        {
            "lab/none@v1.0.0.parquet": changed(scored, seconds=2.0),
            "a/seal.parquet": changed(scored, protocol__digest="0" * 64),
            "a/text.parquet": b"PAR1 is how it begins",
            "a/copy.parquet": changed(scored, seconds=2.0),
            "a/\x1b[2J.parquet": b"",
            "a/large.parquet": bytes(HANDED_IN.bytes + 1),
        },
    )
    ran = synthkit("compare", ADDRESS)
    assert ran.exit_code == 0, ran.output
    told = [line for line in ran.output.splitlines() if line.startswith("passed over ")]
    expected = [
        r"a/\x1b[2J.parquet: no score file may have this name",
        "a/large.parquet: has 33,554,433 bytes, more than 33,554,432",
        "lab/none@v1.0.0.parquet: lab/none: is not on the Hub",
        "a/copy.parquet: is the score of lab/scored@v1.0.0.parquet again",
        "a/seal.parquet: its protocol's settings do not give its protocol's digest",
        "a/text.parquet: is damaged: it is not a Parquet file",
    ]
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(f"passed over {start}")
    assert ROW in ran.output.split("handed in as")[1]
    # What is too large is not fetched.
    assert not any("large.parquet" in request.path for request in board.requests if request.method == "GET")
    strict = synthkit("compare", ADDRESS, "--strict")
    assert strict.exit_code == 1
    assert lines(strict) == [
        r"error: a/\x1b[2J.parquet: no score file may have this name; use letters, digits, _-.@+"
    ]


def test_a_score_of_another_release_is_passed_over(
    board: HubServer, synthkit: Client, scored: Scored
) -> None:
    data = scored.score.data
    others = {"data__training_digest": "1" * 64, "data__kin": kin_of_all(["1" * 64, data.evaluation_digest])}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"release__seal": "0" * 64}, "has the seal "),
        ({"release__recipe_digest": "0" * 64}, "the score says recipe_digest is 0000"),
        ({"release__method": "mixup"}, "the score says method is mixup, it is embed-cutmix-dropout"),
        ({"release__kin": "0" * 64}, "the score says kin is 0000"),
        ({"release__version": "1.0.1"}, "the score says version is 1.0.1, it is 1.0.0"),
        (others, "was made from other real images than the score was trained on"),
    ]
    board.commit(BOARD, {f"{n}/{ROW}": changed(scored, **case) for n, (case, _) in enumerate(cases)})
    ran = synthkit("compare", ADDRESS)
    assert ran.exit_code == 0, ran.output
    told = [line for line in ran.output.splitlines() if line.startswith("passed over ")]
    for number, (line, (_, message)) in enumerate(zip(told, cases, strict=True)):
        assert line.startswith(f"passed over {number}/{ROW}: lab/scored@v1.0.0: {message}")
    assert f"score it as it is on the Hub: `synthkit eval {REPO}@v1.0.0`" in told[0]
    board.commit(BOARD, {ROW: None})
    alone = synthkit("compare", ADDRESS)
    (told_alone,) = lines(alone)
    assert alone.exit_code == 1
    assert told_alone.startswith(
        f"error: {ADDRESS}: holds no score that verifies: 0/{ROW}: {REPO}@v1.0.0: has"
    )


def test_a_row_is_handed_in_by_a_pull_request(
    board: HubServer, synthkit: Client, scored: Scored, tmp_path: Path
) -> None:
    row = tmp_path / "row.parquet"
    row.write_bytes(changed(scored, release__seal="1" * 64))
    words = [BOARD, str(row), "b/row.parquet", "--repo-type", "dataset", "--create-pr"]
    handed_in = subprocess.run(
        [sys.executable, "-m", "huggingface_hub.cli.hf", "upload", *words],
        env=board.environment(tmp_path / "home", board.STRANGER_TOKEN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert handed_in.returncode == 0, handed_in.stderr
    assert "b/row.parquet" not in synthkit("compare", ADDRESS).output
    asked = synthkit("compare", f"{ADDRESS}@refs/pr/1").output
    assert ROW in asked and "b/row.parquet" in asked
    assert ROW not in synthkit("compare", f"{ADDRESS}@refs/pr/1/b").output
    refused = synthkit("compare", f"{ADDRESS}@v9")
    assert refused.exit_code == 1 and "lab/board: has no version v9; it has none" in refused.output


def test_addresses_that_lead_nowhere_are_one_line(board: HubServer, synthkit: Client) -> None:
    board.add_repo("lab/empty", files={"README.md": b"# Nothing"})
    for argument, message in (
        ("hf://datasets/lab/none", "lab/none: is not on the Hub, or private; "),
        (
            "hf://datasets/lab/empty",
            "hf://datasets/lab/empty: holds no score that verifies: there is no Parquet",
        ),
        (
            "hf://models/lab/board",
            "hf://models/lab/board: is not the address of scores on the Hub: write hf://",
        ),
        ("hf://datasets/lab/../x", "lab/..: is not the name of a repository: "),
        ("lab/board", "lab/board: there is no such score file; one on the Hub is hf://datasets/lab/board\n"),
    ):
        ran = synthkit("compare", argument)
        assert ran.exit_code == 1
        (told,) = lines(ran)
        assert f"{told}\n".startswith(f"error: {message}")


def test_a_hub_that_fails_says_nothing_about_a_row(board: HubServer, synthkit: Client) -> None:
    board.faults.append(Fault("503", path=f"/api/datasets/{REPO}", times=10**6))
    ran = synthkit("compare", ADDRESS)
    assert ran.exit_code == 1
    assert "passed over" not in ran.output
    assert ran.output.splitlines()[-1].startswith("error: lab/scored: the Hub answers 503")


@pytest.mark.slow
def test_offline_the_files_that_were_fetched_last_are_read(
    board: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    assert synthkit("compare", ADDRESS).exit_code == 0
    for home, code, told in (
        (
            synthkit.folder,
            0,
            f"{ADDRESS}: HF_HUB_OFFLINE is set: these are the files that were fetched last\n",
        ),
        (
            tmp_path,
            1,
            f"error: {ADDRESS}: is not on this machine, and HF_HUB_OFFLINE is set; unset it to reach",
        ),
    ):
        environment = board.environment(home, board.WRITE_TOKEN) | {"HF_HUB_OFFLINE": "1"}
        before = len(board.requests)
        ran = subprocess.run(
            [sys.executable, "-m", "synthkit", "compare", ADDRESS],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, len(board.requests)) == (code, before)
        assert ran.stderr.startswith(told) and ran.stderr.count("\n") == 1
        assert (ROW in ran.stdout) is (code == 0)


def test_scores_that_contradict_others_about_the_images_are_passed_over(
    board: HubServer, synthkit: Client, scored: Scored
) -> None:
    """Equal digests of evaluation images, and other images: the released score is believed."""
    images = len(scored.detail.ids)
    renamed = replace(scored.detail, ids=tuple(f"other/{n}" for n in range(images)))
    forged = Scored(scored.score, renamed)
    board.commit(BOARD, {"a/row.parquet": changed(forged, release__seal="1" * 64)})
    ran = synthkit("compare", ADDRESS)
    assert (
        "passed over a/row.parquet: its evaluation images are not those of other scores that state the same "
        "digest or data set\n"
    ) in ran.output
    assert ROW in ran.output


def test_a_folder_is_verified_when_that_is_asked(cli: Cli, score_file: Path, scored: Scored) -> None:
    folder = cli.folder / "board"
    (folder / "lab").mkdir(parents=True)
    shutil.copy(score_file, folder / "lab" / "small.parquet")
    (folder / "lab" / "bad.parquet").write_bytes(changed(scored, steps=3))
    (folder / "lab" / "link.parquet").symlink_to("/etc/hostname")
    result = cli("compare", "board", "--verify")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "passed over board/lab/link.parquet: is a link, or no file",
        "passed over lab/bad.parquet: 3 steps are no whole number for each of 2 epochs",
    ]
    row = next(line for line in result.stdout.splitlines() if line.endswith("lab/small.parquet"))
    assert row.split() == ["small", "–", "–", "score", "lab/small.parquet"]
    named = cli("compare", "board/lab/bad.parquet", "--verify")
    assert named.exit_code == 1
    assert named.stderr == "error: bad.parquet: 3 steps are no whole number for each of 2 epochs\n"
    needs = cli("compare", "board", "--strict")
    assert needs.stderr == "error: --strict and --again: are about scores that are verified; add --verify\n"


def test_a_folder_here_is_not_the_release_on_the_hub(
    board: HubServer, synthkit: Client, release: Path, scored: Scored
) -> None:
    """A copy of a leaderboard may bring a folder that is called as a release."""
    forged = synthkit.folder / "lab" / "forged@v1.0.0"
    shutil.copytree(release, forged)
    board.commit(BOARD, {"lab/forged@v1.0.0.parquet": changed(scored, seconds=2.0)})
    ran = synthkit("compare", ADDRESS)
    shutil.rmtree(forged.parent)
    assert "passed over lab/forged@v1.0.0.parquet: lab/forged: is not on the Hub" in ran.output


def test_what_training_again_came_to(cli: Cli, score_file: Path) -> None:
    for name in ("board", "here"):
        (cli.folder / name).mkdir()
        shutil.copy(score_file, cli.folder / name / "small.parquet")
    page = cli("compare", "board", "--verify", "--again", "here").stdout
    assert "the same predictions in 2 of 2 runs" in page
    assert "No score was trained again here" in cli("compare", "board", "--verify").stdout


def test_training_again_that_comes_to_something_else() -> None:
    made = [score(values, method="mixup") for values in (ECD, RANDOM, [value + 0.0005 for value in ECD])]
    handed_in, lower, alike = (ScoreFile(Path("s"), one, detail(one)) for one in made)
    other = replace(handed_in, score=score(ECD, method="mixup", steps=100))
    (told,) = trained_again([handed_in], [other, lower])
    assert told is not None and told.startswith("-2.9 points (-") and told.endswith("), more than chance")
    (told,) = trained_again([handed_in], [alike])
    assert told is not None and told.startswith("+0.1 points (-") and told.endswith("), which may be chance")
    assert trained_again([handed_in], [other]) == [None]
