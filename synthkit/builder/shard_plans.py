"""What is planned for each shard, as a hash: by it a build knows a finished shard as one of its own.

A release that grows keeps its shards, and so do versions of it that are built side by side. Two shards with
the same hash, and made by the same generation digest, hold the same images.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from synthkit.builder.inputs import Inputs


class ShardPlans:
    """Hashes the plan of each shard of a build: its first index, its images' labels, seeds, sources, prompts.

    One prompt for all images without a caption is in the generation digest instead.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._plan = inputs.plan
        real = inputs.real
        # An image depends on the name of its class (prompt) and on the real images that its record names.
        self._sources = _hashes(
            f"{name}\0{sha256}" for name, sha256 in zip(real.listing.ids, real.sha256, strict=True)
        )
        self._classes = _hashes(real.listing.classes)
        recipe = inputs.recipe
        drawn = recipe.prompts is not None or recipe.captions is not None
        self._prompts = _prompts(inputs) if drawn else None
        # A learned token stands in prompts in place of the class's name.
        words = [
            inputs.tokens[label].word if label in inputs.tokens else "" for label in range(len(self._classes))
        ]
        self._tokens = _hashes(words) if inputs.tokens else None
        self._named = f"{inputs.recipe.name}\0{inputs.checkpoint.name}"
        filters = inputs.recipe.filters
        self._compares = filters is not None and filters.compare
        self._of_class = real.listing.labels
        self._classes_of = [item.classes for item in inputs.recipe.earlier]
        self._of_all_before = filters is not None and filters.near_duplicate is not None
        # What is retrieved depends on all classes and how many images they get.
        self._retrieved = b"" if inputs.pool is None else inputs.digest.encode()
        self._known: list[str] = []

    def digest(self, shard: int) -> str:
        """Return the SHA-256 of what is planned for a shard, and of those before it if they decide it too."""
        if not self._of_all_before:
            return self._digest(shard)
        while len(self._known) <= shard:
            own, before = self._digest(len(self._known)), "".join(self._known[-1:])
            self._known.append(hashlib.sha256(f"{before}{own}".encode()).hexdigest())
        return self._known[shard]

    def _digest(self, shard: int) -> str:
        indices = self._plan.indices(shard)
        rows = slice(indices.start, indices.stop)
        labels = self._plan.labels[rows]
        digest = hashlib.sha256(f"{self._named}\0{indices.start}".encode())
        digest.update(labels.astype("<i4").tobytes())
        digest.update(self._plan.seeds[rows].astype("<u8").tobytes())
        digest.update(self._classes[labels].tobytes())
        for ordinal in range(self._plan.sources):
            digest.update(self._sources[self._plan.pairs[rows, ordinal]].tobytes())
        if self._tokens is not None:
            digest.update(self._tokens[labels].tobytes())
        if self._prompts is not None:
            templates, captions = self._prompts
            digest.update(templates[labels].tobytes())
            digest.update(captions[self._plan.pairs[rows, 0]].tobytes())
        digest.update(self._retrieved)
        if self._compares:
            digest.update(self._pool(self._plan.blocks.block_of(shard)))
        return digest.hexdigest()

    def _pool(self, block: int) -> bytes:
        """Return a hash of the real images that quality gates compare the images of a block with."""
        classes = self._classes_of[block] if block < len(self._classes_of) else None
        pool = self._sources if classes is None else self._sources[self._of_class < classes]
        return hashlib.sha256(pool.tobytes()).digest()


def _prompts(inputs: Inputs) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return (C, 32) and (N, 32): hashes of the templates of each class, and of each real image's caption."""
    listing = inputs.real.listing
    lists = (inputs.recipe.templates_for(name) for name in listing.classes)
    captions = (inputs.prompts.caption(name) for name in listing.ids)
    return _hashes(json.dumps(templates) for templates in lists), _hashes(captions)


def _hashes(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Return (N, 32): the SHA-256 of each text."""
    raw = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)
