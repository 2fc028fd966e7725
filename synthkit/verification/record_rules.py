"""The rules for the records of a release: every field that follows from its recipe and its manifest.

The real images and the model are not needed. docs/provenance.md says which fields these rules leave open.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from synthkit.conditioning import METHODS, cutmix_embeddings
from synthkit.release.records import key_of
from synthkit.verification.derived_plan import DerivedPlan, derive
from synthkit.verification.mixing import SeededDraws, embedding_size, mixing_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit.recipe.filters import Filters
    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance

_NUMBER = r"(-?\d{1,9}\.\d{1,9})"
# Why a draw was rejected, as `builder/filters.py` writes it: reasons of one gate or several, in this order.
_REASON = re.compile(
    rf"(?:blank: deviation {_NUMBER}(?:; |\Z))?"
    rf"(?:near-copy: similarity {_NUMBER} to (.+?)(?:; (?=label-agreement: )|\Z))?"
    rf"(?:label-agreement: (?:rank (\d{{1,9}}), nearest is (.+)|probability {_NUMBER}))?",
    re.DOTALL,
)


class RecordRules:
    """What every record of a release must say; `plan` is None if no plan fits the manifest's counts."""

    def __init__(self, recipe: Recipe, manifest: Manifest) -> None:
        method = METHODS[recipe.conditioning.method]
        self._recipe, self._method = recipe, method
        self._classes = frozenset(item.name for item in manifest.classes)
        self._prompts = [recipe.prompt_for(item.name) for item in manifest.classes]
        self._constants: dict[str, Any] = {
            "dropout": recipe.conditioning.dropout if method.drops else 0.0,
            "guidance_scale": recipe.sampler.guidance_scale,
            "steps": recipe.sampler.steps,
            "scheduler": recipe.sampler.scheduler,
            "noise_level": recipe.sampler.noise_level,
            "batch_size": recipe.sampler.batch_size,
        }
        self._manifest = manifest
        self.plan: DerivedPlan | None = derive(recipe, manifest, method.sources)

    def faults(self, shard: int, first: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Yield what is wrong with the records of a shard whose first image has the index `first`."""
        version = self._manifest.environments[self._manifest.block_of(shard)].get("synthkit")
        known = [(key_of(index), record) for index, record in enumerate(records, start=first) if record]
        if self.plan is not None:
            yield from self.plan.faults(first, records)
        for key, record in known:
            yield from (f"{key}: {fault}" for fault in self._of_recipe(record))
            if record.version != version:
                yield f"{key}: its record's synthkit_version is {record.version:.64}, its block's {version}"
        if self._method.name in {record.method for _, record in known}:
            yield from self._mixing(known)

    def embedding_size(self, records: Sequence[Provenance | None]) -> int | None:
        """Return how many numbers an embedding has; None if the records of the shard do not show it."""
        if self._method.embeddings is not cutmix_embeddings:
            return None
        return embedding_size(record for record in records if record is not None)

    def _of_recipe(self, record: Provenance) -> Iterator[str]:
        for name, wanted in self._constants.items():
            said = getattr(record, name)
            if said != wanted:
                yield f"its record's {name} is {said!s:.64}, by the recipe it is {wanted!s:.64}"
        if record.label < len(self._prompts) and record.prompt != self._prompts[record.label]:
            wanted = self._prompts[record.label]
            yield f"its record's prompt is {record.prompt!r:.64}, by the recipe it is {wanted!r:.64}"
        yield from attempt_faults(record, self._recipe.filters)
        if self._recipe.filters is not None:
            for reason in record.rejected:
                if not self._is_reason(reason, record, self._recipe.filters):
                    yield f"its record's rejected says {reason!r:.80}, which no gate of the recipe says"

    def _is_reason(self, reason: str, record: Provenance, filters: Filters) -> bool:
        """Return whether the gates of the recipe can have given a reason, whose numbers are rounded."""
        found = _REASON.fullmatch(reason)
        if found is None or not reason or reason.endswith("; "):
            return False
        deviation, similarity, image, rank, nearest, probability = found.groups()
        blank, copy, label = filters.blank, filters.near_copy, filters.label_agreement
        if deviation and (blank is None or float(deviation) > blank.min_deviation + 0.01):
            return False
        if similarity and (copy is None or float(similarity) < copy.max_similarity - 0.001):
            return False
        own = copy is not None and copy.among == "sources"
        if image and own and image not in {source.id for source in record.sources}:
            return False
        if rank and (label is None or int(rank) <= label.max_rank or nearest not in self._classes):
            return False
        return not probability or (label is not None and float(probability) <= label.min_probability + 0.001)

    def _mixing(self, known: Sequence[tuple[str, Provenance]]) -> Iterator[str]:
        draws, alpha = SeededDraws(), self._recipe.conditioning.alpha
        size = self.embedding_size([record for _, record in known])
        # Draw from the planned seed: a false seed in the record is one fault, not one for each thing drawn.
        seeds = self.plan.draws.seeds if self.plan is not None else ()
        for key, record in known:
            # An attempt beyond the recipe's draws is reported elsewhere, and would take as many steps.
            if record.method != self._method.name or record.attempt >= _draws(self._recipe.filters):
                continue
            seed = int(seeds[int(key)]) if int(key) < len(seeds) else record.seed
            for fault in mixing_faults(record, seed, alpha, size, draws):
                yield f"{key}: {fault}"


def attempt_faults(record: Provenance, filters: Filters | None) -> Iterator[str]:
    """Yield a fault if the recipe does not allow a record's attempt, or a rejection lacks its reason."""
    draws = _draws(filters)
    if record.attempt >= draws:
        yield f"its record's attempt is {record.attempt}, the recipe allows {draws} draw(s)"
        return
    # The last draw is kept even if it is rejected.
    last = filters is not None and record.attempt + 1 == draws
    if len(record.rejected) not in (record.attempt, record.attempt + last):
        yield f"its record's rejected has {len(record.rejected)} reason(s) at attempt {record.attempt}"


def _draws(filters: Filters | None) -> int:
    return 1 if filters is None else filters.max_draws
