"""The checks of files that follow from the rest of a release: each is derived again and compared.

Keyed by the names that the rows of `release/files.py` give. The manifest, the shards and the table of
records are checked while `verify.py` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError
from synthkit.release.feedback import classifier_faults
from synthkit.release.files import MANIFEST
from synthkit.release.learned_tokens import read_tokens, token_faults
from synthkit.release.records import key_of
from synthkit.release.signature import read_signature
from synthkit.verification.audit import audit_faults
from synthkit.verification.derived_files import card_faults, croissant_faults, recipe_faults
from synthkit.verification.duplicates import equal_pixels_faults
from synthkit.verification.pictures import audit_picture_faults, samples_faults
from synthkit.verification.signature import misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.audit import Audit
    from synthkit.release.files import Check
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a release once its manifest, recipe and shards are read.

    `records` are the first record and those of the images that the audit shows, by key. `is_quotable`
    says that the manifest and the records are free of faults: the card and the metadata quote them, and
    would repeat each fault. `deep` asks for every picture to be decoded; `pixels` (N, 32) are the digests
    of all images if every one was.
    """

    manifest: Manifest
    recipe: Recipe
    records: dict[str, Provenance]
    audit: Audit | None
    is_quotable: bool
    deep: bool
    pixels: NDArray[np.uint8] | None


def _card(path: Path, known: Known) -> Iterator[str]:
    example = known.records.get(key_of(0))
    if known.is_quotable and example is not None:
        yield from card_faults(path, known.manifest, example)


def _croissant(path: Path, known: Known) -> Iterator[str]:
    if known.is_quotable:
        yield from croissant_faults(path, known.manifest)


def _recipe(path: Path, known: Known) -> Iterator[str]:
    yield from recipe_faults(path, known.manifest, known.recipe)


def _samples(path: Path, known: Known) -> Iterator[str]:
    yield from samples_faults(path, known.manifest, deep=known.deep)


def _tokens(path: Path, known: Known) -> Iterator[str]:
    try:
        tokens = read_tokens(path)
    except ReleaseError as error:
        yield str(error).removeprefix(f"{path}: ")
    else:
        yield from token_faults(tokens, known.recipe, known.manifest)


def _classifier(path: Path, known: Known) -> Iterator[str]:
    yield from classifier_faults(path, known.recipe)


def _audit(_: Path, known: Known) -> Iterator[str]:
    if known.audit is None:
        yield "is not what synthkit audit writes"
    else:
        yield from audit_faults(known.manifest, known.audit, known.records)
        if known.audit.duplicates is not None and known.pixels is not None:
            yield from equal_pixels_faults(known.audit.duplicates, known.pixels)


def _audit_picture(path: Path, known: Known) -> Iterator[str]:
    if known.audit is not None:
        yield from audit_picture_faults(path, known.manifest, known.audit, deep=known.deep)


def _signature(path: Path, _: Known) -> Iterator[str]:
    reason = misfit(path.with_name(MANIFEST).read_bytes(), read_signature(path.parent))
    if reason:
        yield reason


CHECKS: dict[Check, Callable[[Path, Known], Iterator[str]]] = {
    "card": _card,
    "croissant": _croissant,
    "recipe": _recipe,
    "samples": _samples,
    "tokens": _tokens,
    "classifier": _classifier,
    "audit": _audit,
    "audit picture": _audit_picture,
    "signature": _signature,
}
