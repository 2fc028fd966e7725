"""synthkit: traceable synthetic training sets from augmented conditioning.

`synthkit.mix` and `synthkit.real` bring a release into a PyTorch training loop; all else is the
`synthkit` command.
"""

from typing import TYPE_CHECKING, Any

from synthkit.version import __version__

if TYPE_CHECKING:
    from synthkit.training import mix, real

__all__ = ["__version__", "mix", "real"]


def __getattr__(name: str) -> Any:
    """The public functions, without loading torch before one is asked for."""
    if name in ("mix", "real"):
        from synthkit import training

        return getattr(training, name)
    raise AttributeError(f"module 'synthkit' has no attribute {name!r}")
