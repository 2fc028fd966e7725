"""What a model's licence means for images made with it: a line, and whether it restricts training on them.

A licence is known by its name: the Hub's word, or the name that a card gives a licence of its own. Nothing
here is legal advice, and the text of a licence is what counts.

Sources, read in full: FLUX.1 [dev] Non-Commercial License of 2024, 1.c and 2.d; Stability AI Non-Commercial
Research Community License of 2023, "Derivative Work(s)"; DeepFloyd IF License, 2.a; Kolors, 3.b; Tencent
Hunyuan Community License of 2024, 5.b; CreativeML Open RAIL++-M of 2023. Clause IV.b of the Stability AI
Community License was read as others quote it. Not read: later versions of these, the licences of FLUX.2, of
Stable Cascade and Stable Video, which go by like names, and the RAIL licences of other houses.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from synthkit.recipe.model_content import ADAPTER, UNET, loaded_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synthkit.release.facts import GeneratorFacts, PartFacts
    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a licence means for a release; `restricts` is None where that is not known."""

    line: str
    restricts: bool | None


_FREE = "sets no limit to training other models on the images"
_RAIL = "claims no rights in the images; neither they nor the model may be put to the uses that it forbids"
_FLUX = (
    "the images may not train a model that competes with FLUX; "
    "training any model for commercial use needs another licence"
)
_STABILITY = (
    "the images may not be used to create or improve foundational generative models; "
    "above a yearly revenue of a million US dollars the model needs another licence"
)
_STABILITY_NC = (
    "a model trained on the images counts as derived from this one: research and non-commercial use only"
)
_RESEARCH = "the model and the images are for non-commercial research only"
_NON_COMMERCIAL = (
    "the model is for non-commercial use only; whether that reaches models trained on the images is open"
)
# By pattern, in small letters; the first one that fits counts.
_RESTRICTED = {
    "flux*non-commercial*": _FLUX,
    "flux*-dev-nc*": _FLUX,
    "stabilityai-ai-community": _STABILITY,
    "stabilityai-community": _STABILITY,
    "stabilityai-nc-research-community": _STABILITY_NC,
    "sai-nc-community": _STABILITY_NC,
    "stable-*-nc-community": _STABILITY_NC,
    "deepfloyd-if-license": _RESEARCH,
    "kolors*": "the images may not be used to improve other models; commercial use needs registration",
    "tencent-hunyuan-community": "the images may not be used to improve other large language models",
    "cc-by-nc*": _NON_COMMERCIAL,
    "*non-commercial*": _NON_COMMERCIAL,
}
_UNRESTRICTED = {
    **dict.fromkeys(("apache-2.0", "mit", "isc", "bsd-2-clause", "bsd-3-clause"), _FREE),
    **dict.fromkeys(("cc0-1.0", "cc-by-4.0", "unlicense"), _FREE),
    **dict.fromkeys(("creativeml-openrail-m", "openrail", "openrail++"), _RAIL),
    **dict.fromkeys(("bigscience-openrail-m", "bigscience-bloom-rail-1.0"), _RAIL),
}


# Of repositories whose licence restricts, for releases that state none: a piece that is pinned by its content
# has only the licence that its recipe states. By pattern, in small letters.
_OF_REPOSITORY = {
    "black-forest-labs/flux.1-*dev*": "flux-1-dev-non-commercial-license",
    "xlabs-ai/flux-ip-adapter*": "flux-1-dev-non-commercial-license",
    "stabilityai/sdxl-turbo": "sai-nc-community",
    "stabilityai/stable-diffusion-3*": "stabilityai-ai-community",
}


def consequence_of(license_name: str) -> Consequence:
    """Return what a licence means for images made with a model; it is empty where a model states none."""
    word = license_name.lower()
    if word in _UNRESTRICTED:
        return Consequence(_UNRESTRICTED[word], restricts=False)
    for pattern, line in _RESTRICTED.items():
        if fnmatchcase(word, pattern):
            return Consequence(line, restricts=True)
    what = "not known to synthkit" if word else "not stated"
    return Consequence(f"{what}: read what it says of the images", restricts=None)


@dataclass(frozen=True, slots=True)
class LicensedPiece:
    """A piece of a release's model: its name in a recipe, where it is had, and its licence.

    `revision` is a commit of the Hub, or empty, as is a licence that is not known.
    """

    field: str
    repository: str
    revision: str
    license: str

    @property
    def consequence(self) -> Consequence:
        """What its licence means for the images."""
        return consequence_of(self.license)

    @property
    def is_ours(self) -> bool:
        """Whether it comes with synthkit, under its licence."""
        return self.repository.startswith("builtin:") and not self.license


def _known_license(repository: str) -> str:
    """Return the licence of a repository that is known to restrict; an empty text of any other."""
    patterns = _OF_REPOSITORY.items()
    return next((name for pattern, name in patterns if fnmatchcase(repository.lower(), pattern)), "")


def pieces_of(generator: GeneratorFacts) -> list[LicensedPiece]:
    """Return the pieces that a manifest's parts make up, the base first."""
    base = generator.license or _known_license(generator.name)
    pieces = {"model": LicensedPiece("model", generator.name, "", base)}
    for field, part in _by_piece(generator):
        license_name = part.license or _known_license(part.repository)
        pieces[field] = LicensedPiece(field, part.repository, part.revision, license_name)
    return list(pieces.values())


def restricting(pieces: Iterable[LicensedPiece]) -> list[LicensedPiece]:
    """Return the pieces whose licences restrict training on the images, wholly or in part."""
    return [piece for piece in pieces if piece.consequence.restricts]


def reaching(manifest: Manifest) -> list[LicensedPiece]:
    """Return the pieces of the model that made the images of a release; none of retrieved ones."""
    return pieces_of(manifest.generator) if manifest.retrieval is None else []


def _by_piece(generator: GeneratorFacts) -> Iterator[tuple[str, PartFacts]]:
    """Yield each part with the piece that it belongs to.

    The base's have its name and licence and lie where they are loaded from; no adapter is among them. Folders
    of one name may hold several pieces.
    """
    for part in generator.parts:
        in_place = part.file == loaded_path(part.role, part.file)
        if part.role == ADAPTER:
            yield "model.adapter", part
        elif (part.repository, part.license) == (generator.name, generator.license) and in_place:
            yield "model", part
        else:
            yield ("model.unet" if part.role == UNET else "model.encoder"), part
