"""`synthkit.evaluate` and `synthkit.compare`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synthkit.api.given import maybe_path, path_of, user_errors, whole_number, words_of
from synthkit.errors import ReleaseError, ScoreError

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.api.given import GivenPath, Overrides
    from synthkit_eval.compare import Compared
    from synthkit_eval.score import Score
    from synthkit_eval.score_detail import Detail


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A score and the file that it is in; printed, it is what `synthkit eval` shows.

    `score` has every number that was measured, `detail` the predictions, epochs and classes.
    """

    path: Path
    score: Score = field(repr=False)
    detail: Detail = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy over all evaluation images, from 0 to 1: the mean over the training runs."""
        return self.score.accuracy.overall.mean

    def __str__(self) -> str:
        from synthkit_eval.told_score import told

        return told(self.score)


@user_errors
def evaluate(
    release: GivenPath,
    overrides: Overrides | None = None,
    *,
    protocol: GivenPath | Mapping[str, Any] | None = None,
    seeds: int = 3,
    real_only: bool = False,
    features: str | None = None,
    device: str = "auto",
    out: GivenPath | None = None,
    patient: bool = False,
    weights: GivenPath | None = None,
) -> Evaluated:
    """Score a release, as `synthkit eval` does: train classifiers on it and its real images, and test them.

    `release` is a folder, or organisation/name@v1.0.0 on the Hub. `protocol` is the name of one that ships, a
    file, or a mapping of what would stand in it; by default it is chosen by the release's name. `overrides`
    change its fields by their dotted names, and say where the real images are (`source.root`). `seeds` is the
    number of training runs. With `real_only` the real images train alone, for as many steps. `features` is
    the feature space of FID and the other set metrics. The score is written to `out`, by default
    scores/PROTOCOL/NAME.json. `patient` allows trainings that take days on a CPU. The folder `weights`, if
    one is named, gets the trained networks.

    An interrupt keeps finished runs and epochs, and the same call goes on. PyTorch's random state and number
    of threads are left as they were. Raises ScoreError, ReleaseError, SourceError or HubError.
    """
    from synthkit_eval.score_release import MOST_SEEDS, Wanted, score_release

    _refuse_torchrun()
    if protocol is not None and not isinstance(protocol, Mapping):
        protocol = str(path_of(protocol, "protocol", ScoreError, "a name, a path or a mapping"))
    wanted = Wanted(
        seeds=whole_number(seeds, "seeds", 1, MOST_SEEDS, ScoreError),
        protocol=protocol,
        real_only=real_only,
        features=features,
        changes=tuple(words_of(overrides, ScoreError)),
        device=device,
        out=maybe_path(out, "out", ScoreError),
        patient=patient,
        weights=maybe_path(weights, "weights", ScoreError),
    )
    with _torch_as_before():
        kept = score_release(str(path_of(release, "release", ReleaseError)), wanted)
    assert kept is not None  # noqa: S101 (there is one process)
    return Evaluated(kept.path, kept.scored.score, kept.scored.detail)


@user_errors
def compare(
    *scores: GivenPath | Evaluated, contrasts: GivenPath | None = None, verify: bool = False
) -> Compared:
    """Put scores side by side, as `synthkit compare` does, with the real-only scores that belong to them.

    A score is a file or a folder of them, the name of a release whose scores are in scores/, what `evaluate`
    returned, or hf://datasets/organisation/name, a leaderboard on the Hub. `contrasts` is the file of a study
    whose contrasts were fixed beforehand. With `verify` each score is checked as a stranger's, and passed
    over if it does not hold; of a leaderboard always.

    `print` of the result shows the tables; `to_pandas()` gives them as one, `write(file)` and `draw(folder)`
    write tables and plots, `sections` has every difference with its interval. Raises ScoreError or HubError.
    """
    from synthkit_eval.compare import compare_files

    if not scores:
        raise ScoreError("scores: there are none; give a file, a folder, or the name of a release")
    if any(isinstance(score, list | tuple) for score in scores):
        raise ScoreError("scores: is a list; give each as an argument of its own: compare(*scores)")
    named = [
        str(score.path if isinstance(score, Evaluated) else path_of(score, "scores", ScoreError))
        if not isinstance(score, str)
        else _text(score)
        for score in scores
    ]
    return compare_files(named, contrasts=maybe_path(contrasts, "contrasts", ScoreError), verify=verify)


def _text(score: str) -> str:
    """Return a name or an address as it is: a path would lose one of the slashes of hf://."""
    path_of(score, "scores", ScoreError)
    return score


def _refuse_torchrun() -> None:
    """Raise ScoreError in one of several processes that torchrun started."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ:
        raise ScoreError("evaluate: works in one process; under torchrun use the command, synthkit eval")


@contextmanager
def _torch_as_before() -> Iterator[None]:
    """Leave PyTorch's random state and number of threads as they are, whatever the block does to them."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
