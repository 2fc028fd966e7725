"""Find the score files that a user names, and the real-only scores that belong to them."""

from __future__ import annotations

import glob
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import ScoreError, nearest
from synthkit.hub.client import is_repository_id
from synthkit.release.files import MANIFEST
from synthkit_eval.score_files import MAX_BYTES, TABLE, holds_scores, read_detail, read_score, read_scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from synthkit_eval.score import Score
    from synthkit_eval.score_detail import Detail

SCORES = Path("scores")
REAL_ONLY = "real-only"

# Tell scores, and those of real images alone, from other JSON files without parsing them.
_SCORE = re.compile(rb'"trained_on"\s*:')
_OF_REAL_IMAGES = re.compile(rb'"trained_on"\s*:\s*"real"')


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A score, its detail, their file, and the place in it: a Parquet file may hold many scores.

    `owner` is who handed it in, where scores of several people are compared: no row has those of two.
    """

    path: Path
    score: Score
    detail: Detail
    place: int = 0
    owner: str = ""


class Found(NamedTuple):
    """The scores to compare, and a line for each damaged file that was passed over."""

    files: list[ScoreFile]
    skipped: list[str]


def find_scores(arguments: Sequence[str]) -> Found:
    """Return the scores that arguments name, in their order, then the real-only ones that belong to them.

    An argument is a score file (JSON, with its Parquet file beside it, or a Parquet file of scores alone), a
    folder of score files or of such folders (one for each protocol), the name of a release, or its folder.
    The scores of a release are scores/NAME.json, scores/PROTOCOL/NAME.json and those of scores/NAME-*.json
    that state its name. Real-only scores are looked for in the folder of each
    score and in its subfolder real-only/; one belongs to a release's score if the two compare and it was
    trained for as many steps.

    Raises ScoreError if an argument names no score, or a file it names is not one.
    """
    skipped: list[str] = []
    given = _distinct(file for argument in arguments for file in _named(argument, skipped))
    return Found([*given, *_real_only(given, skipped)], skipped)


def _named(argument: str, skipped: list[str]) -> list[ScoreFile]:
    path = Path(argument)
    if path.is_dir() and (path / MANIFEST).is_file():
        return _of_release(path.resolve().name, skipped)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _read_all(path) if path.suffix == TABLE else [_read(path)]
    if path.suffix in (".json", TABLE) or len(path.parts) != 1:
        raise ScoreError(f"{path}: there is no such score file{_nearest_file(path)}")
    return _of_release(argument, skipped)


def _of_folder(folder: Path) -> list[ScoreFile]:
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != REAL_ONLY)
    paths = [path for place in (folder, *inner) for path in _files(place)]
    found = [_read(path) for path in paths if path.suffix == ".json" and _holds(path, _SCORE)]
    tables = [path for path in paths if path.suffix == TABLE and not path.with_suffix(".json").is_file()]
    found += [file for path in tables if holds_scores(path) for file in _read_all(path)]
    if not found:
        raise ScoreError(f"{folder}: holds no scores; `synthkit eval` writes them into {SCORES}")
    return found


def _of_release(name: str, skipped: list[str]) -> list[ScoreFile]:
    same = f"{glob.escape(name)}.json"
    found = [_read(path) for path in (*_json_files(SCORES, same), *_json_files(SCORES, f"*/{same}"))]
    for path in _json_files(SCORES, f"{glob.escape(name)}-*.json"):
        file = _attempt(path, skipped)
        # The name of another release may begin with this one.
        if file and file.score.release and file.score.release.name == name:
            found.append(file)
    if not found:
        raise ScoreError(
            f"{name}: there is no score of it in {SCORES}; {_nearest_release(name)}"
            f"`synthkit eval releases/{name} --protocol …` makes one"
        )
    return found


def _real_only(given: Sequence[ScoreFile], skipped: list[str]) -> Iterator[ScoreFile]:
    releases = [file for file in given if file.score.release is not None]
    known = {file.path.resolve() for file in given}
    scores = [file.score for file in given]
    for folder in dict.fromkeys(file.path.parent for file in releases):
        for path in (*_json_files(folder), *_json_files(folder / REAL_ONLY)):
            if path.resolve() in known or not _holds(path, _OF_REAL_IMAGES):
                continue
            known.add(path.resolve())
            file = _attempt(path, skipped)
            if file and file.score not in scores and any(_belongs(file.score, of.score) for of in releases):
                scores.append(file.score)
                yield file


def _belongs(real: Score, score: Score) -> bool:
    return real.trained_on == "real" and real.compares_with(score) and real.steps == score.steps


def _distinct(files: Iterable[ScoreFile]) -> list[ScoreFile]:
    return list({(file.path.resolve(), file.place): file for file in files}.values())


def _attempt(path: Path, skipped: list[str]) -> ScoreFile | None:
    try:
        return _read(path)
    except ScoreError as error:
        skipped.append(f"passed over {error}")
        return None


def _read(path: Path) -> ScoreFile:
    score = read_score(path)
    _refuse_problems(score, path)
    return ScoreFile(path, score, read_detail(score, path))


def _read_all(path: Path) -> list[ScoreFile]:
    found = [ScoreFile(path, *scored, place) for place, scored in enumerate(read_scores(path))]
    for file in found:
        _refuse_problems(file.score, path)
    return found


def _refuse_problems(score: Score, path: Path) -> None:
    for problem in problems(score):
        raise ScoreError(f"{path}: is damaged: {problem}; score the release again")


def problems(score: Score) -> Iterator[str]:
    """Yield what is wrong with values of the right types: comparing could not compute with them."""
    if (score.release is None) != (score.trained_on == "real"):
        yield f"trained on {score.trained_on}, {'without' if score.release is None else 'with'} a release"
    if not score.seeds:
        yield "it holds no training run"
    for run in score.seeds:
        if not (0 <= run.overall <= 1 and 0 <= run.class_mean <= 1):
            yield f"seed {run.seed} has an accuracy that is not between 0 and 1"
    parts = [part for _, part in score.accuracy if part]
    if any(not 0 <= part.mean <= 1 or not math.isfinite(part.ci95 or 0) for part in parts):
        yield "it has an accuracy that is not between 0 and 1"
    fid = score.set_metrics.overall.fid if score.set_metrics else None
    if fid is not None and not math.isfinite(fid):
        yield "its FID is not a number"


def _json_files(folder: Path, pattern: str = "*.json") -> list[Path]:
    return sorted((path for path in folder.glob(pattern) if path.is_file()), key=_natural)


def _files(folder: Path) -> list[Path]:
    return [*_json_files(folder), *_json_files(folder, f"*{TABLE}")]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a sorting key that puts guidance 2 before guidance 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    try:
        return path.stat().st_size <= MAX_BYTES and pattern.search(path.read_bytes()) is not None
    except OSError:
        return False


def _nearest_file(path: Path) -> str:
    names = [item.name for item in path.parent.glob("*.json")]
    near = nearest(path.name, names, cutoff=0.6)
    if not near and not path.suffix and is_repository_id(str(path)):
        return f"; one on the Hub is hf://datasets/{path}"
    return f"; did you mean {path.parent / near[0]}?" if near else "; `synthkit eval` makes one"


def _nearest_release(name: str) -> str:
    """Return a question with the names of releases that have scores and are most alike, or nothing."""
    files = [_attempt(path, []) for path in (*_json_files(SCORES), *_json_files(SCORES, "*/*.json"))]
    names = sorted({file.score.release.name for file in files if file and file.score.release})
    near = nearest(name, names, count=3)
    return f"did you mean {' or '.join(near)}? Else " if near else ""
