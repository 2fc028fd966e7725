"""The work of a study, divided: one task for each release, and one for each set of real images alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.config.words import words
from synthkit.errors import ScoreError, SynthkitError, nearest
from synthkit.recipe.load import load
from synthkit.version import __version__
from synthkit_eval.kin import method_of
from synthkit_eval.machine import code_digest
from synthkit_eval.protocol import load_protocol
from synthkit_eval.score import REAL_ONLY, SCORE_FORMAT
from synthkit_eval.study.file import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit_eval.protocol import Protocol
    from synthkit_eval.study.file import Grid, Study

# Letters of a release's name.
_LONGEST = 96
# How an error of a recipe or a protocol begins.
_OPTION = re.compile(r"^--(set|protocol) ")
_DRAW = re.compile(r"-draw\d+$")
# The code that decides a score, beside that of builds.
_CODE = (
    "synthkit_eval.training",
    "synthkit_eval.sets",
    "synthkit_eval.evaluate",
    "synthkit_eval.kin",
    "synthkit.release.loader_batches",
    "synthkit.conditioning",
    "synthkit.levels",
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to score: a protocol, by its name or file, and the words of `--set` that change it.

    `alone` says whether real images alone are trained on so, too.
    """

    protocol: str
    changes: tuple[str, ...]
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """A release to make from a recipe with changes, and to score in each way; or its real images alone.

    `key` names its result: it changes with the recipe, the protocol, the seeds, the device, the format of
    scores and the code that trains. (Real images that changed in their place are found by the build.)
    """

    name: str
    recipe: str
    changes: tuple[str, ...]
    ways: tuple[Way, ...]
    seeds: int
    real_only: bool
    key: str

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Return the task that `as_json` wrote."""
        data = json.loads(text)
        ways = tuple(Way(way["protocol"], tuple(way["changes"]), way["alone"]) for way in data.pop("ways"))
        return cls(**{**data, "changes": tuple(data["changes"]), "ways": ways})

    def as_json(self) -> str:
        """Return it on one line."""
        return json.dumps(asdict(self))


def tasks_of(study: Study, path: Path, device: str = "auto") -> list[Task]:
    """Return the tasks of a study: all releases, then the real images alone, each set of them once.

    Raises RecipeError or ScoreError for a field or a value that a recipe or protocol does not have, for two
    releases of one name, and for a contrast of what the study does not make.
    """
    releases = [found for grid in study.grids for found in _of_grid(grid, study, path, device)]
    _check_names(task.name for task, _ in releases)
    _check_contrasts(study, releases)
    alone = _alone(releases, study, device) if study.real_only else []
    return [task for task, _ in releases] + alone


def plan_of(tasks: Sequence[Task]) -> Iterator[str]:
    """Yield a line for each task, and one that says how many releases, scores and trainings they are."""
    for task in tasks:
        yield f"{task.name} ({_told_ways(task.ways)})" if task.real_only else task.name
    releases = sum(not task.real_only for task in tasks)
    scores = sum(len(task.ways) for task in tasks)
    trainings = sum(len(task.ways) * task.seeds for task in tasks)
    yield (
        f"{releases} releases, and {len(tasks) - releases} times real images alone: "
        f"{scores} scores of {trainings} trainings"
    )


def _told_ways(ways: Sequence[Way]) -> str:
    told = (" ".join([Path(way.protocol).stem, *way.changes]) for way in ways)
    return f"real images alone, by {', '.join(told)}"


def _check_names(names: Iterable[str]) -> None:
    found: set[str] = set()
    for name in names:
        if name in found:
            raise ScoreError(
                f"grids: two releases would be called {name}; give the field in which they differ under "
                "vary, if need be with a single value"
            )
        found.add(name)


def _check_contrasts(study: Study, releases: Sequence[tuple[Task, Recipe]]) -> None:
    known = {REAL_ONLY}
    for task, recipe in releases:
        known |= {method_of(recipe), _DRAW.sub("", task.name)}
    for name in (name for contrast in study.contrasts for name in (contrast.of, contrast.against)):
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f"did you mean {near[0]}?" if near else "it names methods, or releases without their draw"
            raise ScoreError(f"contrasts: the study makes nothing by {name}; {hint}")
    protocols = sorted({load_protocol(way.protocol, way.changes).name for way in _ways(releases)})
    for protocol in (name for contrast in study.contrasts for name in (contrast.by, contrast.against_by)):
        if protocol not in (None, *protocols):
            raise ScoreError(
                f"contrasts: the study scores nothing by the protocol {protocol}; its protocols are "
                f"{', '.join(protocols)}"
            )


def _ways(releases: Sequence[tuple[Task, Recipe]]) -> set[Way]:
    return {way for task, _ in releases for way in task.ways}


def _alone(releases: Sequence[tuple[Task, Recipe]], study: Study, device: str) -> list[Task]:
    """Return a task for each set of real images and number of steps, whatever releases have it."""
    found: dict[str, Task] = {}
    for task, recipe in releases:
        for way in (way for way in task.ways if way.alone):
            protocol = load_protocol(way.protocol, way.changes)
            # A protocol that fixes the number of steps does not ask how many synthetic images there are.
            images: list[Any] = [recipe.source.model_dump(mode="json")]
            if protocol.batches.iterations is None:
                images += [recipe.target_per_class, recipe.synthetic_per_class]
            key = _digest([images, _settings(protocol), study.training_seeds, device, "real only"])
            found.setdefault(key, replace(task, ways=(way,), real_only=True, key=key))
    return list(found.values())


def _of_grid(grid: Grid, study: Study, path: Path, device: str) -> Iterator[tuple[Task, Recipe]]:
    """Yield the releases of a grid; errors name the study's file in place of an option of a command."""
    try:
        yield from _tasks_of_grid(grid, study, path, device)
    except SynthkitError as error:
        raise type(error)(f"{path}: grids: {_OPTION.sub('', str(error))}") from error


def _tasks_of_grid(grid: Grid, study: Study, path: Path, device: str) -> Iterator[tuple[Task, Recipe]]:
    ways = tuple(
        Way(place_of(one.protocol or study.protocol, path), tuple(words(one.set)), one.real_only)
        for one in grid.scored
    )
    protocols = [_settings(load_protocol(way.protocol, way.changes)) for way in ways]
    place = place_of(grid.recipe, path)
    for values in itertools.product(*grid.vary.values()):
        varied = dict(zip(grid.vary, values, strict=True))
        first = load(Path(place), words({**grid.set, **varied}))
        for draw in range(grid.draws):
            name = _name(first.name, varied, draw)
            drawn: dict[str, Any] = {"name": name, "seed": first.seed + draw}
            if first.source.shots is not None:
                drawn["source.trial"] = first.source.trial + draw
            changes = tuple(words({**grid.set, **varied, **drawn}))
            recipe = load(Path(place), changes)
            key = _digest([recipe.model_dump(mode="json"), protocols, study.training_seeds, device])
            yield Task(name, place, changes, ways, study.training_seeds, real_only=False, key=key), recipe


def _settings(protocol: Protocol) -> list[Any]:
    return [protocol.digest, protocol.model_dump(mode="json")]


def _name(recipe: str, varied: dict[str, Any], draw: int) -> str:
    """Return a release's name: that of the recipe, the values that vary, and the number of the draw.

    Raises ScoreError if it is longer than a release's name may be.
    """
    told = [_told(field, value) for field, value in varied.items()]
    name = "-".join([recipe, *told, f"draw{draw}"])
    if len(name) > _LONGEST:
        raise ScoreError(f"vary: {name} is too long for a release's name: let fewer fields vary")
    return name


def _told(field: str, value: Any) -> str:
    last = field.rpartition(".")[2]
    text = str(value) if isinstance(value, str) else f"{last}-{value}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _digest(value: Sequence[Any]) -> str:
    decides = [value, SCORE_FORMAT, __version__, code_digest(*_CODE)]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:24]
