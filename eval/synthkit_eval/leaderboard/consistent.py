"""Whether a score agrees with itself: its protocol's settings, its predictions, its epochs and its counts.

What `synthkit eval` derives is derived again and compared. That shows mistakes and careless forgeries;
whoever makes up predictions can make up the rest to fit.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from synthkit_eval.comparison.apart import flat
from synthkit_eval.comparison.find import problems
from synthkit_eval.evaluate import groups_digest
from synthkit_eval.kin import kin_of_all
from synthkit_eval.leaderboard.stated import stated_faults
from synthkit_eval.protocol import Protocol, load_protocol, names
from synthkit_eval.score import ACCURACIES, Accuracies, Mean
from synthkit_eval.training.accuracy import Grouping, accuracies, per_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.score import Epoch, Score
    from synthkit_eval.score_detail import Detail
    from synthkit_eval.score_files import Scored

# Settings that change no classifier, and that a score need not say were changed.
_FREE = ("summary", "features")
_SHOWN = 3


def first_fault(scored: Scored) -> str | None:
    """Return the first thing in which a score does not agree with itself; None if it does."""
    return next(_faults(scored), None)


def stated_protocol(score: Score) -> Protocol:
    """Return the protocol that a score states. Raises ValidationError if its settings are those of none."""
    return Protocol.model_validate_json(json.dumps(score.protocol.settings))


def _faults(scored: Scored) -> Iterator[str]:
    # In this order: each may rely on what those before it have found in order.
    score, detail = scored
    yield from stated_faults(scored)
    yield from problems(score)
    yield from _protocol_faults(score)
    yield from _count_faults(score, detail)
    yield from _accuracy_faults(score, detail)
    yield from _history_faults(score, detail)


def _protocol_faults(score: Score) -> Iterator[str]:
    stated = score.protocol
    if isinstance(stated.settings.get("pretrained"), str):
        # The digest is over the content of that file, which the score does not hold.
        yield "its protocol begins with weights of a file, so its settings do not tell how it was trained"
        return
    try:
        protocol = stated_protocol(score)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        yield f"its protocol's settings are none that this version of synthkit knows: {where}: {first['msg']}"
        return
    if (protocol.name, protocol.version) != (stated.name, stated.version):
        yield f"its protocol's settings are those of {protocol.name} version {protocol.version}"
    if protocol.digest != stated.digest:
        yield "its protocol's settings do not give its protocol's digest"
    if protocol.kin != stated.kin:
        yield "its protocol's settings do not give the digest that it compares by (protocol.kin)"
    yield from _not_as_shipped(score, protocol)


def _not_as_shipped(score: Score, protocol: Protocol) -> Iterator[str]:
    """Yield the settings that differ from those of the protocol of this name and that the score hides."""
    if protocol.name not in names():
        return
    shipped = load_protocol(protocol.name)
    if shipped.version != protocol.version:
        return
    ours, theirs = dict(flat(shipped.settings())), dict(flat(protocol.settings()))
    said = [change.partition("=")[0].strip() for change in score.protocol.changed]
    odd = [
        f"{key} {theirs.get(key)}, not {ours.get(key)}"
        for key in sorted(ours | theirs)
        if ours.get(key) != theirs.get(key)
        and key.partition(".")[0] not in _FREE
        and not any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in said)
    ]
    if odd:
        yield (
            f"says that it was trained by {protocol.name} version {protocol.version} with "
            f"{', '.join(score.protocol.changed) or 'nothing changed'}, but has {'; '.join(odd[:_SHOWN])}"
        )


def _count_faults(score: Score, detail: Detail) -> Iterator[str]:
    data, classes = score.data, detail.classes
    images = np.bincount(detail.labels, minlength=data.classes).tolist()
    if not all(images):
        yield f"no evaluation image is of class {images.index(0)}"
    if images != [item.evaluation for item in classes]:
        yield "its classes do not have the evaluation images that it counts"
    if groups_digest(classes) != data.groups:
        yield "its classes do not give the digest of its groups"
    if sum(item.real for item in classes) != data.training_images:
        yield "its classes do not have the real training images that it counts"
    used = 0 if score.release is None else score.release.images
    if sum(item.synthetic for item in classes) != used:
        yield "its classes do not have the synthetic images that it counts"
    digests = [data.training_digest, data.evaluation_digest, data.validation_digest]
    of_shots = score.release is not None and score.release.shots is not None
    # Which data set shots were chosen from, only the release tells; of real images alone nothing says whether
    # they are shots.
    if score.release is not None and not of_shots and data.kin != kin_of_all([d for d in digests if d]):
        yield "its real images do not give the digest that it compares by (data.kin)"
    if data.training_digest == data.evaluation_digest:
        yield "it was tested on the images that it was trained on"


def _accuracy_faults(score: Score, detail: Detail) -> Iterator[str]:
    classes = score.data.classes
    grouping = Grouping.of(
        [item.group for item in detail.classes], np.bincount(detail.labels, minlength=classes)
    )
    found = [per_class(of_run, detail.labels, classes) for of_run in detail.predictions]
    if len({run.seed for run in score.seeds}) != len(score.seeds):
        yield "it has two training runs of one seed"
    for run, of_run in zip(score.seeds, found, strict=True):
        parts = grouping.parts(of_run)
        odd = [part for part in ACCURACIES if not _near(parts[part], getattr(run, part))]
        if odd:
            yield f"the predictions of seed {run.seed} do not give its accuracy ({odd[0]})"
    yield from _unlike(accuracies(found, grouping), score.accuracy)
    for item in detail.classes:
        mean = Mean.of([float(of_run[item.label]) for of_run in found])
        if not (_near(mean.mean, item.accuracy.mean) and _near(mean.ci95, item.accuracy.ci95)):
            yield f"its predictions do not give the accuracy of class {item.label}"


def _unlike(wanted: Accuracies, stated: Accuracies) -> Iterator[str]:
    for part in ACCURACIES:
        ours, theirs = (getattr(side, part) for side in (wanted, stated))
        if (ours is None) != (theirs is None):
            yield f"it has no class of {part}, or lacks its accuracy"
        elif ours is not None and not all(
            _near(getattr(ours, name), getattr(theirs, name)) for name in ("mean", "ci95", "images_ci95")
        ):
            yield f"its predictions do not give its accuracy and intervals ({part})"


def _history_faults(score: Score, detail: Detail) -> Iterator[str]:
    protocol = stated_protocol(score)
    epochs = protocol.all_epochs
    if score.steps % epochs or score.steps < epochs:
        yield f"{score.steps:,} steps are no whole number for each of {epochs:,} epochs"
    losses, best = [], []
    for run, history in zip(score.seeds, detail.histories, strict=True):
        if [row.epoch for row in history] != list(range(1, epochs + 1)):
            yield f"seed {run.seed} does not tell all of {epochs:,} epochs"
            return
        row = _counted(history, protocol)
        if run.epoch != row.epoch or not all(_near(getattr(row, p), getattr(run, p)) for p in ACCURACIES):
            yield f"the epochs of seed {run.seed} do not have its accuracies in the epoch that counts"
            return
        losses.append(row.loss)
        best.append(max(one.overall for one in _last_stage(history, protocol)))
    if not _near(Mean.of(losses).mean, score.loss.mean):
        yield "its epochs do not give its loss"
    if not _near(Mean.of(best).mean, score.best.overall.mean):
        yield "its epochs do not give the best accuracy that it states"


def _counted(history: Sequence[Epoch], protocol: Protocol) -> Epoch:
    """Return the epoch that the protocol reports: the last, or the first of highest accuracy."""
    stage = _last_stage(history, protocol)
    if protocol.report == "last":
        return stage[-1]
    measure = "overall" if protocol.report == "best" else "validation"
    return max(stage, key=lambda row: getattr(row, measure) or 0.0)


def _last_stage(history: Sequence[Epoch], protocol: Protocol) -> Sequence[Epoch]:
    return history if protocol.decouple is None else history[protocol.epochs :]


def _near(one: float | None, other: float | None) -> bool:
    """Return whether two numbers differ by rounding alone: other libraries add in another order."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
