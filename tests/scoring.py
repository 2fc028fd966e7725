"""What the tests of scores share: quick training, and releases whose images were swapped for others."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from synthkit.encoding import encode
from synthkit.manifest import MANIFEST, FileFacts, read_manifest
from synthkit.marks import Mark
from synthkit.recipe import Output
from synthkit.records import arrow_schema, read_record
from synthkit.shards import Origin, ShardWriter, records_path, sidecar_path
from synthkit.verify import RECORDS
from tests.conftest import Cli, read_member

# A network and a number of epochs that take a second.
QUICK = ("network=test_resnet", "network_args={}", "epochs=2")


def flags(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def evaluate(cli: Cli, release: Path, *arguments: str, settings: tuple[str, ...] = QUICK) -> dict[str, Any]:
    """The score of a release by a quick digits-lt; it must be given one."""
    out = cli.folder / "score.json"
    words = ["--protocol", "digits-lt", "--features", "none", "--device", "cpu", "--out", str(out)]
    result = cli("eval", release, *words, *flags(*settings), *arguments)
    assert result.exit_code == 0, result.output
    score: dict[str, Any] = json.loads(out.read_text())
    return score


# Of shards that no build goes on from.
ORIGIN = Origin("", {})


def swap_images(release: Path, folder: Path, picture: Callable[[int, int], Image.Image]) -> Path:
    """A release with other images, `picture(number, label)`, intact in all else that is checked."""
    forged = Path(shutil.copytree(release, folder))
    manifest = read_manifest(forged)
    tables, files = [], {file.path: file for file in manifest.files}
    number = 0
    for shard in manifest.shards:
        tar = forged / shard.path
        writer = folder.parent / f"{folder.name}-shards"
        writer.mkdir(exist_ok=True)
        with ShardWriter(writer, tar.name, manifest.extension, ORIGIN) as out:
            for _ in range(shard.images or 0):
                record = read_record(read_member(tar, f"{number:09d}.json"))
                mark = Mark(manifest.name, record.key, record.model, record.revision)
                image, _ = encode(np.asarray(picture(number, record.label)), Output(), mark)
                sha256 = hashlib.sha256(image).hexdigest()
                out.write(msgspec.structs.replace(record, image_sha256=sha256), image)
                number += 1
        tables.append(pq.read_table(records_path(writer / tar.name)))
        sidecar_path(writer / tar.name).unlink()
        shutil.copy(writer / tar.name, tar)
        files[shard.path] = _facts(tar, shard)
    with pq.ParquetWriter(forged / RECORDS, arrow_schema()) as parquet:
        for table in tables:
            parquet.write_table(pa.table(table))
    files[RECORDS] = _facts(forged / RECORDS, files[RECORDS])
    sealed = manifest.model_copy(update={"files": list(files.values())}).sealed()
    (forged / MANIFEST).write_bytes(sealed.to_json())
    return forged


def _facts(path: Path, before: FileFacts) -> FileFacts:
    content = path.read_bytes()
    return before.model_copy(update={"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
