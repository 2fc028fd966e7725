"""Finds the real images and the model of a release on this machine.

A release's recipe may come from a stranger. Its paths count from the current folder and, links resolved,
must stay below it. Places outside are read only if the user names them (`--set source.root=…`), or if a build
on this machine read them last (`remembered_places.py`) and what lies there still has the digest. Error
messages name places and lines, and quote nothing of a file's content.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from synthkit.errors import GeneratorError, MissingSource, ReleaseError, SourceError
from synthkit.hub.answers import COMMIT
from synthkit.hub.client import is_repository_id
from synthkit.recipe.families import HubSourceConfig
from synthkit.release.recipe_file import read_recipe
from synthkit.release.remembered_places import recall
from synthkit.sources.links import is_below
from synthkit.system.names import printable
from synthkit.system.work_root import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from synthkit.recipe.families import SourceConfig
    from synthkit.recipe.model import Model, Piece
    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """A release that somebody else may have made, with its recipe.

    `said` are the fields with which the user said where things are on this machine: `source.root`,
    `model.id`. The recipe has their values.
    """

    folder: Path
    manifest: Manifest
    recipe: Recipe
    said: frozenset[str]


@dataclass(frozen=True, slots=True)
class Place:
    """A place where the real images may be: a source with its paths, and who named them.

    `by` is the recipe, the user, or the memory of an earlier build, which the work root `root` keeps. `free`
    are the fields that may name any path, since the user set them or a build on this machine used them;
    the others must stay below the current folder. `folder` is the release's.
    """

    source: SourceConfig
    by: Literal["recipe", "user", "memory"]
    free: frozenset[str]
    folder: Path
    root: Path | None = None

    def of(self, source: SourceConfig) -> Place:
        """Return the same place for another part of the data set."""
        return replace(self, source=source)


def receive(folder: Path, manifest: Manifest, overrides: Sequence[str] = ()) -> Received:
    """Read the recipe of a release. Raises ReleaseError if it names something that a release may not."""
    own = read_recipe(folder)
    recipe = read_recipe(folder, overrides) if overrides else own
    said = {override.partition("=")[0].strip() for override in overrides}
    if recipe.source.kind != own.source.kind:
        said |= {f"source.{field}" for field in recipe.source.PATHS}
    if recipe.retrieval is not None and own.retrieval is not None:
        pool = recipe.retrieval.source
        if pool.kind != own.retrieval.source.kind:
            said |= {f"retrieval.source.{field}" for field in pool.PATHS}
    return Received(folder, manifest, recipe, frozenset(said))


def of_pool(received: Received) -> Received:
    """Return a release with the pool that its images were retrieved from in the place of its real images.

    Raises ReleaseError if its images were not retrieved.
    """
    retrieval, facts = received.recipe.retrieval, received.manifest.retrieval
    if retrieval is None or facts is None:
        raise ReleaseError(f"{received.folder}: its images were not retrieved; run synthkit verify")
    return Received(
        received.folder,
        received.manifest.model_copy(update={"source": facts, "skipped": []}),
        received.recipe.model_copy(update={"source": retrieval.source}),
        frozenset(name.removeprefix("retrieval.") for name in received.said if name.startswith("retrieval.")),
    )


def first_that_serves(received: Received, attempt: Callable[[Place], T]) -> T:
    """Call `attempt` with one place after another until one raises no SourceError; return the result.

    If the user named a place, it is the only one. Otherwise the recipe's place comes first, then those where
    a build read the images last; these come first if the recipe's place would be asked of the Hub. Raises
    SourceError if no place serves.
    """
    problem: SourceError | None = None
    for find in _places(received):
        place: Place | None = None
        try:
            place = find()
            with errors_without_content(place.source):
                made = attempt(place)
        except SourceError as error:
            if place is None or place.by != "memory":
                problem = problem or error
            continue
        if place.by == "memory":
            _say(place)
        return made
    raise _advised(problem, received)


@contextmanager
def errors_without_content(source: SourceConfig) -> Iterator[None]:
    """Replace errors about real images by ones that name places and lines, but quote nothing of a file."""
    try:
        yield
    except SourceError as error:
        raise _without_content(error.told, source) from None
    except (OSError, ValueError):
        # The path may be too long or impossible, and come from a line of a list file: it must not be quoted.
        raise _without_content(None, source) from None


def _without_content(told: str | None, source: SourceConfig) -> SourceError:
    where = ", ".join(source.places().values()) or source.kind
    message = (
        told or f"{source.section}: what is at {where} cannot be read as real images of kind {source.kind}"
    )
    return SourceError(message, told=message)


def find_model(received: Received) -> Model:
    """Find the model of a release.

    That is the one that the user named, a built-in one, a folder below the current folder, a folder where a
    build on this machine read the model last, or a repository of the Hub. Where the release states the
    model's content, all of these are returned, the others as mirrors: whoever loads it takes the first that
    has the content. Raises GeneratorError if it is none of these.
    """
    model = received.recipe.model
    if all(piece.sha256 is not None for piece in model.pieces.values()):
        return model.with_pieces(
            {field: _find_by_content(field, piece, received) for field, piece in model.pieces.items()}
        )
    if "model.id" in received.said or model.id.startswith("builtin:"):
        return model
    if _is_below_here(model.id, received):
        return model
    for folder in _remembered_models(model.revision or "", received):
        if (Path(folder) / "model_index.json").is_file():
            return model.model_copy(update={"id": folder})
    if is_repository_id(model.id) and COMMIT.fullmatch(model.revision or ""):
        return model
    raise _no_model(model)


def _find_by_content(field: str, piece: Piece, received: Received) -> Piece:
    said = {name.removeprefix(f"{field}.") for name in received.said if name.startswith(f"{field}.")}
    if "id" in said:
        # The commit and the mirrors are those of the model that the recipe names.
        unsaid = {"revision", "mirrors"} - said
        return piece.model_copy(update=dict.fromkeys(unsaid))
    key = f"{field}.id"
    own = [piece.id] if piece.id.startswith("builtin:") or _is_below_here(piece.id, received, key) else []
    mirrors = list(piece.mirrors or ())
    if "mirrors" not in said:
        mirrors = [name for name in mirrors if _is_below_here(name, received, key) or _is_anywhere(name)]
    places = [*own, *_remembered_models(piece.sha256 or "", received), *mirrors]
    if not own and is_repository_id(piece.id):
        places.insert(0, piece.id)
    if not places:
        raise _no_model(piece, field)
    return piece.model_copy(update={"id": places[0], "mirrors": places[1:] or None})


def _no_model(piece: Piece, field: str = "model") -> GeneratorError:
    what = field.removeprefix("model.")
    return GeneratorError(
        f"{field}.id: there is no folder {piece.id} here; say where the {what} is with --set {field}.id=…"
    )


def _is_anywhere(mirror: str) -> bool:
    """Return whether a mirror may be had without a folder of this machine: built in, or from the Hub."""
    return mirror.startswith("builtin:") or is_repository_id(mirror.partition("@")[0])


def _is_below_here(name: str, received: Received, key: str = "model.id") -> bool:
    """Return whether something here has a name that a release gives a piece of its model.

    Raises GeneratorError if it does not lie below the current folder.
    """
    if not os.path.lexists(name):
        return False
    try:
        _check_below(Path(name), f"{key}: {name}", received.folder, f"--set {key}=…")
    except MissingSource as error:
        raise GeneratorError(str(error)) from None
    return True


def _remembered_models(content: str, received: Received) -> Iterator[str]:
    """Yield the folders where a build on this machine read a model with a content last."""
    for root in work_roots(received.folder):
        folder = recall(root, content, "model").get("folder")
        if folder is not None and Path(folder).is_dir():
            yield folder


def _places(received: Received) -> Iterator[Callable[[], Place]]:
    """Yield functions that return a place, in the order to try them.

    They raise SourceError for a place that may not be opened.
    """
    source, folder = received.recipe.source, received.folder
    said = frozenset(field for field in source.PATHS if f"source.{field}" in received.said)

    def own() -> Place:
        return Place(_below_here(source, said, folder), "user" if said else "recipe", said, folder)

    known = () if said else _remembered(source, received)
    memories: list[Callable[[], Place]] = [partial(_openable, place) for place in known]
    yield from [*memories, own] if _asks_the_hub(source) else [own, *memories]


def _openable(place: Place) -> Place:
    """Return a remembered place, unless it is a pipe or a device: anybody may have written the memory."""
    for path in place.source.places().values():
        _check_openable(Path(path), path)
    return place


def remembered(received: Received) -> Place | None:
    """Return where a build read the real images of a release last; None if no work root says so."""
    return next(_remembered(received.recipe.source, received), None)


def _remembered(source: SourceConfig, received: Received) -> Iterator[Place]:
    for root in work_roots(received.folder):
        places = recall(root, received.manifest.source.digest, source.kind)
        fields = {field: path for field, path in places.items() if field in source.PATHS}
        if fields:
            found = source.model_copy(update=fields)
            yield Place(found, "memory", frozenset(source.PATHS), received.folder, root)


def work_roots(release: Path) -> Iterator[Path]:
    """Yield the work roots that may remember a release: in the current folder, and beside or above it."""
    here = Path(os.path.abspath(release))  # noqa: PTH100 (links stay links)
    roots = [Path.cwd() / WORK_FOLDER, *(parent / WORK_FOLDER for parent in here.parents[:2])]
    yield from dict.fromkeys(roots)


def _below_here(source: SourceConfig, said: frozenset[str], release: Path) -> SourceConfig:
    """Return a recipe's source, whose paths must stay below the current folder unless the user set them.

    Raises MissingSource for a path that leads out of the current folder, into the release, or to something
    that is neither a file nor a folder.
    """
    if isinstance(source, HubSourceConfig) and "id" not in said and not _may_be_on_the_hub(source):
        # A bare name is the last part of the path of the folder that was built from, not a name on the Hub.
        source = source if source.is_path else source.model_copy(update={"id": f"./{source.id}"})
    for field, path in source.places().items():
        if field not in said:
            _check_below(Path(path), f"{source.section}.{field}: {path}", release, source.settings)
    return source


def _may_be_on_the_hub(source: HubSourceConfig) -> bool:
    return not source.is_path and source.id.count("/") == 1 and is_repository_id(source.id)


def _asks_the_hub(source: SourceConfig) -> bool:
    return isinstance(source, HubSourceConfig) and _may_be_on_the_hub(source) and not source.path.exists()


def _check_below(path: Path, what: str, release: Path, settings: str) -> None:
    """Raise MissingSource for a path that a release may not name; the path is not opened."""
    if not is_below(path, Path.cwd()):
        raise MissingSource(
            f"{what} leads out of the current folder; what a release names is read below it alone: "
            f"if you mean it, say so with {settings}"
        )
    if is_below(path, release):
        raise MissingSource(
            f"{what} lies in the release itself, which holds no real images; say where they are: {settings}"
        )
    _check_openable(path, what)


def _check_openable(path: Path, what: str) -> None:
    mode = path.stat().st_mode if os.path.exists(path) else stat.S_IFDIR  # noqa: PTH110 (any name at all)
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MissingSource(f"{what} is a pipe, a device or a socket, not a file or a folder")


def _say(place: Place) -> None:
    paths = ", ".join(str(getattr(place.source, field)) for field in place.source.fields_of_places())
    print(printable(f"real images: {paths}, where they were read last"), file=sys.stderr)


def _advised(problem: SourceError | None, received: Received) -> SourceError:
    """Return the error about the place that was meant, with the setting for images that are elsewhere."""
    settings = received.recipe.source.settings
    missing = f"{received.recipe.source.section}: the real images are not here"
    message = str(problem) if problem else missing
    if settings and settings not in message and not any(key.startswith("source.") for key in received.said):
        message = f"{message} (if they are somewhere else, say where: {settings})"
    return SourceError(message, told=message)
