"""All that decides a release, before any image is made: recipe, real images, model, plan."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synthkit.builder import guiding
from synthkit.builder.retrieval_pool import read_pool
from synthkit.errors import SourceError
from synthkit.generators import check_recipe
from synthkit.generators.batch_size import settled
from synthkit.generators.checkpoint import locate, pinned
from synthkit.release.plan import balance, check_classes, make_plan
from synthkit.release.prompts import Prompts
from synthkit.release.recipe_file import places_of, recipe_yaml
from synthkit.release.remembered_places import remember_captions, remember_model, remember_source
from synthkit.sources import held_out, open_source
from synthkit.sources.captions import read_captions
from synthkit.sources.leaks import leaks
from synthkit.sources.pool import read_all
from synthkit.sources.retrieval import open_pool
from synthkit.system.known_hashes import FILE, MODELS, open_known_hashes
from synthkit.system.names import printable
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe
    from synthkit.release.learned_tokens import Tokens
    from synthkit.release.plan import Plan
    from synthkit.sources.base import Listing
    from synthkit.sources.pool import RealImages
    from synthkit.sources.retrieval import RetrievalPool


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that decides what a release folder holds, beside the environment it was made in.

    `plan` is what is built; `planned` is how many images the whole release has, `preview` whether
    only the first of them were asked for. `pool` is what images are retrieved from, by a recipe that does.
    `tokens` are learned ones by label, of which `prompts` has the words: none before builder/tokens.py has
    found them. `classifier` is the file of the one that guides, whose content the recipe states.
    """

    recipe: Recipe
    digest: str
    generation_digest: str
    plan: Plan
    planned: int
    real: RealImages
    checkpoint: Checkpoint
    prompts: Prompts
    preview: bool
    pool: RetrievalPool | None = None
    tokens: Tokens = field(default_factory=dict)
    classifier: Path | None = None

    @property
    def making(self) -> str:
        """How images come to be: `generating`, or `retrieving`."""
        return "generating" if self.pool is None else "retrieving"

    @property
    def recipe_yaml(self) -> bytes:
        """recipe.yaml of the release."""
        data = self.recipe.portable()
        return recipe_yaml(data, list(places_of(self.recipe)))

    def to_json(self) -> dict[str, Any]:
        """Return all that decides the release's bytes on one platform; contents by their digests."""
        return {
            "name": self.recipe.name,
            "version": self.recipe.version,
            "digest": self.digest,
            "generation_digest": self.generation_digest,
            "images": len(self.plan),
            "real_images": {"images": len(self.real.listing), "digest": self.real.digest},
            **({} if self.pool is None else {"pool": _pool_facts(self.pool)}),
            "model": {"id": self.checkpoint.name, "revision": self.checkpoint.revision},
            "recipe": self.recipe.portable(),
        }


def read_inputs(
    recipe: Recipe,
    work_root: Path,
    *,
    limit: int | None = None,
    device: str = "auto",
    fresh: bool = False,
) -> Inputs:
    """Read the real images and plan; `limit` is the number of images of a preview.

    `work_root` remembers the hashes of real images, the batch size that `device` holds if the recipe leaves
    it to be measured, and the classifier that guides, which is trained if it is not there or if all is to be
    `fresh`. Raises SourceError or GeneratorError if the real images or the model are not here.
    """
    recipe = recipe.with_prompts()
    guiding.check_file(recipe)
    source = open_source(recipe.source)
    for note in source.notes:
        print(printable(f"real images: {note}"), file=sys.stderr)
    # Before the images are read, which may take long.
    check_classes(source.listing)
    if recipe.retrieval is not None:
        open_pool(recipe.retrieval, sum(item.synthetic for item in balance(recipe, source.listing)))
    prompts = prompts_of(recipe, source.listing)
    with open_known_hashes(work_root / MODELS) as known_hashes:
        checkpoint = locate(recipe.model, known_hashes, recipe=recipe)
    recipe = recipe.model_copy(update={"model": pinned(recipe.model, checkpoint)})
    check_recipe(checkpoint, recipe)
    recipe = settled(recipe, checkpoint, work_root, device)
    with (
        open_known_hashes(work_root / FILE) as known_hashes,
        progress("reading real images", len(source.listing)) as advance,
    ):
        real = read_all(
            source,
            on_error=recipe.source.on_error,
            known_hashes=known_hashes,
            advance=advance,
            known=advance.known,
            place=recipe.source.place,
        )
    if real.skipped:
        first = real.skipped[0]
        print(
            printable(
                f"real images: {len(real.skipped):,} skipped, since they cannot be read "
                f"({first.id}: {first.reason}); manifest.json of the release names them"
            ),
            file=sys.stderr,
        )
    recipe, classifier = guiding.settled(recipe, real, work_root, device, fresh=fresh)
    remember_source(work_root, real.digest, recipe.source)
    if recipe.captions is not None:
        remember_captions(work_root, recipe.captions.sha256 or "", recipe.captions.path)
    for piece in checkpoint.pieces.values():
        remember_model(work_root, piece.name, piece.sha256, piece.folder)
    pool = None
    if recipe.retrieval is not None:
        pool = read_pool(recipe, recipe.retrieval, real, work_root)
    of_pool = "" if pool is None else pool.digest
    digest = recipe.digest(
        listing_digest=real.digest, model=checkpoint.name, revision=checkpoint.revision, pool=of_pool
    )
    whole = make_plan(recipe, real.listing)
    plan = whole if limit is None else whole.first(limit)
    # Computed once: it may have to hash the weights of a gate's classifier.
    generation = recipe.generation_digest(revision=checkpoint.revision, pool=of_pool)
    preview = limit is not None
    return Inputs(
        recipe,
        digest,
        generation,
        plan,
        len(whole),
        real,
        checkpoint,
        prompts,
        preview=preview,
        pool=pool,
        classifier=classifier,
    )


def _pool_facts(pool: RetrievalPool) -> dict[str, Any]:
    return {"images": len(pool.images.listing), "digest": pool.digest}


def prompts_of(recipe: Recipe, listing: Listing) -> Prompts:
    """Return what gives images their prompts; the recipe has its prompts in it (`with_prompts`).

    Raises RecipeError if they are not for the classes of the real images, and SourceError if a caption that
    they need is missing.
    """
    prompts = Prompts(recipe, listing.classes)
    if recipe.captions is None:
        return prompts
    captioned = prompts.captioned()
    needed = [
        name for name, label in zip(listing.ids, listing.labels.tolist(), strict=True) if captioned[label]
    ]
    return Prompts(recipe, listing.classes, read_captions(recipe.captions, needed))


def check_leaks(inputs: Inputs) -> None:
    """Raise SourceError if a few-shot pool has held-out images, which score classifiers.

    Nothing is checked where the held-out images are not on this machine.
    """
    if inputs.recipe.source.shots is None:
        return
    try:
        scoring = open_source(held_out(inputs.recipe.source))
    except SourceError:
        return
    with progress("reading held-out images", len(scoring.listing)) as advance:
        found = leaks(inputs.real, scoring, advance)
    if found:
        raise SourceError(f"source.shots: {len(found)} held-out images are in the pool: {found[0].told()}")
