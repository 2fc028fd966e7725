"""What a build would download of its model, for `synthkit plan --download`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import to_download
from synthkit.hub.patience import endpoint, offline, reachable
from synthkit.system.known_hashes import MODELS, known_if_begun
from synthkit.system.progress import data_size

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.checkpoint import Offer
    from synthkit.recipe.model import Model


@dataclass(frozen=True, slots=True)
class Download:
    """The pieces of a model to download; `unknown` is why the Hub could not say, or empty."""

    offers: tuple[Offer, ...] = ()
    unknown: str = ""

    @property
    def bytes(self) -> int:
        """The bytes to download."""
        return sum(offer.bytes for offer in self.offers)

    def to_json(self) -> dict[str, Any]:
        """Return it for other programs; what is not known is null."""
        pieces = [
            {"field": offer.field, "repository": offer.name, "commit": offer.commit, "bytes": offer.bytes}
            for offer in self.offers
        ]
        known = not self.unknown
        return {"bytes": self.bytes if known else None, "pieces": pieces if known else None}

    def __str__(self) -> str:
        """Return it in a line."""
        if self.unknown:
            return f"Download: not known: {self.unknown}"
        if not self.offers:
            return "Download: nothing; the model is here"
        pieces = ", ".join(
            f"{offer.field.removeprefix('model.')} {data_size(offer.bytes)} of {offer.name}"
            for offer in self.offers
        )
        return f"Download: {data_size(self.bytes)} ({pieces})"


def look_up(model: Model, work_root: Path) -> Download:
    """Ask the Hub how large those pieces of a model are that are not here. A Hub out of reach is no error."""
    if offline():
        return Download(unknown="HF_HUB_OFFLINE is set")
    if not reachable():
        return Download(unknown=f"{endpoint()} cannot be reached")
    try:
        with known_if_begun(work_root / MODELS) as known_hashes:
            return Download(tuple(to_download(model, known_hashes)))
    except GeneratorError as error:
        return Download(unknown=str(error))
