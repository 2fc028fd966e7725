"""Score a release as a user asks for it: find the protocol, train, and keep the score in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.errors import ScoreError
from synthkit.system.environment import choose_device
from synthkit.system.files import check_file_places
from synthkit.system.work_root import work_root
from synthkit_eval.evaluate import Options, evaluate, evaluate_real_only
from synthkit_eval.kept_weights import KeptWeights, told_weights
from synthkit_eval.protocol import Protocol, load_protocol, usual_protocol
from synthkit_eval.score_files import read_score, write_score
from synthkit_eval.training.distributed import join
from synthkit_eval.training.real_images import open_release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit_eval.score import Score
    from synthkit_eval.score_files import Scored

SCORES = Path("scores")
MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a user wants a release scored.

    `protocol` is the name of a protocol, a file, or what would stand in one; None for the usual one of the
    release. `changes` are words of `--set`: of the protocol, and of where the real images are (source.…).
    `features` replaces the protocol's feature space. `out` is the score's file, None for
    scores/PROTOCOL/NAME.json. `patient` allows trainings that take days on a CPU. `weights` is the folder for
    the trained networks, None to keep none.
    """

    seeds: int
    protocol: str | Mapping[str, Any] | None = None
    real_only: bool = False
    features: str | None = None
    changes: tuple[str, ...] = ()
    device: str = "auto"
    out: Path | None = None
    patient: bool = False
    weights: Path | None = None


class Kept(NamedTuple):
    """A score with its detail, the file that it is in, and what is told of networks that were kept."""

    scored: Scored
    path: Path
    networks: tuple[str, ...] = ()


def score_release(reference: str, wanted: Wanted) -> Kept | None:
    """Score a release that is a folder or on the Hub, and write the score.

    Of several processes that torchrun started, only the first returns it, the others None. Raises a
    SynthkitError that says what to do, if possible before anything is trained.
    """
    check_file_places(wanted.out)
    if wanted.out is not None and wanted.out.suffix != ".json":
        raise ScoreError(
            f"--out {wanted.out}: end its name in .json; the predictions go beside it, into .parquet"
        )
    places = [change for change in wanted.changes if change.startswith("source.")]
    settings = [change for change in wanted.changes if change not in places]
    with join(choose_device(wanted.device)) as (world, own_device):
        release = open_release(reference, places)
        manifest = release.manifest
        protocol = wanted.protocol or usual_protocol(manifest.name, manifest.source.shots)
        features = [f"features={wanted.features}"] if wanted.features else []
        chosen = load_protocol(protocol, [*settings, *features])
        options = Options(
            wanted.seeds, own_device, work_root(None), wanted.patient, tuple(settings), wanted.weights
        )
        run = evaluate_real_only if wanted.real_only else evaluate
        scored = run(release, chosen, options, world)
    if scored is None:
        return None
    target = wanted.out or _target(scored.score, _folder(load_protocol(protocol), chosen))
    write_score(scored, target)
    networks: tuple[str, ...] = ()
    if wanted.weights is not None:
        weights = KeptWeights.of(wanted.weights, manifest.name, real_only=wanted.real_only)
        networks = tuple(told_weights(weights, range(wanted.seeds), chosen))
    return Kept(scored, target, networks)


def _folder(protocol: Protocol, chosen: Protocol) -> Path:
    """Return scores/PROTOCOL, with a digest in the name if what is trained or tested was changed."""
    same = protocol.digest == chosen.digest
    return SCORES / (protocol.name if same else f"{chosen.name}-{chosen.digest[:8]}")


def _target(score: Score, folder: Path) -> Path:
    """Return FOLDER/NAME.json, or a longer name if that file scores another version or other images."""
    if score.release is None:
        data = f"{score.data.training_digest[:8]}-{score.data.evaluation_digest[:8]}"
        return folder / f"real-only-{data}-{score.steps}.json"
    target = folder / f"{score.release.name}.json"
    if _replaces(score, target):
        return target
    return folder / f"{score.release.name}-{score.release.version}-{score.data.evaluation_digest[:8]}.json"


def _replaces(score: Score, target: Path) -> bool:
    """Return whether `target` may be overwritten: no score, or one of the same release and images."""
    try:
        before = read_score(target)
    except ScoreError:
        return True
    same = before.release is not None and before.release.version == score.release.version  # type: ignore[union-attr]
    return same and before.compares_with(score) and before.on_images_of(score)
