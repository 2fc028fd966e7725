"""A leaderboard: the scores that verify, what was checked of each, and why the others were passed over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ReleaseError, ScoreError
from synthkit_eval.comparison.find import ScoreFile, find_scores
from synthkit_eval.leaderboard.again import task_of, trained_again
from synthkit_eval.leaderboard.consistent import first_fault
from synthkit_eval.leaderboard.files import HandedIn, Place, is_address, of_folder, of_repository
from synthkit_eval.leaderboard.release import Opened, open_on_hub, release_fault
from synthkit_eval.score_files import HANDED_IN, TABLE, Scored, read_scores

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Checked:
    """A score that verifies: its file in the leaderboard, its release on the Hub if its name states one.

    `again` is what training again here came to; None if it was not trained again.
    """

    file: ScoreFile
    release: Opened | None
    again: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The scores of leaderboards that verify, where they were read, and a line for what was passed over."""

    checked: list[Checked]
    places: list[Place]
    skipped: list[str]

    @property
    def files(self) -> list[ScoreFile]:
        """The scores."""
        return [one.file for one in self.checked]


def read_board(arguments: Sequence[str], *, strict: bool, again: Path | None = None) -> Board:
    """Read scores that others handed in, and pass over those that do not verify.

    An argument is the address of a data set repository on the Hub, a folder, or a Parquet file; a file that
    is named and does not verify is an error, and with `strict` so is any. `again` is a folder of scores that
    were made here. Raises ScoreError if nothing verifies, and HubError if the Hub cannot be asked.
    """
    places = [_place(argument) for argument in arguments]
    named = {Path(argument) for argument in arguments}
    skipped = [line for place in places for line in place.skipped]
    if strict:
        _refuse_any(skipped)
    releases: dict[str, Opened | ReleaseError] = {}
    checked: list[Checked] = []
    files = [file for place in places for file in place.files]
    # Whoever copies a score does not displace the one that is named by its release.
    for file in sorted(files, key=lambda file: file.release is None):
        try:
            checked += _checked(file, releases, checked)
        except ScoreError as error:
            if strict or file.path in named:
                raise
            skipped.append(f"passed over {error}")
    checked, odd = _of_same_images(checked)
    if strict:
        _refuse_any(odd)
    if not checked:
        why = (skipped + odd or ["there is no Parquet file"])[0].removeprefix("passed over ")
        raise ScoreError(f"{', '.join(arguments)}: holds no score that verifies: {why}")
    return Board(_with_again(checked, again), places, skipped + odd)


def _refuse_any(skipped: Sequence[str]) -> None:
    for line in skipped:
        raise ScoreError(line.removeprefix("passed over "))


def _place(argument: str) -> Place:
    if is_address(argument):
        return of_repository(argument)
    path = Path(argument)
    if path.is_dir():
        return of_folder(path)
    if path.is_file() and path.suffix == TABLE:
        # The folder of its release's organisation is part of a file's name.
        name = Path(*path.parts[-2:]).as_posix() if "@" in path.name else path.name
        return Place([HandedIn(path, name)], [], argument)
    raise ScoreError(
        f"{argument}: is not a folder of scores, a Parquet file of scores, or hf://datasets/organisation/name"
    )


def _checked(
    file: HandedIn, releases: dict[str, Opened | ReleaseError], before: Sequence[Checked]
) -> list[Checked]:
    """Return the scores of a file. Raises ScoreError, which names the file, for the first that is wrong."""
    found = _read(file)
    known = [(one.file.path, Scored(one.file.score, one.file.detail)) for one in before]
    for place, scored in enumerate(found):
        fault = first_fault(scored) or _release_fault(file, scored, releases) or _copy_fault(scored, known)
        if fault is not None:
            where = f"{file.name}: score {place + 1}" if len(found) > 1 else file.name
            raise ScoreError(f"{where}: {fault}")
        known.append((Path(file.name), scored))
    opened = releases.get(file.release or "")
    release = opened if isinstance(opened, Opened) else None
    return [
        Checked(ScoreFile(Path(file.name), *scored, place, file.owner), release)
        for place, scored in enumerate(found)
    ]


def _read(file: HandedIn) -> list[Scored]:
    try:
        return read_scores(file.path, HANDED_IN)
    except ScoreError as error:
        raise ScoreError(str(error).replace(str(file.path), file.name, 1)) from None


def _release_fault(file: HandedIn, scored: Scored, releases: dict[str, Opened | ReleaseError]) -> str | None:
    """Return what a score says otherwise than the release that its file is named by, if one is named."""
    if file.release is None:
        return None
    opened = _opened(file.release, releases)
    return str(opened) if isinstance(opened, ReleaseError) else release_fault(scored, opened)


def _copy_fault(scored: Scored, known: Sequence[tuple[Path, Scored]]) -> str | None:
    return next((f"is the score of {path} again" for path, other in known if _same(other, scored)), None)


def _same(one: Scored, other: Scored) -> bool:
    """Return whether two scores are of the same training with the same predictions: one is a copy."""
    if task_of(one.score) != task_of(other.score) or one.detail.ids != other.detail.ids:
        return False
    return np.array_equal(one.detail.predictions, other.detail.predictions)


def _opened(reference: str, releases: dict[str, Opened | ReleaseError]) -> Opened | ReleaseError:
    """Return a release on the Hub, asked for once, or the error that tells why there is none."""
    if reference not in releases:
        try:
            releases[reference] = open_on_hub(reference)
        except ReleaseError as error:
            releases[reference] = error
    return releases[reference]


def _of_same_images(checked: Sequence[Checked]) -> tuple[list[Checked], list[str]]:
    """Return the scores whose evaluation images are those of the others that state the same, and the rest.

    Equal digests mean equal images; of a data set, an image's id has one class. Where scores contradict each
    other, those are kept that more files agree on, of as many the first ones.
    """
    images = Counter((_digest(one), _listing(one)) for one in checked)
    labels: dict[tuple[str, str], int] = {}
    listings: dict[str, int] = {}
    kept: dict[int, Checked] = {}
    odd = []
    for one in sorted(checked, key=lambda one: -images[_digest(one), _listing(one)]):
        data, detail = one.file.score.data, one.file.detail
        mine = {
            (data.kin, name): label for name, label in zip(detail.ids, detail.labels.tolist(), strict=True)
        }
        fits = listings.setdefault(_digest(one), _listing(one)) == _listing(one)
        if not fits or any(labels.get(key, label) != label for key, label in mine.items()):
            odd.append(
                f"passed over {one.file.path}: its evaluation images are not those of other scores that "
                "state the same digest or data set"
            )
            continue
        labels |= mine
        kept[id(one)] = one
    return [one for one in checked if id(one) in kept], odd


def _digest(one: Checked) -> str:
    return one.file.score.data.evaluation_digest


def _listing(one: Checked) -> int:
    return hash((one.file.detail.ids, one.file.detail.labels.tobytes()))


def _with_again(checked: list[Checked], folder: Path | None) -> list[Checked]:
    if folder is None:
        return checked
    told = trained_again([one.file for one in checked], find_scores([str(folder)]).files)
    return [Checked(one.file, one.release, again) for one, again in zip(checked, told, strict=True)]
