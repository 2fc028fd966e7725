"""The classifier of `sampler.feedback`: found in the work root, copied from a file, or trained now.

It is kept in the work root, named by its SHA-256, which the recipe then states: so it is settled before a
digest is computed. A file is whole or not there. Of several processes, one trains and the others wait.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthkit.builder.train_classifier import trained
from synthkit.errors import GeneratorError, RecipeError
from synthkit.generators.guide import open_guide
from synthkit.recipe.feedback import SECTION, FeedbackClassifier
from synthkit.release.files import CLASSIFIER
from synthkit.system.environment import choose_device
from synthkit.system.files import make_folder, sha256_of, write_atomically, write_file
from synthkit.system.locks import is_left, try_lock
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.base import Generator
    from synthkit.recipe.schema import Recipe
    from synthkit.sources.pool import RealImages

# In the work root.
FOLDER = "classifiers"
# Another way to train gives other weights: raise it, so that no earlier ones are taken for them.
_WAY = 1
_ASK_AGAIN_S = 0.2


class Settled(NamedTuple):
    """A recipe that names its classifier by the content, and the file that has it; None if there is none."""

    recipe: Recipe
    classifier: Path | None


def settled(recipe: Recipe, real: RealImages, root: Path, device: str, *, fresh: bool = False) -> Settled:
    """Return a recipe whose classifier is settled; one that is nowhere is trained now.

    `root` is the work root; `fresh` asks for a new training. Raises RecipeError if a file is missing or has
    other weights, and GeneratorError if a classifier cannot be trained.
    """
    feedback = recipe.sampler.feedback
    if feedback is None:
        return Settled(recipe, None)
    config, store = feedback.classifier, ClassifierStore(root / FOLDER)
    path = _given(config, store) or _trained(config, recipe.seed, real, store, device, fresh=fresh)
    sha256 = path.stem
    if config.sha256 not in (None, sha256):
        raise GeneratorError(
            f"{SECTION}.sha256: is {config.sha256[:16]}…, and training here makes {sha256[:16]}…: "
            f"name the file that has them, {CLASSIFIER} of the release: --set {SECTION}.checkpoint=…"
        )
    pinned = config.model_copy(update={"sha256": sha256})
    sampler = recipe.sampler.model_copy(
        update={"feedback": feedback.model_copy(update={"classifier": pinned})}
    )
    return Settled(recipe.model_copy(update={"sampler": sampler}), path)


def check_file(recipe: Recipe) -> None:
    """Raise RecipeError if the file of weights that a recipe names is missing, before anything is read."""
    config = None if recipe.sampler.feedback is None else recipe.sampler.feedback.classifier
    if config is not None and config.path is not None and config.sha256 is None:
        config.content()


def guide(generator: Generator, found: Settled, classes: int, device: str) -> None:
    """Have a generator guided by the classifier of a recipe, if there is one, of so many classes.

    Raises GeneratorError if it has another number of classes.
    """
    feedback = found.recipe.sampler.feedback
    if feedback is not None and found.classifier is not None:
        generator.use_guide(open_guide(feedback.classifier, found.classifier, classes, device))


@dataclass(frozen=True)
class ClassifierStore:
    """The classifiers that a work root keeps: safetensors files named by their SHA-256."""

    folder: Path

    def get(self, sha256: str) -> Path | None:
        """Return the file of some weights; None if it is not here, or damaged."""
        path = self._path(sha256)
        return path if path.is_file() and sha256_of(path) == sha256 else None

    def put(self, weights: bytes) -> Path:
        """Keep weights, and return their file."""
        make_folder(self.folder)
        path = self._path(hashlib.sha256(weights).hexdigest())
        write_atomically(path, weights)
        return path

    def trained_from(self, origin: str) -> Path | None:
        """Return what was trained from an origin, a digest over what decides it; None if it is not here."""
        try:
            return self.get(str(json.loads(self.note(origin).read_bytes())["sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, origin: str) -> Path:
        """Return the file that says what was trained from an origin."""
        return self.folder / f"{origin[:32]}.json"

    def tidy(self) -> None:
        """Remove files that a kill left half-written."""
        for leftover in self.folder.glob(".*.tmp"):
            if is_left(leftover):
                leftover.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.safetensors"


def _given(config: FeedbackClassifier, store: ClassifierStore) -> Path | None:
    """Return the file of the weights that a recipe names; None if they are to be trained."""
    if config.path is not None and (config.sha256 is None or config.path.is_file()):
        sha256 = config.content()
        if sha256 != (config.sha256 or sha256):
            raise RecipeError(
                f"{SECTION}.checkpoint: {config.checkpoint}: has sha256 {sha256[:16]}…, not the recipe's: "
                "other weights"
            )
        return store.get(sha256) or store.put(config.path.read_bytes())
    here = None if config.sha256 is None else store.get(config.sha256)
    if here is None and config.path is not None:
        config.content()  # Says why it cannot be read.
    return here


def _trained(
    config: FeedbackClassifier,
    seed: int,
    real: RealImages,
    store: ClassifierStore,
    device: str,
    *,
    fresh: bool,
) -> Path:
    """Return the file of a classifier of real images, which is trained unless it is here."""
    origin = _origin(config, seed, real)
    make_folder(store.folder)
    with store.note(origin).with_suffix(".lock").open("a") as stream:
        while not try_lock(stream.fileno()):
            time.sleep(_ASK_AGAIN_S)
        store.tidy()
        here = None if fresh else store.trained_from(origin)
        if here is not None:
            return here
        steps = 0 if config.training is None else config.training.steps
        with progress("training the classifier", steps, unit="steps") as advance:
            weights = trained(config, real, seed, choose_device(device), lambda: advance(1))
        path = store.put(weights)
        write_file(store.note(origin), json.dumps({"sha256": path.stem}).encode())
        return path


def _origin(config: FeedbackClassifier, seed: int, real: RealImages) -> str:
    """Return a digest over all that decides what training makes, but for the machine."""
    settings = config.model_dump(mode="json", include={"network", "size", "training"})
    facts = [_WAY, settings, seed, real.digest, real.listing.classes]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def refuse_untrained(recipe: Recipe) -> None:
    """Raise RecipeError if a classifier is to be trained where several machines must have the same."""
    feedback = recipe.sampler.feedback
    if feedback is None or feedback.classifier.checkpoint is not None:
        return
    raise RecipeError(
        f"{SECTION}: is trained on one machine, and several that share a build could differ; train it once, "
        f"synthkit train-classifier RECIPE --to FILE, and name the file: --set {SECTION}.checkpoint=FILE "
        f"--set {SECTION}.sha256=…"
    )
