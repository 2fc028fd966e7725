"""`synthkit.plan` and `synthkit.build`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.api.given import maybe_path, number, recipe_of, text, user_errors, whole_number
from synthkit.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.api.given import GivenPath, GivenRecipe, Overrides
    from synthkit.api.release import Release
    from synthkit.builder.outcome import Outcome
    from synthkit.builder.plan_report import Summary

_MOST_IMAGES = 10**9


@dataclass(frozen=True, slots=True)
class Built:
    """A release that is here now.

    `path` is its folder; `images` is how many it has, and `made` how many of them this call made, in
    `seconds` altogether: 0 if the release was there already. `preview` says that it is only the beginning of
    a release (`limit`).
    """

    path: Path
    name: str
    version: str
    images: int
    made: int
    seconds: float
    preview: bool

    @classmethod
    def of(cls, outcome: Outcome, seconds: float) -> Built:
        """Return what a build came to."""
        recipe, made = outcome.inputs.recipe, outcome.made
        return cls(
            path=outcome.release,
            name=recipe.name,
            version=recipe.version,
            images=len(outcome.inputs.plan),
            made=0 if made is None else made.images,
            seconds=seconds,
            preview=outcome.inputs.preview,
        )

    @property
    def samples(self) -> Path:
        """The picture of real sources beside what they became."""
        from synthkit.release.files import SAMPLES

        return self.path / SAMPLES

    def open(self) -> Release:
        """Open the release, as `synthkit.open_release(built.path)` does."""
        from synthkit.api.release import open_release

        return open_release(self.path)


@user_errors
def plan(
    recipe: GivenRecipe,
    overrides: Overrides | None = None,
    *,
    out: GivenPath | None = None,
    price: float | None = None,
    download: bool = False,
) -> Summary:
    """Plan a build, as `synthkit plan` does: images of each class, bytes, time, cost. No model is loaded.

    `recipe` is a recipe's file, or a mapping of what would stand in it; `overrides` change fields by their
    dotted names. `out` is where a build would go, which knows the rate of the last one there; `price` is
    that of an hour of one device, in dollars; with `download` the Hub is asked how large the model is.

    `print` of the result shows what the command prints; `classes`, `synthetic`, `estimate` and its other
    fields have the numbers. Raises RecipeError or SourceError.
    """
    from synthkit.builder.options import DEAREST
    from synthkit.builder.plan_report import summarise
    from synthkit.system.work_root import work_root

    if price is not None:
        price = number(price, "price", 0, DEAREST, BuildError)
    loaded = recipe_of(recipe, overrides)
    return summarise(loaded, work_root(_folder(out)), price, ask_hub=download)


@user_errors
def build(
    recipe: GivenRecipe,
    overrides: Overrides | None = None,
    *,
    out: GivenPath | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    earlier: GivenPath | None = None,
    tokens: GivenPath | None = None,
    fresh: bool = False,
    overwrite: bool = False,
) -> Built:
    """Make a release, as `synthkit build` does; go on from finished shards, do nothing if it is there.

    `recipe` is a recipe's file, or a mapping of what would stand in it; `overrides` change fields by
    their dotted names: `{"conditioning.method": "dropout"}`. The release goes into the folder `out`/NAME,
    by default `releases`/NAME. `limit` makes a preview of the first images. `device` is auto, cpu, cuda,
    cuda:1 or mps; `workers` processes share the work, by default one for each GPU. `engine` is local or
    ray, `address` that of a Ray cluster. `earlier` is the folder of the version that a grown release
    continues, `tokens` a file of learned tokens. `fresh` deletes finished work, `overwrite` replaces a
    folder that another recipe made.

    An interrupt (KeyboardInterrupt) keeps finished shards, and the same call goes on. Raises RecipeError,
    SourceError, GeneratorError or BuildError, each a SynthkitError that says what to do.
    """
    from synthkit.builder.make import make_release
    from synthkit.builder.options import MOST_WORKERS, Options

    started, loaded = time.monotonic(), recipe_of(recipe, overrides)
    options = Options(
        out=_folder(out),
        device=device,
        limit=None if limit is None else whole_number(limit, "limit", 1, _MOST_IMAGES, BuildError),
        workers=None if workers is None else whole_number(workers, "workers", 1, MOST_WORKERS, BuildError),
        # A build in this process that hangs would end it: here that is a notebook, which others use.
        timeout=math.inf,
        engine=engine,
        address=None if address is None else text(address, "address", BuildError),
        fresh=fresh,
        overwrite=overwrite,
        earlier=maybe_path(earlier, "earlier", BuildError),
        tokens=maybe_path(tokens, "tokens", BuildError),
    )
    return Built.of(make_release(loaded, options), time.monotonic() - started)


def _folder(out: GivenPath | None) -> Path | None:
    """Return the folder of releases. Raises BuildError for an address, into which only parts of them go."""
    from synthkit.builder.remote_shards import is_url, refuse_password

    if isinstance(out, str) and is_url(out):
        refuse_password(out)
        raise BuildError(f"out: {out}: give a folder; `synthkit build --engine ray` delivers to an address")
    return maybe_path(out, "out", BuildError)
