"""Recipes by each method: what must be said with its name."""

from __future__ import annotations

from synthkit.conditioning import METHODS

# What conditions on embeddings of real images, or on text alone: any model.
OF_ANY_MODEL = [name for name, method in METHODS.items() if not method.starts and not method.retrieves]
# Real images to retrieve, whatever the classes are.
POOL = "retrieval={source: {kind: digits, part: pretrain}}"


def by(method: str, strength: float = 0.5) -> list[str]:
    """Return the settings of a recipe that choose a method; `strength` is that of one that has it."""
    begun = [f"conditioning.strength={strength}"] if METHODS[method].starts else []
    pool = [POOL] if METHODS[method].retrieves else []
    return [f"conditioning.method={method}", *begun, *pool]
