"""Traceable synthetic training sets from augmented conditioning.

Use `synthkit.plan`, `build`, `verify`, `open_release`, `export`, `evaluate` and `compare` for what the
commands do, and `synthkit.mix` and `synthkit.real` to train on a release with PyTorch. Every mistake is a
`synthkit.SynthkitError`, whose message says what to do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from synthkit.errors import SynthkitError
from synthkit.version import __version__

if TYPE_CHECKING:
    from synthkit.api.checking import DamagedRelease, Verified, verify
    from synthkit.api.exporting import export
    from synthkit.api.making import Built, build, plan
    from synthkit.api.release import Release, open_release
    from synthkit.api.scoring import Evaluated, compare, evaluate
    from synthkit.training import mix, real

# What users import from here, and the modules that have it: each is loaded when it is first used.
_PLACES = {
    **dict.fromkeys(("Built", "build", "plan"), "synthkit.api.making"),
    **dict.fromkeys(("DamagedRelease", "Verified", "verify"), "synthkit.api.checking"),
    **dict.fromkeys(("Release", "open_release"), "synthkit.api.release"),
    "export": "synthkit.api.exporting",
    **dict.fromkeys(("Evaluated", "compare", "evaluate"), "synthkit.api.scoring"),
    **dict.fromkeys(("mix", "real"), "synthkit.training"),
}

__all__ = [
    "Built",
    "DamagedRelease",
    "Evaluated",
    "Release",
    "SynthkitError",
    "Verified",
    "__version__",
    "build",
    "compare",
    "evaluate",
    "export",
    "mix",
    "open_release",
    "plan",
    "real",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Return what users import; the libraries that it needs are loaded when it is first used."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'synthkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
