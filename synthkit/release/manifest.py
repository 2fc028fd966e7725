"""manifest.json: what a release is and every file in it, with size and SHA-256."""

from __future__ import annotations

import base64
import hashlib
from itertools import accumulate
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from synthkit.errors import ReleaseError
from synthkit.recipe.output import MAX_EDGE, ContainerName
from synthkit.recipe.schema import MOST_EARLIER, NAME, SEMVER
from synthkit.release.files import FILES, MANIFEST, is_shard, table_paths
from synthkit.system.files import sha256_of
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

# The largest manifest that is read: room for 150,000 shards.
MAX_BYTES = 1 << 25
# A manifest with more errors than this is refused without listing them.
_MANY_ERRORS = 1000


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileFacts(_Facts):
    """One file of a release; `images` is set for shards alone."""

    path: str
    bytes: int = Field(ge=0, lt=2**63)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    images: int | None = Field(None, ge=0, lt=2**63)

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        hidden = any(part.startswith(".") for part in parts)
        if not parts or path.startswith("/") or hidden or "\\" in path or not path.isprintable():
            raise ValueError(f"{path!r} is not a path inside a release")
        return path

    @model_validator(mode="after")
    def _shards_have_images(self) -> Self:
        if (self.images is not None) is not is_shard(self.path):
            raise ValueError(f"{self.path!r}: shards, and nothing else, have a number of images")
        return self


class ClassFacts(_Facts):
    """One class of a release."""

    label: int
    name: str
    group: Literal["many", "medium", "few"]
    real: int = Field(ge=0, lt=2**63)
    synthetic: int = Field(ge=0, lt=2**63)


class SourceFacts(_Facts):
    """The real images: their kind, how many, and the digest over their ids, labels and contents.

    `repository` is the data set on the Hub that they come from, if they do; format 1 does not know it.
    A few-shot release lists its pool, which a classifier may train on and must not be scored on.
    """

    kind: str
    images: int
    digest: str
    available_from: str = ""
    repository: str | None = None
    shots: int | None = None
    trial: int | None = None
    pool: list[PoolImage] | None = Field(None, fail_fast=True)


class PoolImage(_Facts):
    """A real image of a few-shot pool."""

    id: str
    label: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PartFacts(_Facts):
    """A file of the model: its part of the pipeline (`unet`, `vae` …), and where it is had.

    `repository` and `revision` are those that the recipe names, wherever the file came from. `license` is
    empty where it is not known.
    """

    role: str
    repository: str
    revision: str
    file: str
    bytes: int = Field(ge=0, lt=2**63)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    license: str = ""


class GeneratorFacts(_Facts):
    """The model that made the images; format 1 knows no licence and no parts."""

    name: str
    revision: str
    dtype: str
    license: str = ""
    parts: list[PartFacts] = Field([], fail_fast=True)


class SignerFacts(_Facts):
    """Who signed the images (C2PA): the subject of the certificate, and what every image has of it.

    `certificates` are in base64 (DER): the signer's, then those that it was issued by.
    """

    subject: str = Field(max_length=1000)
    certificates: list[str] = Field(min_length=1, max_length=8)

    @field_validator("certificates")
    @classmethod
    def _are_base64(cls, certificates: list[str]) -> list[str]:
        for text in certificates:
            base64.b64decode(text, validate=True)
        return certificates

    @property
    def der(self) -> list[bytes]:
        """The certificates as bytes."""
        return [base64.b64decode(text) for text in self.certificates]

    @property
    def fingerprints(self) -> list[str]:
        """The SHA-256 of each certificate, as the recipe states them."""
        return [hashlib.sha256(certificate).hexdigest() for certificate in self.der]


class SkippedFacts(_Facts):
    """A real image that could not be read."""

    id: str
    reason: str


class FilterFacts(_Facts):
    """What the quality gates did: images drawn more than once, draws rejected by which gate.

    `kept_although_rejected` images failed every draw that the recipe allows.
    """

    redrawn: int
    rejected_draws: int
    kept_although_rejected: int
    reasons: dict[str, int]


class DuplicateFacts(_Facts):
    """What `synthkit audit` found among the synthetic images: groups of near duplicates, and images in them.

    `exact` images have the same pixels as another one. audit.json lists the groups.
    """

    similarity: float
    distance: int
    groups: int
    images: int
    exact: int


class AuditFacts(_Facts):
    """What `synthkit audit` found: images suspected to copy a real one; audit.json has the pairs.

    Format 1 knows no `duplicates`.
    """

    images: int
    pool: int
    held_out: int
    similarity: float
    distance: int
    suspected: int
    suspected_of_held_out: int
    exact: int
    duplicates: DuplicateFacts | None = None


class GrownFacts(_Facts):
    """A block of images that an earlier version of the release had, and the environment it was made in."""

    images: int = Field(ge=1, lt=2**63)
    shards: int = Field(ge=1, lt=2**63)
    environment: dict[str, str]


class Partial(_Facts):
    """A preview: the first images of a release that has more."""

    of: int


# What the manifests of format 1 lack.
_LATER: dict[str, Any] = {
    "released": True,
    "c2pa": True,
    "generation_digest": True,
    "container": True,
    "grown": True,
    "source": {"repository": True},
    "generator": {"license": True, "parts": True},
    "audit": {"duplicates": True},
}


class _Version(BaseModel):
    """The one key that every format has."""

    format_version: int


class Manifest(_Facts):
    """The facts of a release: manifest.json, and what the card and the Croissant metadata are made from."""

    format_version: int = Field(FORMAT_VERSION, ge=1)
    name: str = Field(pattern=NAME)
    version: str = Field(pattern=SEMVER)
    summary: str
    license: str
    released: str | None = Field(
        None,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="The day of publishing that the recipe names.",
    )
    repo_id: str | None
    partial: Partial | None
    recipe_digest: str
    generation_digest: str = Field(
        "", description="SHA-256 of all that decides images, however many; empty in format 1."
    )
    source: SourceFacts
    generator: GeneratorFacts
    method: str
    images: int
    width: int = Field(ge=1, le=MAX_EDGE)
    height: int = Field(ge=1, le=MAX_EDGE)
    container: ContainerName = Field("tar", description="What the shards are; format 1 has tars alone.")
    extension: Literal["png", "jpg", "webp"]
    classes: list[ClassFacts] = Field(fail_fast=True)
    c2pa: SignerFacts | None = None
    skipped: list[SkippedFacts] = Field(fail_fast=True)
    filters: FilterFacts | None = None
    audit: AuditFacts | None = None
    grown: list[GrownFacts] = Field(
        [], max_length=MOST_EARLIER, description="The blocks of earlier versions.", fail_fast=True
    )
    environment: dict[str, str] = Field(description="Where the newest block was made.")
    files: list[FileFacts] = Field(fail_fast=True)
    seal: str = Field("", description="SHA-256 of the manifest with this field empty.")

    @field_validator("files")
    @classmethod
    def _one_container(cls, files: list[FileFacts], info: ValidationInfo) -> list[FileFacts]:
        container = info.data.get("container", "tar")
        if container != "tar" and info.data.get("format_version") == 1:
            raise ValueError(f"container is {container}, which format 1 does not have")
        others = [
            file.path for file in files if is_shard(file.path) and PurePath(file.path).suffix[1:] != container
        ]
        if others:
            raise ValueError(f"{others[0]!r} is no shard of this release, whose container is {container}")
        return files

    @property
    def shards(self) -> list[FileFacts]:
        """The shards, in order."""
        return [file for file in self.files if is_shard(file.path)]

    @property
    def digest_in_records(self) -> str:
        """The digest that every record states."""
        return self.recipe_digest if self.format_version == 1 else self.generation_digest

    @property
    def environments(self) -> list[dict[str, str]]:
        """The environment that each block was made in."""
        return [*(block.environment for block in self.grown), self.environment]

    def environment_of(self, index: int) -> dict[str, str]:
        """Return the environment that the image with an index was made in."""
        ends = accumulate(block.images for block in self.grown)
        return self.environments[sum(end <= index for end in ends)]

    def blocks(self) -> Iterator[list[FileFacts]]:
        """Yield the shards of each block."""
        rest = self.shards
        for block in self.grown:
            yield rest[: block.shards]
            rest = rest[block.shards :]
        yield rest

    def block_of(self, shard: int) -> int:
        """Return the block that a shard belongs to."""
        ends = accumulate(block.shards for block in self.grown)
        return sum(end <= shard for end in ends)

    def table_of(self, shard: int) -> str:
        """Return the path of the table that holds the records of a shard."""
        return table_paths(1 + len(self.grown), self.format_version)[self.block_of(shard)]

    def tables(self) -> dict[str, list[int]]:
        """Return the paths of the tables of records, each with the number of images in its shards."""
        paths = table_paths(1 + len(self.grown), self.format_version)
        rows = ([shard.images or 0 for shard in shards] for shards in self.blocks())
        return dict(zip(paths, rows, strict=True))

    @property
    def size(self) -> int:
        """The bytes of all files together; the manifest is not counted."""
        return sum(file.bytes for file in self.files)

    def sealed(self) -> Self:
        """Return the manifest with its seal: a hash over all of it, which no longer fits after an edit."""
        unsealed = self.model_copy(update={"seal": ""})
        return unsealed.model_copy(update={"seal": hashlib.sha256(unsealed.to_json()).hexdigest()})

    def to_json(self) -> bytes:
        """Return the content of manifest.json, indented so that people can read it."""
        later = _LATER if self.format_version == 1 else None
        return self.model_dump_json(indent=2, exclude=later).encode() + b"\n"


def read_manifest(release: Path) -> Manifest:
    """Read the manifest of a release folder.

    Raises ReleaseError if there is no folder, no manifest in it, or a file that is not a manifest.
    """
    path = release / MANIFEST
    if not release.exists():
        hint = f"; synthkit pull {release} brings it from the Hub" if "@" in release.name else ""
        raise ReleaseError(f"{release}: there is no such folder{hint}")
    if not path.is_file():
        raise ReleaseError(f"{release}: is not a release: it has no {MANIFEST}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReleaseError(f"{path}: is too large to be a manifest")
        return parse_manifest(str(path), path.read_bytes())
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror}") from None


def parse_manifest(where: str, raw: bytes) -> Manifest:
    """Read a manifest from a file's bytes.

    Raises ReleaseError, which begins with `where`, if the bytes are not a manifest.
    """
    try:
        version = _Version.model_validate_json(raw).format_version
        if version > FORMAT_VERSION:
            raise ReleaseError(
                f"{where}: has format {version}; this synthkit reads up to {FORMAT_VERSION}: upgrade it"
            )
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        if error.error_count() > _MANY_ERRORS:
            raise ReleaseError(f"{where}: is not a manifest: it has {error.error_count():,} errors") from None
        first = error.errors()[0]
        field = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        what = [*field, first["msg"].removeprefix("Value error, ")]
        raise ReleaseError(f"{where}: is not a manifest: {': '.join(what)}") from None


def leads_elsewhere(release: Path, manifest: Manifest, name: str) -> bool:
    """Return whether a file of a release is a link to something else than what the manifest states.

    The Hub's client and DVC make links too, but to the stated content. A link that a stranger put there may
    lead to any file of this machine, and an error about that file could quote it.
    """
    path = release / name
    if not path.is_symlink():
        return False
    stated = next((file for file in manifest.files if file.path == name), None)
    return (
        stated is None
        or not path.is_file()
        or path.stat().st_size != stated.bytes
        or sha256_of(path) != stated.sha256
    )


def unlisted(release: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what lies in a release folder and is not the release's, hidden files included.

    The release's files are those that its manifest names, the manifest itself, and the signature over it.
    """
    listed = {file.path for file in manifest.files}
    beside = {file.name for file in FILES if not file.in_manifest}
    for path in sorted(release.rglob("*")):
        name = path.relative_to(release).as_posix()
        if name in listed or (name in beside and path.is_file()):
            continue
        if path.is_symlink() or not path.is_dir():
            yield name


def file_facts(root: Path, path: Path) -> FileFacts:
    """Measure and hash a file of a release that is not a shard."""
    name = path.relative_to(root).as_posix()
    return FileFacts(path=name, bytes=path.stat().st_size, sha256=sha256_of(path))
