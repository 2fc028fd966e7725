"""Examine the model of a recipe: its pieces, their licences, what a download takes, whether it fits here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError, SynthkitError
from synthkit.generators import check_recipe, check_settings, choose_device_for, needs_device
from synthkit.generators.base import check_dtype
from synthkit.generators.checkpoint import Offer, put_together, survey
from synthkit.generators.consistency import MOST_CONSISTENT_STEPS, may_be_consistent
from synthkit.generators.device_memory import USABLE
from synthkit.generators.model_card import license_of
from synthkit.generators.model_files import read_index_of
from synthkit.generators.safetensors_header import bytes_in, read_header
from synthkit.inspection.doctor import Check, existing
from synthkit.release.model_licenses import consequence_of
from synthkit.system.environment import choose_device, memory_of
from synthkit.system.known_hashes import MODELS, known_if_begun
from synthkit.system.progress import data_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.generators.model_search import FoundPiece
    from synthkit.recipe.model import Model
    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe

# Bytes of a number in the types that a recipe may choose.
_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}


def examine_model(recipe: Recipe, work_root: Path) -> Iterator[Check]:
    """Yield whether the model is here, piece by piece, and whether synthkit can run it as the recipe says."""
    here: list[FoundPiece] = []
    offers: list[Offer] = []
    with known_if_begun(work_root / MODELS) as known_hashes:
        pieces = list(survey(recipe.model, known_hashes))
    for piece in pieces:
        if isinstance(piece, GeneratorError):
            yield Check("model", str(piece), "stop")
        elif isinstance(piece, Offer):
            offers.append(piece)
            yield from _offer(piece)
        else:
            here.append(piece)
            yield from _identity(piece)
    if offers:
        yield _download(offers)
    if len(here) == len(recipe.model.pieces) == len(pieces):
        yield from _whole(put_together(here), recipe)
    elif len(here) + len(offers) == len(pieces):
        yield from _settings(recipe, pieces[0])
        yield from _arithmetic(recipe.model, None)


def _settings(recipe: Recipe, base: FoundPiece | Offer | GeneratorError) -> Iterator[Check]:
    """Yield a stop for a setting that the model does not have, told before it is downloaded."""
    if isinstance(base, GeneratorError):
        return
    try:
        index = base.copy.index() if isinstance(base, Offer) else read_index_of(base.folder, base.name)
        check_settings(index, recipe, base.name)
    except SynthkitError as error:
        yield Check("model", str(error), "stop")


def _whole(checkpoint: Checkpoint, recipe: Recipe) -> Iterator[Check]:
    try:
        check_recipe(checkpoint, recipe)
    except SynthkitError as error:
        yield Check("model", str(error), "stop")
        return
    yield from _few_steps(checkpoint, recipe.sampler)
    unable = list(_arithmetic(recipe.model, checkpoint))
    yield from unable
    if needs_device(checkpoint):
        yield _memory(checkpoint, recipe.model.dtype, "cpu" if unable else choose_device("auto"))


def _few_steps(checkpoint: Checkpoint, sampler: Sampler) -> Iterator[Check]:
    """Yield a note if lcm is used with a model, or a number of steps, that it is not for."""
    if sampler.scheduler != "lcm":
        return
    if not may_be_consistent(checkpoint):
        told = "lcm is for latent consistency models, and nothing in this model's files says that it is one"
        yield Check("  scheduler", f"{told}; an ordinary model takes few steps with unipc", "note")
    elif sampler.steps > MOST_CONSISTENT_STEPS:
        told = f"latent consistency models were distilled for at most {MOST_CONSISTENT_STEPS} steps"
        yield Check("  scheduler", f"{told}, sampler.steps is {sampler.steps}", "note")


def _identity(piece: FoundPiece) -> Iterator[Check]:
    """Yield which piece it is, and what the recipe may state of it."""
    at = f" at {piece.commit[:12]}" if piece.commit else ""
    yield Check(_called(piece.field), f"{piece.name}{at}: here, {data_size(piece.bytes)}")
    yield Check("  sha256", piece.sha256)
    card = license_of(piece.folder)
    if not piece.license and card:
        told = f"{_license(card).found}; it is that of the card: to state it, set {piece.field}.license"
        yield Check("  licence", told, "note")
    elif piece.license:
        yield _license(piece.license)
    else:
        told = f"not known: its card does not say; to state it, set {piece.field}.license"
        yield Check("  licence", told, "note")


def _offer(offer: Offer) -> Iterator[Check]:
    """Yield what the Hub has of a piece that is not here."""
    size = f"{data_size(offer.bytes)} to download from the Hub"
    yield Check(_called(offer.field), f"{offer.name} at {offer.commit[:12]}: not here; {size}", "note")
    try:
        license = offer.license
    except SynthkitError:
        # What is wrong with the Hub, a download will say.
        license = ""
    if license:
        yield _license(license)
    else:
        yield Check("  licence", f"not known; to state it, set {offer.field}.license", "note")


def _license(name: str) -> Check:
    """Return a licence with what follows for a release."""
    consequence = consequence_of(name)
    told = f"{name}: {consequence.line}"
    if consequence.restricts:
        return Check("  licence", f"{told}; publish wants --accept-model-license {name}", "note")
    return Check("  licence", told, "ok" if consequence.restricts is False else "note")


def _called(field: str) -> str:
    return field.removeprefix("model.")


def _download(offers: Sequence[Offer]) -> Check:
    """Compare what is to be downloaded with the room on the disk that takes it."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    size, free = sum(offer.bytes for offer in offers), shutil.disk_usage(existing(cache)).free
    told = f"{data_size(size)} to {cache}; {data_size(free)} are free there"
    if size > free:
        return Check("  download", f"{told}: make room, or set HF_HOME to a folder on another disk", "stop")
    return Check("  download", f"{told}; how much memory the model takes is known when it is here")


def _arithmetic(model: Model, checkpoint: Checkpoint | None) -> Iterator[Check]:
    """Yield a stop if this machine cannot compute in the recipe's type."""
    try:
        if checkpoint is None:
            check_dtype(model.dtype, choose_device("auto"))
        else:
            choose_device_for(checkpoint, model.dtype, "auto")
    except GeneratorError as error:
        yield Check("  arithmetic", str(error), "stop")


def _memory(checkpoint: Checkpoint, dtype: str, device: str) -> Check:
    """Compare what the weights alone take with the memory of the device; a batch takes more."""
    try:
        wide = _weights(checkpoint, _WIDTHS[dtype])
    except GeneratorError as error:
        return Check("  memory", str(error), "stop")
    room = memory_of(device)
    told = f"the weights take {data_size(wide)} in {dtype}, {device} has {data_size(room)}"
    if wide > room:
        half = "bfloat16" if device == "cpu" else "float16"
        fits = dtype == "float32" and _weights(checkpoint, _WIDTHS[half]) < room * USABLE
        advice = f"set model.dtype to {half}" if fits else "build on a larger device"
        return Check("  memory", f"{told}: a build would not fit; {advice}", "stop")
    if wide > room * USABLE:
        return Check("  memory", f"{told}: little is left for a batch", "note")
    return Check("  memory", told)


def _weights(checkpoint: Checkpoint, float_bytes: int) -> int:
    return sum(
        bytes_in(read_header(piece.folder / file.path, f"{piece.field}.id").values(), float_bytes)
        for piece in checkpoint.pieces.values()
        for file in piece.files.values()
        if file.path.endswith(".safetensors")
    )
