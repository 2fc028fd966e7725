"""Traceable synthetic training sets from augmented conditioning.

Use `synthkit.mix` and `synthkit.real` to train on a release with PyTorch, and the `synthkit` command for
everything else.
"""

from typing import TYPE_CHECKING, Any

from synthkit.version import __version__

if TYPE_CHECKING:
    from synthkit.training import mix, real

__all__ = ["__version__", "mix", "real"]


def __getattr__(name: str) -> Any:
    """Return `mix` or `real`; torch is loaded when one of them is first used."""
    if name in ("mix", "real"):
        from synthkit import training

        return getattr(training, name)
    raise AttributeError(f"module 'synthkit' has no attribute {name!r}")
