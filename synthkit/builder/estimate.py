"""What a build will cost in bytes and seconds, estimated from the last build like it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from synthkit.builder.options import LOG
from synthkit.conditioning import METHODS
from synthkit.generators import image_edge
from synthkit.generators.checkpoint import Checkpoint, find_local
from synthkit.recipe.sampler import STEP_FIELDS
from synthkit.system.environment import NO_DEVICE
from synthkit.system.known_hashes import MODELS, known_if_begun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.outcome import Made
    from synthkit.builder.workspace import Workspace
    from synthkit.recipe.output import Output
    from synthkit.recipe.schema import Recipe

# Bytes per pixel of typical photographs, used until there is a first build.
_BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.5, "webp": 0.3}
# Tar headers, padding, label and record of one sample.
_OVERHEAD = 4096
# A C2PA manifest with two certificates and two real images.
_SIGNATURE = 2800


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes and seconds of a build; None if unknown. `measured` says that an earlier build gave them.

    `checkpoint` is the model, if all of it is on this machine. `devices` are those that the earlier build
    used, and `on_gpu` says whether they were GPUs.
    """

    bytes: int | None
    seconds: float | None
    measured: bool
    checkpoint: Checkpoint | None
    devices: int = 1
    on_gpu: bool = False

    @property
    def has_model(self) -> bool:
        """Whether all of the model is on this machine."""
        return self.checkpoint is not None


def estimate(recipe: Recipe, images: int, work_root: Path) -> Estimate:
    """Estimate a build of so many images without loading the model.

    If each is drawn several times (`filters.prefer`), seconds are those of all draws.
    """
    with known_if_begun(work_root / MODELS) as known_hashes:
        checkpoint = find_local(recipe.model, known_hashes)
    if checkpoint is None:
        size = _bytes(images, recipe.output, recipe.output.size)
        return Estimate(size, None, measured=False, checkpoint=None)
    rate = last_rate(work_root, rate_key(recipe, checkpoint))
    if rate is not None:
        size = round(images * rate.bytes_per_image)
        seconds = images * recipe.draws / rate.draws_per_second
        return Estimate(size, seconds, True, checkpoint, rate.devices, rate.on_gpu)
    edge = recipe.output.size or image_edge(checkpoint, recipe.sampler)
    return Estimate(_bytes(images, recipe.output, edge), None, measured=False, checkpoint=checkpoint)


def _bytes(images: int, output: Output, edge: int | None) -> int | None:
    if edge is None:
        return None
    overhead = _OVERHEAD + (_SIGNATURE if output.c2pa else 0)
    return round(images * (edge * edge * _BYTES_PER_PIXEL[output.format] + overhead))


def rate_key(recipe: Recipe, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what decides how fast images are made and how large they are."""
    sampler = recipe.sampler
    # What came after the first logs stands in the key only where it is set.
    later = sampler.model_dump(mode="json", include={"size", *STEP_FIELDS}, exclude_none=True)
    if "feedback" in later:
        # Which weights it has takes no time, and the log holds no path.
        for name in ("checkpoint", "sha256", "training"):
            later["feedback"]["classifier"].pop(name, None)
    size = [later.pop("size")] if "size" in later else []
    # Images that begin from real ones run a part of the steps.
    later |= recipe.conditioning.model_dump(mode="json", include={"strength"}, exclude_none=True)
    if METHODS[recipe.conditioning.method].retrieves:
        later["method"] = recipe.conditioning.method
    # The log holds no path of a key.
    output = recipe.output.model_dump(exclude={"shard_size", "c2pa"})
    return {
        "model": [checkpoint.revision, recipe.model.dtype],
        "sampler": [sampler.scheduler, sampler.steps, sampler.guidance_scale > 1, sampler.batch_size, *size]
        + ([later] if later else []),
        "arithmetic": recipe.arithmetic.model_dump(mode="json", exclude_defaults=True),
        "output": output | ({"c2pa": True} if recipe.output.c2pa else {}),
    }


def log_rate(work: Workspace, inputs: Inputs, made: Made) -> None:
    """Log how fast images were made, and how large they are; `last_rate` reads it."""
    shards = work.finished().values()
    images = sum(shard.images for shard in shards)
    work.log(
        {
            "event": "generated",
            "key": rate_key(inputs.recipe, inputs.checkpoint),
            "device": list(shards)[-1].origin.environment["device"],
            "workers": made.workers,
            "images": made.images,
            "lost": made.lost,
            "seconds": round(made.seconds, 3),
            "images_per_second": made.rate,
            "draws": inputs.recipe.draws,
            "bytes_per_image": sum(shard.bytes for shard in shards) / images,
        }
    )


class Rate(NamedTuple):
    """How fast a build made draws, how large its images are, and how many devices, GPUs or not, it used."""

    draws_per_second: float
    bytes_per_image: float
    devices: int
    on_gpu: bool


def last_rate(root: Path, key: Mapping[str, Any]) -> Rate | None:
    """Return the rate of the last logged build with the same key, if any."""
    best: dict[str, Any] | None = None
    for log in root.glob(f"*/{LOG}"):
        for event in _events(log):
            same = event.get("event") == "generated" and event.get("key") == dict(key)
            if same and (best is None or event["time"] > best["time"]):
                best = event
    if best is None:
        return None
    # Logs of earlier versions state no draws: there was one of each image.
    drawn = best["images_per_second"] * best.get("draws", 1)
    on_gpu = not str(best["device"]).startswith(("cpu", NO_DEVICE))
    # The workers of a CPU share it.
    return Rate(drawn, best["bytes_per_image"], best["workers"] if on_gpu else 1, on_gpu)


def _events(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
