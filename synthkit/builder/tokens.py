"""The learned tokens of a build: found where an earlier run kept them, or learned now, class by class.

Each is kept in a file of the work root, named by the digest over what it was made from, so every recipe that
needs it finds it. A file is whole or not there: a run that was stopped goes on with the next class. Several
processes may run at the same time; each learns the classes that no other is at.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.builder.inputs import check_leaks, read_inputs
from synthkit.conditioning import METHODS
from synthkit.errors import BuildError, ReleaseError
from synthkit.generators import choose_device_for, load
from synthkit.generators.lesson import SLOT, Lesson
from synthkit.recipe.arithmetic import STOCK
from synthkit.release.files import TOKENS
from synthkit.release.learned_tokens import (
    LearnedToken,
    Tokens,
    begins_as,
    made_from,
    pool_digest,
    read_tokens,
    token_seed,
    tokens_file,
    words_of,
)
from synthkit.release.prompts import Prompts
from synthkit.system.environment import check_device
from synthkit.system.files import (
    check_file_places,
    make_folder,
    naming_the_place,
    write_atomically,
    write_file,
)
from synthkit.system.locks import is_left, try_lock
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options
    from synthkit.generators.base import Generator
    from synthkit.recipe.schema import Recipe
    from synthkit.release.learned_tokens import MadeFrom
    from synthkit.system.progress import Advance

# In the work root.
FOLDER = "tokens"
_ASK_AGAIN_S = 0.2
# A file of the work root has one token, whatever its class is called in a recipe.
_ONLY = 0


@dataclass(frozen=True)
class TokenStore:
    """The tokens that a work root keeps, one in each file."""

    folder: Path

    def get(self, wanted: MadeFrom) -> LearnedToken | None:
        """Return a token; None if it is not here, or if its file is damaged."""
        try:
            token = read_tokens(self._path(wanted)).get(_ONLY)
        except ReleaseError:
            return None
        return token if token is not None and token.made_from == wanted else None

    def put(self, token: LearnedToken) -> None:
        """Keep a token."""
        make_folder(self.folder)
        write_atomically(self._path(token.made_from), tokens_file({_ONLY: token}))

    def forget(self, several: Iterable[MadeFrom]) -> None:
        """Remove tokens."""
        for wanted in several:
            self._path(wanted).unlink(missing_ok=True)

    @contextmanager
    def claimed(self, wanted: MadeFrom) -> Iterator[bool]:
        """Tell whether this process alone may learn a token now: another one may be at it."""
        make_folder(self.folder)
        lock = self._path(wanted).with_suffix(".lock")
        with lock.open("a") as stream:
            mine = try_lock(stream.fileno())
            try:
                yield mine
            finally:
                if mine:
                    lock.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove files that a kill left half-written."""
        for leftover in self.folder.glob(".*.tmp"):
            if is_left(leftover):
                leftover.unlink(missing_ok=True)

    def _path(self, wanted: MadeFrom) -> Path:
        return self.folder / f"{wanted.digest[:32]}.safetensors"


class Trained(NamedTuple):
    """Where the tokens of a recipe are kept, of how many classes, and how many were learned now."""

    place: Path
    classes: int
    learned: int


def train(recipe: Recipe, options: Options, to: Path | None = None) -> Trained:
    """Learn the tokens of a recipe's classes that are not here; write all of them to `to` if it is given.

    Raises a SynthkitError that says what to do; finished classes survive any error.
    """
    if recipe.tokens is None:
        others = " or ".join(name for name, method in METHODS.items() if method.learns)
        raise BuildError(
            f"conditioning.method: {recipe.conditioning.method} learns no tokens; a recipe with {others} does"
        )
    check_device(options.device)
    check_file_places(to)
    root = options.work_root
    with naming_the_place(root):
        inputs = read_inputs(recipe, root, device=options.device)
        check_leaks(inputs)
        wanted, store = needed(inputs), TokenStore(root / FOLDER)
        if options.fresh:
            store.forget(wanted.values())
        here = len(find_tokens(inputs, root))
        inputs = with_tokens(inputs, root, options.device)
        if to is not None:
            make_folder(to.parent)
            write_file(to, tokens_file(inputs.tokens))
    return Trained(store.folder, len(wanted), len(wanted) - here)


def with_tokens(
    inputs: Inputs,
    root: Path,
    device: str,
    named: Path | None = None,
    release: Path | None = None,
) -> Inputs:
    """Return inputs with the tokens that their images need; those that are nowhere are learned now.

    `root` is the work root; `named` is a file that the user says has all of them; `release` is an earlier
    version, whose tokens a grown release keeps. Raises BuildError if the file has others, and GeneratorError
    if a token cannot be learned.
    """
    if inputs.recipe.tokens is None:
        if named is not None:
            raise BuildError(f"--tokens {named}: {inputs.recipe.conditioning.method} takes no learned tokens")
        return inputs
    found = find_tokens(inputs, root, named, release=release)
    missing = {label: wanted for label, wanted in needed(inputs).items() if label not in found}
    if missing:
        found |= _learned(inputs, missing, TokenStore(root / FOLDER), device)
    return using(inputs, found)


def using(inputs: Inputs, tokens: Tokens) -> Inputs:
    """Return inputs whose prompts have these tokens."""
    if not METHODS[inputs.recipe.conditioning.method].learns:
        return inputs
    ordered = dict(sorted(tokens.items()))
    prompts = Prompts(inputs.recipe, inputs.real.listing.classes, words=words_of(ordered))
    return replace(inputs, tokens=ordered, prompts=prompts)


def find_tokens(
    inputs: Inputs,
    root: Path,
    named: Path | None = None,
    beside: Sequence[Path] = (),
    release: Path | None = None,
) -> Tokens:
    """Return the tokens that are here already. Raises and takes what `with_tokens` does.

    `beside` are other work roots.
    """
    wanted = needed(inputs)
    if named is not None:
        return _named(named, wanted, inputs)
    of_release = _of_release(release)
    stores = [TokenStore(place / FOLDER) for place in (root, *beside)]
    found = {}
    for label, what in wanted.items():
        here = (token for store in stores if (token := store.get(what)) is not None)
        token = of_release.get(what.digest) or next(here, None)
        if token is not None:
            found[label] = token
    return found


def _of_release(release: Path | None) -> dict[str, LearnedToken]:
    """Return the tokens of a release by the digest over what they were made from."""
    try:
        tokens = {} if release is None else read_tokens(release / TOKENS)
    except ReleaseError:
        # What is wrong with an earlier version is told where its images are taken.
        return {}
    return {token.made_from.digest: token for token in tokens.values()}


def require_tokens(inputs: Inputs, root: Path, named: Path | None, beside: Sequence[Path]) -> Inputs:
    """Return inputs with their tokens, as `with_tokens` does. Raises BuildError if one is nowhere."""
    if inputs.recipe.tokens is None:
        return with_tokens(inputs, root, "cpu", named)
    found = find_tokens(inputs, root, named, beside)
    missing = [label for label in needed(inputs) if label not in found]
    if missing:
        name = inputs.real.listing.classes[missing[0]]
        raise BuildError(
            f"the learned tokens of {len(missing)} classes ({name:.64} …) are not here: name the file that "
            "the parts were made with by --tokens FILE; synthkit train-tokens RECIPE --to FILE writes one"
        )
    return using(inputs, found)


def needed(inputs: Inputs) -> dict[int, MadeFrom]:
    """Return what the token of each class that has images is made from."""
    recipe, real = inputs.recipe, inputs.real
    revision, labels = inputs.checkpoint.revision, real.listing.labels
    return {
        label: made_from(
            recipe,
            real.listing.classes[label],
            pool_digest(real.sha256[position] for position in np.flatnonzero(labels == label)),
            revision,
        )
        for label in np.unique(inputs.plan.labels).tolist()
    }


def _named(path: Path, wanted: dict[int, MadeFrom], inputs: Inputs) -> Tokens:
    """Return the tokens in a file that the user named. Raises BuildError if they are another recipe's."""
    found = read_tokens(path)
    for label, what in wanted.items():
        name = inputs.real.listing.classes[label]
        if label not in found:
            raise BuildError(
                f"{path}: has no token of class {name:.64}; name the file of this recipe's tokens"
            )
        if odd := found[label].made_from.other(what):
            raise BuildError(
                f"{path}: its token of class {name:.64} was learned with {odd}; learn this recipe's with "
                "synthkit train-tokens"
            )
    return {label: found[label] for label in wanted}


def _learned(inputs: Inputs, missing: dict[int, MadeFrom], store: TokenStore, device: str) -> Tokens:
    """Learn the tokens that are missing, or wait for other processes that are at them."""
    school = _School(inputs, device)
    steps = school.tokens.steps
    store.tidy()
    found: Tokens = {}
    with progress("learning tokens", len(missing) * steps, unit="steps") as advance:
        while len(found) < len(missing):
            before = len(found)
            for label, wanted in missing.items():
                if (
                    label not in found
                    and (token := _claim(label, wanted, store, school, advance)) is not None
                ):
                    found[label] = token
            if len(found) == before:
                time.sleep(_ASK_AGAIN_S)
    school.close()
    return found


def _claim(
    label: int, wanted: MadeFrom, store: TokenStore, school: _School, advance: Advance
) -> LearnedToken | None:
    """Return the token of a class; None if another process is at it."""
    with store.claimed(wanted) as mine:
        if not mine:
            return None
        token = store.get(wanted)
        if token is not None:
            advance.known(school.tokens.steps)
            return token
        token = school.learn(label, wanted, lambda: advance(1))
        store.put(token)
        return token


class _School:
    """Learns tokens on a device; the model is loaded when it is first needed."""

    def __init__(self, inputs: Inputs, device: str) -> None:
        self._inputs, self._device = inputs, device
        self._generator: Generator | None = None
        tokens = inputs.recipe.tokens
        assert tokens is not None  # noqa: S101 (for the type checker)
        self.tokens = tokens

    def learn(self, label: int, wanted: MadeFrom, on_step: Callable[[], None]) -> LearnedToken:
        """Learn the token of a class from its real images alone."""
        recipe, real = self._inputs.recipe, self._inputs.real
        name = real.listing.classes[label]
        positions = np.flatnonzero(real.listing.labels == label).tolist()
        lesson = Lesson(
            self.tokens,
            [template.replace("{name}", SLOT) for template in recipe.templates_for(name)],
            begins_as(recipe, name),
            len(positions),
            lambda number: real.load(positions[number]),
            token_seed(recipe, name),
            on_step,
        )
        return LearnedToken(self._loaded().learn_token(lesson), wanted)

    def close(self) -> None:
        """Give the device's memory back."""
        if self._generator is None:
            return
        self._generator = None
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def _loaded(self) -> Generator:
        if self._generator is None:
            recipe, checkpoint = for_learning(self._inputs.recipe), self._inputs.checkpoint
            self._device = choose_device_for(checkpoint, recipe.model.dtype, self._device)
            self._generator = load(checkpoint, recipe, self._device)
        return self._generator


def for_learning(recipe: Recipe) -> Recipe:
    """Return a recipe whose model learns tokens: in float32, as it is, in batches of the lesson's size."""
    size = 1 if recipe.tokens is None else recipe.tokens.batch_size
    update = {
        "model": recipe.model.model_copy(update={"dtype": "float32"}),
        "sampler": recipe.sampler.model_copy(update={"batch_size": size, "cache": None}),
        "arithmetic": STOCK,
    }
    return recipe.model_copy(update=update)
