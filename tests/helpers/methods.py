"""Recipes by each method: what must be said with its name."""

from __future__ import annotations

from synthkit.conditioning import METHODS

# What conditions on embeddings of real images, or on text alone: any model.
OF_ANY_MODEL = [name for name, method in METHODS.items() if not method.starts]


def by(method: str, strength: float = 0.5) -> list[str]:
    """Return the settings of a recipe that choose a method; `strength` is that of one that has it."""
    begun = [f"conditioning.strength={strength}"] if METHODS[method].starts else []
    return [f"conditioning.method={method}", *begun]
