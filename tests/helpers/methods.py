"""Recipes by each method: what must be said with its name."""

from __future__ import annotations

from synthkit.conditioning import METHODS

# What conditions on embeddings of real images, or on text alone: any model.
OF_ANY_MODEL = [
    name for name, method in METHODS.items() if not (method.starts or method.retrieves or method.learns)
]
# Real images to retrieve, whatever the classes are.
POOL = "retrieval={source: {kind: digits, part: pretrain}}"


def by(method: str, strength: float = 0.5) -> list[str]:
    """Return the settings of a recipe that choose a method; `strength` is that of one that has it.

    Tokens are learned in two steps.
    """
    begun = [f"conditioning.strength={strength}"] if METHODS[method].starts else []
    pool = [POOL] if METHODS[method].retrieves else []
    learned = ["tokens={steps: 2}"] if METHODS[method].learns else []
    return [f"conditioning.method={method}", *begun, *pool, *learned]
