"""Releases forged with care: whatever is changed, Parquet, card, metadata, hashes and seal fit."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from synthkit.errors import ReleaseError
from synthkit.recipe.filters import MAX_DRAWS
from synthkit.release.card import render_card
from synthkit.release.containers import container_of
from synthkit.release.croissant import render_croissant
from synthkit.release.files import CARD, CROISSANT, MANIFEST
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.release.marks import mark_of
from synthkit.release.records import KINDS, Provenance, arrow_schema, table_of
from synthkit.verification.verify import verify_release
from tests.helpers.hostile import chunk, riff, segment

Members = list[tuple[tarfile.TarInfo, bytes]]
Samples = list[tuple[Provenance, bytes]]
Node = dict[str, Any]


@dataclass
class Forgery:
    """A release taken apart: its manifest as plain data, the records and images of each shard."""

    folder: Path
    manifest: Node
    shards: dict[str, Samples]

    @classmethod
    def of(cls, release: Path) -> Forgery:
        manifest = read_manifest(release)
        shards = {shard.path: list(_samples(release / shard.path, manifest)) for shard in manifest.shards}
        return cls(release, manifest.model_dump(mode="json"), shards)

    def change(self, key: str, **fields: Any) -> None:
        """Other values for fields of a record."""
        for samples in self.shards.values():
            for place, (record, image) in enumerate(samples):
                if record.key == key:
                    samples[place] = self._changed(record, image, fields)

    def _changed(self, record: Provenance, image: bytes, fields: Node) -> tuple[Provenance, bytes]:
        """The record with other values; if its image has its mark, the image gets the mark that fits."""
        changed = msgspec.convert({**record.to_row(), **fields}, type(record))
        name, extension = self.manifest["name"], self.manifest["extension"]
        before = mark_part(extension, mark_of(record, name))
        if before not in image or changed.attempt >= MAX_DRAWS:
            return changed, image
        image = image.replace(before, mark_part(extension, mark_of(changed, name)))
        image = riff(image[12:]) if extension == "webp" else image
        fits = {"image_sha256": hashlib.sha256(image).hexdigest(), **fields}
        return msgspec.structs.replace(changed, image_sha256=fits["image_sha256"]), image

    def repaint(self, key: str, change: Callable[[bytes], bytes]) -> None:
        """Another image file in the place of one, which its record names."""
        for samples in self.shards.values():
            for place, (record, image) in enumerate(samples):
                if record.key == key:
                    samples[place] = (record, change(image))
                    self.change(key, image_sha256=hashlib.sha256(samples[place][1]).hexdigest())

    def record(self, key: str) -> Provenance:
        return next(record for some in self.shards.values() for record, _ in some if record.key == key)

    def image(self, key: str) -> bytes:
        return next(image for some in self.shards.values() for record, image in some if record.key == key)

    def write(self, *, derived: bool = True) -> None:
        """Put it together again; `derived` also writes the card and the metadata that fit."""
        form, shards = int(self.manifest["format_version"]), iter(self.shards.items())
        for table, images in Manifest.model_validate(self.manifest).tables().items():
            with pq.ParquetWriter(self.folder / table, arrow_schema(form), compression="zstd") as rows:
                for path, samples in islice(shards, len(images)):
                    self._write_shard(path, samples)
                    rows.write_table(table_of([record for record, _ in samples]))
        self.seal()
        if derived:
            manifest = Manifest.model_validate(self.manifest)
            example = next(iter(self.shards.values()))[0][0].to_row()
            (self.folder / CARD).write_text(render_card(manifest, example), encoding="utf-8")
            (self.folder / CROISSANT).write_bytes(render_croissant(manifest))
            self.seal()

    def seal(self) -> None:
        """Make the manifest fit the files as they are."""
        for file in self.manifest["files"]:
            path = self.folder / file["path"]
            if path.is_file():
                content = path.read_bytes()
                file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = Manifest.model_construct(**Manifest.model_validate(self.manifest).__dict__).sealed()
        (self.folder / MANIFEST).write_bytes(manifest.to_json())

    def _write_shard(self, path: str, samples: Samples) -> None:
        extension = self.manifest["extension"]
        with (self.folder / path).open("wb") as stream:
            writer = container_of(path).writer(stream, extension)
            for record, image in samples:
                writer.write(record, image)
            writer.close()


def mark_part(extension: str, mark: bytes) -> bytes:
    """The part of an image file that holds a mark."""
    match extension:
        case "png":
            return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + mark)
        case "jpg":
            return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + mark)
    return b"XMP " + struct.pack("<I", len(mark)) + mark + b"\0" * (len(mark) % 2)


def repaint(release: Path, key: str, change: Callable[[bytes], bytes]) -> None:
    """Put another image file in the place of one; records, table, card, metadata and hashes fit it."""
    forgery = Forgery.of(release)
    forgery.repaint(key, change)
    forgery.write()


def reseal(release: Path, path: str) -> None:
    """Make the manifest fit one changed file; nothing else is made to fit."""
    manifest, content = json.loads((release / MANIFEST).read_text()), (release / path).read_bytes()
    for file in manifest["files"]:
        if file["path"] == path:
            file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (release / MANIFEST).write_bytes(Manifest.model_validate(manifest).sealed().to_json())


def rewrite_shard(release: Path, path: str, change: Callable[[Members], Any]) -> None:
    """Write a shard again with other members, and make the manifest fit."""
    with tarfile.open(release / path) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    change(members)
    with tarfile.open(release / path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    reseal(release, path)


def image_files(release: Path) -> dict[str, bytes]:
    """Every image file of a release, by its name."""
    found = {}
    for tar in sorted((release / "data").glob("*.tar")):
        with tarfile.open(tar) as archive:
            for member in archive:
                if not member.name.endswith((".cls", ".json")):
                    found[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    return found


def _samples(shard: Path, manifest: Manifest) -> Iterator[tuple[Provenance, bytes]]:
    if shard.suffix == ".parquet":
        for row in pq.read_table(shard).to_pylist():
            image = row.pop("image")["bytes"]
            yield msgspec.convert(row, KINDS[manifest.format_version]), image
        return
    with tarfile.open(shard) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    records = {name[:-5]: raw for name, raw in members.items() if name.endswith(".json")}
    for key, raw in records.items():
        (image,) = (name for name in members if name.startswith(key) and not name.endswith((".json", ".cls")))
        yield msgspec.json.decode(raw, type=KINDS[manifest.format_version]), members[image]


def faults_of(release: Path, *, deep: bool = False) -> list[str]:
    """Every fault that `verify` finds, as `path: reason`."""
    try:
        manifest = read_manifest(release)
    except ReleaseError as error:
        return [str(error)]
    found = verify_release(release, manifest, lambda count: None, deep=deep)
    return [f"{fault.path}: {fault.reason}" for fault in found]


def leaves(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The place of every plain value in a document; of a list, those of its first and last item."""
    match node:
        case dict():
            for name, value in node.items():
                yield from leaves(value, (*at, name))
        case list():
            for place in sorted({0, len(node) - 1} if node else ()):
                yield from leaves(node[place], (*at, place))
        case _:
            yield at


def put(node: Any, at: tuple[str | int, ...], change: Callable[[Any], Any]) -> None:
    """Change the value at a place."""
    for step in at[:-1]:
        node = node[step]
    node[at[-1]] = change(node[at[-1]])


def another(value: Any) -> Any:
    """A value of the same type that is not the same."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            # One half is its own picture under the first.
            return value / 2 + 0.25 if value != 0.5 else 0.75
        case str() if len(value) == 64:
            return hashlib.sha256(value.encode()).hexdigest()
        case str():
            return f"{value}x"
        case None:
            return "x"
    raise TypeError(value)
