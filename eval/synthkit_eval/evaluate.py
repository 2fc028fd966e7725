"""Score a release: check its data, train and test classifiers seed by seed, compare sets of images."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ScoreError
from synthkit.generators.operations import learning_of, network_of, operations_of
from synthkit.release.folder import ReleaseFolder
from synthkit.sources import held_out
from synthkit.system.files import make_folder, write_file
from synthkit.system.locks import held
from synthkit.system.progress import progress
from synthkit_eval.feature_names import NONE
from synthkit_eval.kept_weights import KeptWeights, weights_path
from synthkit_eval.kin import kin_of_images, kin_of_release, method_of
from synthkit_eval.machine import SMALL, choose_threads, code_digest, commit, cpus, describe
from synthkit_eval.protocol import without_places
from synthkit_eval.score import (
    ClassScore,
    DataFacts,
    Mean,
    ProtocolFacts,
    ReleaseFacts,
    Score,
)
from synthkit_eval.score_detail import Detail
from synthkit_eval.score_files import Scored
from synthkit_eval.sets.compare_sets import check_features_here, compare_sets
from synthkit_eval.training.accuracy import Grouping, accuracies
from synthkit_eval.training.checkpoint import epochs_in
from synthkit_eval.training.curriculum import check_levels, levels_of
from synthkit_eval.training.networks import check_network
from synthkit_eval.training.real_images import check_intact, fetch_shards, open_real
from synthkit_eval.training.synthetic_images import open_used, used_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import ClassFacts
    from synthkit.release.manifest import Manifest
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.score import SetScore, TrainedOn
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.real_images import RealData, ScoredRelease
    from synthkit_eval.training.synthetic_images import SyntheticImages
    from synthkit_eval.training.task import Task
    from synthkit_eval.training.trained import Trained

# The code that decides how a run ends: runs that other code has trained are not used.
_CODE = ("synthkit_eval.training", "synthkit.release.loader_batches")


@dataclass(frozen=True, slots=True)
class Options:
    """How to score, beside the protocol.

    `seeds` is the number of training runs, `work_root` the folder where runs are kept, so that they are used
    again. `patient` allows trainings that take days on a CPU. `changed` are the `--set` words that changed
    the protocol; the score states them. `weights` is the folder that gets the trained networks, if any does.
    """

    seeds: int
    device: str
    work_root: Path
    patient: bool
    changed: tuple[str, ...] = ()
    weights: Path | None = None


def evaluate(release: ScoredRelease, protocol: Protocol, options: Options, world: World) -> Scored | None:
    """Train on the real images and the release, test, compare the sets, and return the score.

    A scoring that was stopped goes on after its last epoch. Raises a SynthkitError that says what to do, if
    possible before anything is trained. Of several processes only the first returns the score, the others
    None.
    """
    check_levels(protocol, release.recipe)
    return _score(release, protocol, options, world, open_used, features=protocol.features)


def evaluate_real_only(
    release: ScoredRelease, protocol: Protocol, options: Options, world: World
) -> Scored | None:
    """Train on the real images of a release alone, for as many steps as with it, test, and return the score.

    All releases with the same real images and the same number of synthetic ones share these runs. Raises and
    returns as `evaluate` does.
    """
    return _score(release, protocol, options, world, lambda *release: None, features=NONE)


def _score(
    release: ScoredRelease,
    protocol: Protocol,
    options: Options,
    world: World,
    synthetic_of: Callable[[Path, Manifest, Recipe, int | None], SyntheticImages | None],
    features: str,
) -> Scored | None:
    check_network(protocol.network)
    choose_threads(protocol.images.size, options.device)
    # These refuse a mistake before anything is read.
    held_out(release.recipe.source, protocol.evaluation)
    if protocol.report == "validation":
        held_out(release.recipe.source, protocol.validation, "validation")
    used_of(release.manifest, protocol.batches.synthetic_per_class)
    if world.first:
        # Whatever needs a network connection comes before whatever takes time.
        check_features_here(features, options.device)
        fetch_shards(release)
    world.wait()
    release = fetch_shards(release)
    with ReleaseFolder.at(release.folder).opened():
        return _score_here(release, protocol, options, world, synthetic_of)


def _score_here(
    release: ScoredRelease,
    protocol: Protocol,
    options: Options,
    world: World,
    synthetic_of: Callable[[Path, Manifest, Recipe, int | None], SyntheticImages | None],
) -> Scored | None:
    if world.first:
        check_intact(release)
    world.wait()
    data = open_real(release, protocol, options.work_root)
    per_class = protocol.batches.synthetic_per_class
    synthetic = synthetic_of(release.folder, release.manifest, release.recipe, per_class)
    task = make_task(release, protocol, data, synthetic, options, world)
    machine = describe(task.device, world.size)
    folder, kept = _folder(release, task, data, machine, options), None
    if options.weights is not None:
        kept = KeptWeights.of(options.weights, release.manifest.name, real_only=synthetic is None)
        if world.first:
            kept.check(options.seeds, protocol, release.folder)
    runs = _train_all(release, task, options, folder)
    if not world.first:
        return None
    if kept is not None:
        kept.copy(folder, options.seeds)
    sets = None
    if synthetic is not None:
        work = options.work_root / "eval"
        sets = compare_sets(release, synthetic, data.evaluation, protocol.features, task.device, work)
    summary = _summary(release, task, data, runs, sets, machine, options)
    return Scored(summary, _detail(release, task, data, runs))


def make_task(
    release: ScoredRelease,
    protocol: Protocol,
    data: RealData,
    synthetic: SyntheticImages | None,
    options: Options,
    world: World,
) -> Task:
    """Return what the classifiers are trained on and tested with."""
    from synthkit_eval.training.loader import TrainingImages
    from synthkit_eval.training.task import Task
    from synthkit_eval.training.timm_augmentation import image_change

    classes = release.manifest.classes
    images = np.bincount(data.evaluation.listing.labels, minlength=len(classes))
    return Task(
        protocol=protocol,
        training=TrainingImages(data.training, synthetic, protocol.images, image_change(protocol)),
        evaluation=data.evaluation,
        grouping=Grouping.of([item.group for item in classes], images),
        real=data.counts,
        synthetic=0 if synthetic is None else len(synthetic),
        steps=_steps(protocol, sum(used_of(release.manifest, protocol.batches.synthetic_per_class)), world),
        device=options.device,
        world=world,
        # Small images are decoded faster than a worker hands them over.
        workers=0 if protocol.images.size <= SMALL else max(1, cpus() // world.local),
        validation=data.validation,
        levels=None
        if synthetic is None
        else levels_of(protocol, release.recipe, release.folder, release.manifest, synthetic),
    )


def _steps(protocol: Protocol, synthetic: int, world: World) -> int:
    """Return the minibatches of an epoch: those of one pass over the release, also where it is left out.

    Raises ScoreError if the processes cannot share a minibatch evenly.
    """
    size, shares = protocol.batches.size, protocol.batches.shares
    least = min(count for count in (shares.real, shares.synthetic) if count)
    if world.size > 1 and (size % world.size or least < world.size or synthetic < shares.synthetic):
        raise ScoreError(
            f"batches.size: {size} cannot be shared evenly by {world.size} processes, {shares.real} real and "
            f"{shares.synthetic} synthetic; use another number of processes, or --set batches.size="
        )
    if protocol.batches.iterations is not None:
        return protocol.batches.iterations
    full, rest = divmod(synthetic, shares.synthetic)
    return full + bool(rest and world.size == 1)


def _train_all(release: ScoredRelease, task: Task, options: Options, folder: Path) -> list[Trained]:
    """Return a finished run for each seed; only those that no earlier scoring has finished are trained."""
    from synthkit_eval.training.estimate import check_patience

    unfinished = [seed for seed in range(options.seeds) if not _is_whole(folder, seed, options)]
    missing = task.world.agree(unfinished)
    if missing and not options.patient:
        check_patience(task, len(missing))
    make_folder(folder)
    lock = folder.with_name(f".{folder.name}.lock")
    with held(lock, str(folder)) if task.world.first else nullcontext():
        for seed in set(range(options.seeds)) - set(missing) if task.world.first else ():
            # A scoring that was killed after it wrote the run has left its checkpoint.
            _state(folder, seed).unlink(missing_ok=True)
        for seed in missing:
            _train_one(release, task, folder, seed, f"training {seed + 1} of {options.seeds}", options)
    found = [_finished(folder, seed) for seed in range(options.seeds)]
    return [run for run in found if run is not None]


def _is_whole(folder: Path, seed: int, options: Options) -> bool:
    """Return whether a run is finished, and has left its network if that is to be kept."""
    if _finished(folder, seed) is None:
        return False
    return options.weights is None or weights_path(folder, seed).is_file()


def _train_one(
    release: ScoredRelease, task: Task, folder: Path, seed: int, what: str, options: Options
) -> None:
    from synthkit_eval.training.train import train

    state, weights = _state(folder, seed), weights_path(folder, seed)
    if task.world.first:
        _begin_weights(folder, seed, kept=options.weights is not None)
    task.world.wait()
    images, done = task.images(task.protocol.all_epochs), task.images(epochs_in(state))
    with progress(what, images, done=done) if task.world.first else nullcontext(_ignore) as advance:
        trained = train(task, seed, state, advance, None if options.weights is None else weights)
    if task.world.first:
        _check_same_shards(release)
        content = asdict(trained) | {"git": commit()}
        write_file(folder / f"seed-{seed}.json", json.dumps(content).encode())
        state.unlink(missing_ok=True)
    task.world.wait()


def _begin_weights(folder: Path, seed: int, *, kept: bool) -> None:
    """Let the network that a run leaves be that of the epoch that counts, or let it leave none."""
    weights = weights_path(folder, seed)
    if not kept:
        # Of a scoring that was stopped: this one may go on to another epoch.
        weights.unlink(missing_ok=True)
    elif not weights.is_file():
        # What was trained without keeping its network may have passed the epoch that counts.
        if _finished(folder, seed) is not None:
            print(f"seed {seed}: is trained again, for its network was not kept", file=sys.stderr)
            # Beside it, a network of an early epoch would pass for the one that it is of.
            (folder / f"seed-{seed}.json").unlink()
        _state(folder, seed).unlink(missing_ok=True)


def _state(folder: Path, seed: int) -> Path:
    """Return the file of a run's last checkpoint, which is there until the run is finished."""
    return folder / f"seed-{seed}.safetensors"


def _check_same_shards(release: ScoredRelease) -> None:
    """Raise ScoreError if other images took the place of those that a run is kept for."""
    if ReleaseFolder.at(release.folder).manifest().shards != release.manifest.shards:
        raise ScoreError(f"{release.reference}: was replaced while it was scored; run the same command again")


def _ignore(count: float) -> None:
    """Count no progress: of several processes only the first shows it."""


def _finished(folder: Path, seed: int) -> Trained | None:
    """Return the run of a seed if an earlier scoring has finished it, else None."""
    from synthkit_eval.training.trained import Trained

    try:
        return Trained(**json.loads((folder / f"seed-{seed}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _folder(
    release: ScoredRelease, task: Task, data: RealData, machine: dict[str, str], options: Options
) -> Path:
    """Return the folder of the runs; its name changes with everything that can change a run."""
    name = release.manifest.name if task.synthetic else "real-only"
    decides = {
        "protocol": task.protocol.digest,
        "synthetic": [shard.sha256 for shard in release.manifest.shards] if task.synthetic else [],
        "steps": task.steps,
        "real": [
            data.training.digest,
            data.evaluation.digest,
            data.validation.digest if data.validation else None,
        ],
        "classes": [list(task.real), dict(task.grouping.members)],
        "machine": machine,
        "code": code_digest(*_CODE),
    }
    key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return options.work_root / "eval" / f"{task.protocol.name}-{name}-{key[:12]}"


def _summary(
    release: ScoredRelease,
    task: Task,
    data: RealData,
    runs: list[Trained],
    sets: SetScore | None,
    machine: dict[str, str],
    options: Options,
) -> Score:
    protocol, report, validation = task.protocol, task.protocol.report, data.validation
    counted = [run.per_class(report) for run in runs]
    used = used_of(release.manifest, protocol.batches.synthetic_per_class)
    return Score(
        trained_on=_trained_on(task),
        protocol=ProtocolFacts(
            name=protocol.name,
            version=protocol.version,
            digest=protocol.digest,
            kin=protocol.kin,
            changed=[without_places(change) for change in options.changed],
            settings=protocol.settings(),
        ),
        release=release_facts(release, sum(used)) if task.synthetic else None,
        data=DataFacts(
            training_digest=data.training.digest,
            training_images=len(data.training.listing),
            evaluation_digest=data.evaluation.digest,
            evaluation_images=len(data.evaluation.listing),
            validation_digest=None if validation is None else validation.digest,
            validation_images=None if validation is None else len(validation.listing),
            classes=task.classes,
            groups=groups_digest(release.manifest.classes),
            kin=kin_of_images(release, protocol, data.digests),
        ),
        steps=task.steps * protocol.all_epochs,
        accuracy=accuracies(counted, task.grouping),
        best=accuracies([run.per_class("best") for run in runs], task.grouping),
        loss=Mean.of([run.loss(report) for run in runs]),
        seeds=[run.score(report) for run in runs],
        set_metrics=sets,
        environment=machine | {"git": ", ".join(sorted({run.git for run in runs}))},
        seconds=round(sum(run.seconds for run in runs), 2),
    )


def _detail(release: ScoredRelease, task: Task, data: RealData, runs: list[Trained]) -> Detail:
    report, listing = task.protocol.report, data.evaluation.listing
    counted = [run.per_class(report) for run in runs]
    used = used_of(release.manifest, task.protocol.batches.synthetic_per_class)
    classes = [
        ClassScore(
            label=item.label,
            name=item.name,
            group=item.group,
            real=item.real,
            synthetic=used[item.label] if task.synthetic else 0,
            evaluation=int(task.grouping.images[item.label]),
            accuracy=Mean.of([float(run[item.label]) for run in counted]),
        )
        for item in release.manifest.classes
    ]
    return Detail(
        ids=tuple(listing.ids),
        labels=listing.labels.astype(np.uint16),
        predictions=np.stack([run.predictions(report) for run in runs]),
        histories=tuple(tuple(run.epochs()) for run in runs),
        classes=tuple(classes),
    )


def groups_digest(classes: Sequence[ClassFacts] | Sequence[ClassScore]) -> str:
    """Return a digest over the group of each class."""
    return hashlib.sha256(json.dumps([item.group for item in classes]).encode()).hexdigest()


def _trained_on(task: Task) -> TrainedOn:
    if not task.synthetic:
        return "real"
    return "real and synthetic" if task.protocol.batches.real else "synthetic"


def release_facts(release: ScoredRelease, used: int) -> ReleaseFacts:
    """Return what a score says of a release of which so many synthetic images trained."""
    manifest, network = release.manifest, network_of(release.recipe.model)
    return ReleaseFacts(
        name=manifest.name,
        version=manifest.version,
        recipe_digest=manifest.recipe_digest,
        seal=manifest.seal,
        method=method_of(release.recipe),
        guidance_scale=release.recipe.sampler.guidance_scale,
        generator=manifest.generator.name,
        images=used,
        seed=release.recipe.seed,
        kin=kin_of_release(release),
        shots=manifest.source.shots,
        trial=manifest.source.trial,
        operations=operations_of(release.recipe, network),
        learning=manifest.tokens and learning_of(release.recipe, network, manifest.tokens.classes),
    )
