"""The rules for the records of a release: every field that follows from its recipe and its manifest.

The real images and the model are not needed. docs/provenance.md says which fields these rules leave open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.conditioning import METHODS, why_unfit
from synthkit.errors import RecipeError
from synthkit.levels import Levels, draw_amount
from synthkit.release.prompts import Prompts, first_source
from synthkit.release.records import Provenance3, Provenance6, key_of, sampling_told
from synthkit.release.seeds import Stream, attempt_seed, stream
from synthkit.verification.derived_plan import DerivedPlan, derive
from synthkit.verification.gate_rules import GateRules, Order, draws_allowed
from synthkit.verification.mixing import SAME, SeededDraws, embedding_size, mixing_faults
from synthkit.verification.retrieved_rules import RetrievedRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


class RecordRules:
    """What every record of a release must say; `plan` is None if no plan fits the manifest's counts.

    `captions` are those of the real images by id; None if they are not here. `words` are those of learned
    tokens by label; None if the release has no such file that can be read, which is reported there.
    """

    def __init__(
        self,
        recipe: Recipe,
        manifest: Manifest,
        captions: Mapping[str, str] | None = None,
        words: Mapping[int, str] | None = None,
    ) -> None:
        method = METHODS[recipe.conditioning.method]
        self._recipe, self._method = recipe, method
        self._prompts = _prompts(recipe, manifest, captions, words)
        self._constants: dict[str, Any] = {
            "dropout": recipe.conditioning.dropout if method.drops else 0.0,
            **sampling_told(recipe),
            "batch_size": recipe.sampler.batch_size,
        }
        self.filters = recipe.filters
        self._manifest = manifest
        self._gates: dict[int, GateRules] = {}
        self.plan: DerivedPlan | None = derive(recipe, manifest, method.sources)
        # Where a plan fits the counts, its size is bounded.
        can_retrieve = method.retrieves and self.plan is not None
        self.retrieved = RetrievedRules(recipe, manifest) if can_retrieve else None

    def faults(self, shard: int, first: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Yield what is wrong with the records of a shard whose first image has the index `first`."""
        block = self._manifest.block_of(shard)
        version, gates = self._manifest.environments[block].get("synthkit"), self._gates_of(block)
        known = [(key_of(index), record) for index, record in enumerate(records, start=first) if record]
        if self.plan is not None:
            yield from self.plan.faults(first, records)
        for key, record in known:
            yield from (
                f"{key}: {fault}"
                for fault in (
                    *self._of_recipe(record),
                    *self._of_prompt(int(key), record),
                    *gates.faults(int(key), record),
                    *(self.retrieved.faults(record) if self.retrieved else ()),
                )
            )
            if record.version != version:
                yield f"{key}: its record's synthkit_version is {record.version:.64}, its block's {version}"
        if self._method.name in {record.method for _, record in known}:
            yield from self._drawn(known)

    def embedding_size(self, records: Sequence[Provenance | None]) -> int | None:
        """Return how many numbers an embedding has; None if the records of the shard do not show it."""
        if self._method.embeddings is None or not self._method.embeddings.has_region:
            return None
        if self._manifest.generator.embedding is not None:
            return None
        return embedding_size(record for record in records if record is not None)

    def _amounts(self, index: int, record: Provenance, seed: int) -> Iterator[str]:
        """Yield a weight of the image, or a strength of its start, that neither seed nor plan gives."""
        conditioning = self._recipe.conditioning
        if conditioning.scale is not None and isinstance(record, Provenance3):
            yield from self._amount("scale", record.scale, Stream.SCALE, index, seed, record.attempt)
        if conditioning.strength is not None and isinstance(record, Provenance6):
            yield from self._amount("strength", record.strength, Stream.STRENGTH, index, seed, record.attempt)

    def _amount(
        self, name: str, said: float, which: Stream, index: int, seed: int, attempt: int
    ) -> Iterator[str]:
        """Yield a fault if a number of a record is another than its image's seed, or its level, gives."""
        amount = getattr(self._recipe.conditioning, name)
        levels = amount.levels if isinstance(amount, Levels) else ()
        if levels and (self.plan is None or index >= len(self.plan.draws.seeds)):
            if not any(abs(said - level) <= SAME for level in levels):
                yield f"its record's {name} is {said:g}, which is none of the recipe's levels"
            return
        level = 0 if self.plan is None else self.plan.draws.level(index)
        wanted = draw_amount(amount, level, rng=stream(attempt_seed(seed, attempt), which))
        if abs(said - wanted) > SAME:
            by = "the plan" if levels else "its seed"
            yield f"its record's {name} is {said:g}, by {by} it is {wanted:g}"

    def _of_recipe(self, record: Provenance) -> Iterator[str]:
        for name, wanted in self._constants.items():
            said = getattr(record, name)
            if said != wanted:
                yield f"its record's {name} is {said!s:.64}, by the recipe it is {wanted!s:.64}"

    def _of_prompt(self, index: int, record: Provenance) -> Iterator[str]:
        """Yield a fault if a record's prompt is not the one that its seed gives, or cannot be."""
        known = self._prompts is not None and record.label < len(self._manifest.classes)
        if self._prompts is None or not known or record.attempt >= draws_allowed(self.filters):
            return
        seed = attempt_seed(self._seed(index, record), record.attempt)
        fault = self._prompts.fault(record.prompt, record.label, seed, first_source(record))
        if fault:
            yield f"its record's prompt is {record.prompt!r:.64}, {fault}"

    def _seed(self, index: int, record: Provenance) -> int:
        """Return the planned seed: a false one in the record is one fault, not one for each thing drawn."""
        seeds = self.plan.draws.seeds if self.plan is not None else ()
        return int(seeds[index]) if index < len(seeds) else record.seed

    def _gates_of(self, block: int) -> GateRules:
        """Return the rules for the gates of a block, which knew the classes that there were then."""
        earlier, now = self._recipe.earlier, len(self._manifest.classes)
        classes = (earlier[block].classes if block < len(earlier) else None) or now
        if classes not in self._gates:
            filters = self.filters
            compared = filters is not None and filters.near_duplicate is not None
            order = Order(self.plan.draws.labels) if compared and self.plan is not None else None
            self._gates[classes] = GateRules(filters, self._manifest, classes, order)
        return self._gates[classes]

    def _drawn(self, known: Sequence[tuple[str, Provenance]]) -> Iterator[str]:
        """Yield what records say that was drawn, and that their seeds do not give."""
        draws, alpha = SeededDraws(), self._recipe.conditioning.alpha
        size = self.embedding_size([record for _, record in known])
        shape = self._manifest.generator.embedding or (None if size is None else (size,))
        # Else the manifest states a shape that no such release has, which is reported there.
        can_mix = shape is None or not why_unfit(self._method, shape)
        for key, record in known:
            # An attempt beyond the recipe's draws is reported elsewhere, and would take as many steps.
            if record.method != self._method.name or record.attempt >= draws_allowed(self.filters):
                continue
            seed = self._seed(int(key), record)
            mixing = mixing_faults(record, seed, alpha, shape, draws) if can_mix else ()
            yield from (f"{key}: {fault}" for fault in (*mixing, *self._amounts(int(key), record, seed)))


def _prompts(
    recipe: Recipe,
    manifest: Manifest,
    captions: Mapping[str, str] | None,
    words: Mapping[int, str] | None,
) -> Prompts | None:
    """Return what gives prompts.

    None if they are for other classes, which is a fault of the manifest, or if learned tokens are not here.
    """
    if recipe.tokens is not None and words is None:
        return None
    try:
        return Prompts(recipe, [item.name for item in manifest.classes], captions, words)
    except RecipeError:
        return None
