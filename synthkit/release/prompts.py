"""The prompt of each draw: a template of its class, drawn by the seed and filled in.

Everybody who needs a prompt asks here: who makes an image, who checks its record, who makes it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import RecipeError
from synthkit.recipe.prompts import caption_in, filled_in, uses_caption
from synthkit.release.facts import PromptFacts
from synthkit.release.seeds import Stream, attempt_seed, raw_number
from synthkit.system.names import fault_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import Plan
    from synthkit.release.records import Provenance
    from synthkit.sources.base import Listing


def first_source(record: Provenance) -> str | None:
    """Return the id of a record's first real image; None if it has none."""
    return record.sources[0].id if record.sources else None


def prompt_facts(recipe: Recipe, classes: Sequence[str]) -> PromptFacts | None:
    """Return what the manifest says of prompts; None if all images have one without a caption."""
    if not classes or (recipe.prompts is None and recipe.captions is None):
        return None
    counts = [len(recipe.templates_for(name)) for name in classes]
    sha256 = None if recipe.captions is None else recipe.captions.sha256
    return PromptFacts(fewest=min(counts), most=max(counts), captions=sha256)


def told_counts(fewest: int, most: int) -> str:
    """Return in words of how many prompts each image draws its own."""
    if most == 1:
        return "one for all images of a class"
    count = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{count} a class, of which each image's seed draws one"


class Prompts:
    """Gives prompts to the images of a recipe, whose `classes` are those of its source, in order.

    `captions` are those of real images by id; None if they are not here. `words` are those of learned tokens,
    by label, which stand in place of the classes' names; None if they are not here. Raises RecipeError if the
    recipe's prompts are not for these classes.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: Sequence[str],
        captions: Mapping[str, str] | None = None,
        words: Mapping[int, str] | None = None,
    ) -> None:
        if fault := recipe.class_fault(classes):
            raise RecipeError(f"prompts: {fault}")
        self._captions = captions or {}
        self._names = tuple(classes)
        if recipe.tokens is not None:
            known = words or {}
            self._names = tuple(known.get(label, f"<token of {name}>") for label, name in enumerate(classes))
        self._templates = [recipe.templates_for(name) for name in classes]
        # Filled in when they are first drawn: a stranger's recipe may have many for very many classes.
        self._plain: dict[tuple[int, str], str] = {}

    def template(self, label: int, seed: int) -> str:
        """Return the template of a class that the seed of a draw gives, each of them equally often."""
        templates = self._templates[label]
        if len(templates) == 1:
            return templates[0]
        # Modulo of 64 random bits: no template is drawn oftener than another by more than 1e-13.
        return templates[raw_number(seed, Stream.PROMPT) % len(templates)]

    def of(self, label: int, seed: int, source: str | None) -> str:
        """Return the prompt of a draw with a seed; `source` is the id of its first real image.

        Raises KeyError if its caption is needed and not here.
        """
        template = self.template(label, seed)
        if uses_caption(template):
            return filled_in(template, self._names[label], self._captions[source or ""])
        if (label, template) not in self._plain:
            self._plain[label, template] = filled_in(template, self._names[label], "")
        return self._plain[label, template]

    def captioned(self) -> list[bool]:
        """Return for each class whether its prompts have captions."""
        return [any(map(uses_caption, templates)) for templates in self._templates]

    def caption(self, source: str) -> str:
        """Return the caption of a real image; an empty text if its class's prompts take none."""
        return self._captions.get(source, "")

    def knows(self, label: int, seed: int, source: str | None) -> bool:
        """Return whether all that the prompt of a draw takes is here."""
        return (source or "") in self._captions or not uses_caption(self.template(label, seed))

    def fault(self, said: str, label: int, seed: int, source: str | None) -> str:
        """Return how a draw's prompt is another one than `said`; an empty text if it is that.

        Where its caption is not here, any caption will do.
        """
        template, name = self.template(label, seed), self._names[label]
        if self.knows(label, seed, source):
            wanted = self.of(label, seed, source)
            return "" if said == wanted else f"by the recipe it is {wanted!r:.64}"
        caption = caption_in(said, template, name)
        if caption is None or fault_in(caption):
            return f"by the recipe it is {filled_in(template, name, '…')!r:.64} with a caption"
        return ""

    def drawn(self, plan: Plan, listing: Listing, draws: int) -> Iterator[str]:
        """Yield the prompts of all planned images, for as many draws of each; few of them twice.

        `listing` is that of the real images.
        """
        seen: set[tuple[int, str, int]] = set()
        first = plan.pairs[:, 0].tolist() if plan.sources else [-1] * len(plan)
        for label, image_seed, position in zip(plan.labels.tolist(), plan.seeds.tolist(), first, strict=True):
            # Where there is nothing to draw, every draw has the prompt of the first.
            for attempt in range(1 if len(self._templates[label]) == 1 else draws):
                seed = attempt_seed(image_seed, attempt)
                template = self.template(label, seed)
                # Images without captions have as many prompts as there are templates.
                which = (label, template, position if uses_caption(template) else -1)
                if which not in seen:
                    seen.add(which)
                    yield self.of(label, seed, None if position < 0 else listing.ids[position])
