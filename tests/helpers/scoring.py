"""What the tests of scores share: quick training, and releases whose images were swapped for others."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from synthkit.recipe.families import DigitsSourceConfig
from synthkit.recipe.output import Output
from synthkit.release.image_writer import encode
from synthkit.release.manifest import read_manifest
from synthkit.release.marks import mark_of
from synthkit.release.records import Provenance
from synthkit.sources import open_source
from synthkit.sources.pool import RealImages, read_all
from synthkit.system.known_hashes import KnownHashes
from synthkit_eval.training.synthetic_images import SyntheticImages, open_synthetic
from tests.conftest import Cli
from tests.helpers.forging import Forgery

# A network and a number of epochs that take a second.
QUICK = ("network=test_resnet", "network_args={}", "epochs=2")


def flags(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def evaluate(cli: Cli, release: Path, *arguments: str, settings: tuple[str, ...] = QUICK) -> dict[str, Any]:
    """The score of a release by a quick digits-lt; it must be given one."""
    score, _ = evaluate_and_tell(cli, release, *arguments, settings=settings)
    return score


def evaluate_and_tell(
    cli: Cli, release: Path, *arguments: str, settings: tuple[str, ...] = QUICK
) -> tuple[dict[str, Any], str]:
    """The same, and what the command prints."""
    out = cli.folder / "score.json"
    words = ["--protocol", "digits-lt", "--features", "none", "--device", "cpu", "--out", str(out)]
    result = cli("eval", release, *words, *flags(*settings), *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text()), result.output


def swap_images(release: Path, folder: Path, picture: Callable[[int, int], Image.Image]) -> Path:
    """A release with other images, `picture(number, label)`, intact in all else that is checked."""
    forgery = Forgery.of(Path(shutil.copytree(release, folder)))
    for samples in forgery.shards.values():
        samples[:] = [_swapped(record, forgery.manifest["name"], picture) for record, _ in samples]
    forgery.write()
    return folder


def _swapped(
    record: Provenance, name: str, picture: Callable[[int, int], Image.Image]
) -> tuple[Provenance, bytes]:
    image = encode(picture(int(record.key), record.label), Output(), mark_of(record, name))
    return msgspec.structs.replace(record, image_sha256=hashlib.sha256(image).hexdigest()), image


def real_digits(part: str = "train") -> RealImages:
    source = open_source(
        DigitsSourceConfig.model_validate(
            {"kind": "digits", "part": part, "max_per_class": 8, "imbalance_factor": 4.0}
        )
    )
    return read_all(source, on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)


def synthetic_of(release: Path) -> SyntheticImages:
    return open_synthetic(release, read_manifest(release))
