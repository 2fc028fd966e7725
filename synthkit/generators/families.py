"""The families of generators: those listed in `PIPELINES`, and those that installed packages bring.

A package brings a family by an entry point of the group `synthkit.generators`, named and valued like a line
of `PIPELINES`. Its code runs when a model of its family is met. docs/generators.md shows one.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from synthkit.generators.base import Generator

# The class that a model's model_index.json names: the generator that runs it, as "module:Class". A pipeline
# that an adapter conditions on images has a family for each kind of adapter: "class.kind". A module is
# imported when a model of its family is met.
PIPELINES = {
    "StableUnCLIPImg2ImgPipeline": "synthkit.generators.unclip:UnclipGenerator",
    "StableDiffusionPipeline.ip-adapter": "synthkit.generators.ip_adapter:IpAdapter",
    "StableDiffusionPipeline.ip-adapter-plus": "synthkit.generators.ip_adapter:IpAdapterPlus",
    "StableDiffusionXLPipeline.ip-adapter": "synthkit.generators.ip_adapter:IpAdapterXL",
    "StableDiffusionXLPipeline.ip-adapter-plus": "synthkit.generators.ip_adapter:IpAdapterPlusXL",
    "KandinskyV22Pipeline": "synthkit.generators.kandinsky:KandinskyGenerator",
    "FluxPipeline": "synthkit.generators.flux_redux:FluxReduxGenerator",
    "FlatColours": "synthkit.generators.flat:FlatColours",
}
# The group of entry points by which packages bring families.
GROUP = "synthkit.generators"
# For trials: nobody has a model of theirs.
_FOR_TRIALS = frozenset({"FlatColours"})


def family_named(name: str, model: str) -> type[Generator]:
    """Return the generator class of a family; `model` is the model that asks for it, for errors.

    Raises GeneratorError if there is none, or if the package that brings it does not work.
    """
    if name in PIPELINES:
        return _resolved(PIPELINES[name])
    found = [point for point in brought() if point.name == name]
    if not found:
        raise _unknown(name, model)
    if len(found) > 1:
        packages = ", ".join(sorted(_package(point) for point in found))
        raise GeneratorError(
            f"model {model}: several packages bring {name}: {packages}; uninstall all but one"
        )
    try:
        return _resolved(found[0].value)
    except Exception as error:
        raise GeneratorError(
            f"model {model}: {_package(found[0])}, which brings {name}, does not work: "
            f"{type(error).__name__}: {error}"
        ) from error


def kinds_of(pipeline: str) -> list[str]:
    """Return the kinds of adapters that a pipeline class can be run with."""
    start = f"{pipeline}."
    return [name.removeprefix(start) for name in _names() if name.startswith(start)]


def is_known(name: str) -> bool:
    """Return whether there is a family of a name."""
    return name in _names()


def package_of(name: str) -> str:
    """Return the package that brings a family with its version; an empty text for a family of synthkit's."""
    found = [point for point in brought() if point.name == name and name not in PIPELINES]
    return next((_package(point) for point in found), "")


def _names() -> list[str]:
    return [*PIPELINES, *(point.name for point in brought())]


@cache
def brought() -> tuple[EntryPoint, ...]:
    """Return the entry points of installed packages, looked up once."""
    return tuple(entry_points(group=GROUP))


def _resolved(place: str) -> type[Generator]:
    family: Any = resolve_name(place)
    if not isinstance(family, type):
        raise TypeError(f"{place} is no class")
    return family


def _package(point: EntryPoint) -> str:
    return "a package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _unknown(name: str, model: str) -> GeneratorError:
    known = [known.replace(".", " with ") for known in dict.fromkeys(_names()) if known not in _FOR_TRIALS]
    return GeneratorError(
        f"model {model}: is a {name:.64}; synthkit runs {', '.join(known)}, "
        "and what installed packages bring (docs/generators.md)"
    )
