"""manifest.json: what a release is and every file in it, with size and SHA-256."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from itertools import accumulate, islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from synthkit.errors import ReleaseError, did_you_mean
from synthkit.recipe.conditioning import ImageScale, Strength  # noqa: TC001 (pydantic reads the annotation)
from synthkit.recipe.grown import MOST_EARLIER
from synthkit.recipe.output import MAX_EDGE, ContainerName
from synthkit.recipe.schema import NAME, SEMVER
from synthkit.release.facts import (
    AuditFacts,
    ClassFacts,
    Facts,
    FeedbackFacts,
    FileFacts,
    FilterFacts,
    GeneratorFacts,
    GrownFacts,
    Partial,
    PromptFacts,
    RetrievalFacts,
    SignerFacts,
    SkippedFacts,
    SourceFacts,
    TokenFacts,
)
from synthkit.release.files import FILES, MANIFEST, is_shard, table_paths
from synthkit.system.files import sha256_of
from synthkit.version import FORMAT_VERSION, NEWEST_FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator

# The largest manifest that is read: room for 150,000 shards.
MAX_BYTES = 1 << 25
# So many entries of a folder are looked at for the name that was meant.
_MOST_ENTRIES = 1000
# A manifest with more errors than this is refused without listing them.
_MANY_ERRORS = 1000


# What the manifests of format 1 lack.
_LATER: dict[str, Any] = {
    "released": True,
    "c2pa": True,
    "generation_digest": True,
    "container": True,
    "grown": True,
    "source": {"repository": True},
    "generator": {"license": True, "parts": True, "embedding": True},
    "audit": {"duplicates": True},
}
# What all manifests lack but those of generators that are conditioned on tokens.
_OF_TOKENS: dict[str, Any] = {"generator": {"embedding": True}}
# Where one prompt without a caption is all there is.
_OF_PROMPTS: dict[str, Any] = {"prompts": True}
# Where images begin from noise alone.
_OF_STRENGTH: dict[str, Any] = {"strength": True}
# Where an image's weight is not one of several.
_OF_SCALE: dict[str, Any] = {"scale": True}
# Where images are generated.
_OF_RETRIEVAL: dict[str, Any] = {"retrieval": True}
# Where prompts have the names of classes.
_OF_LEARNED: dict[str, Any] = {"tokens": True}
# Where no classifier guides.
_OF_FEEDBACK: dict[str, Any] = {"feedback": True}
# Where no page is published beside it.
_OF_PAGE: dict[str, Any] = {"page": True}
# Where every image is the first draw that passes.
_OF_CANDIDATES: dict[str, Any] = {"filters": {"prefer": True}}


class _Version(BaseModel):
    """The one key that every format has."""

    format_version: int


class Manifest(Facts):
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
    page: bool = Field(False, description="Whether a page of it is published, which the card links.")
    partial: Partial | None
    recipe_digest: str
    generation_digest: str = Field(
        "", description="SHA-256 of all that decides images, however many; empty in format 1."
    )
    source: SourceFacts
    generator: GeneratorFacts
    method: str
    strength: Strength | None = Field(None, description="Where images begin from real ones: how noised.")
    scale: ImageScale | None = Field(
        None, description="Where the weight of an image against the text is one of several: of which."
    )
    retrieval: RetrievalFacts | None = Field(
        None, description="Where images are retrieved: the source that they are of."
    )
    prompts: PromptFacts | None = Field(None, description="Where prompts are drawn or have captions.")
    tokens: TokenFacts | None = Field(None, description="Where prompts have tokens that were learned.")
    feedback: FeedbackFacts | None = Field(None, description="Where a classifier guided the images.")
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
    def pool_digest(self) -> str:
        """The digest of the images that could be retrieved; empty if images are generated."""
        return "" if self.retrieval is None else self.retrieval.candidates_digest

    @property
    def what(self) -> str:
        """What its images are: `synthetic` or `retrieved`."""
        return "synthetic" if self.retrieval is None else "retrieved"

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
        left_out = dict(_LATER) if self.format_version == 1 else {}
        # So are the manifests that were written before these came.
        if self.generator.embedding is None and self.format_version > 1:
            left_out |= _OF_TOKENS
        if self.prompts is None:
            left_out |= _OF_PROMPTS
        if self.strength is None:
            left_out |= _OF_STRENGTH
        if self.scale is None:
            left_out |= _OF_SCALE
        if self.retrieval is None:
            left_out |= _OF_RETRIEVAL
        if self.tokens is None:
            left_out |= _OF_LEARNED
        if self.feedback is None:
            left_out |= _OF_FEEDBACK
        if not self.page:
            left_out |= _OF_PAGE
        if self.filters is not None and self.filters.prefer is None:
            left_out |= _OF_CANDIDATES
        return self.model_dump_json(indent=2, exclude=left_out).encode() + b"\n"


def read_manifest(release: Path) -> Manifest:
    """Read the manifest of a release folder.

    Raises ReleaseError if there is no folder, no manifest in it, or a file that is not a manifest.
    """
    path = release / MANIFEST
    if not release.exists():
        hint = f"; synthkit pull {release} brings it from the Hub" if "@" in release.name else ""
        raise ReleaseError(f"{release}: there is no such folder{near_release(release)}{hint}")
    if not path.is_file():
        raise ReleaseError(f"{release}: is not a release: it has no {MANIFEST}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReleaseError(f"{path}: is too large to be a manifest")
        return parse_manifest(str(path), path.read_bytes())
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror}") from None


def near_release(missing: Path) -> str:
    """Return a release in the folder of one that is missing, or in `releases`, as a question in brackets."""
    for folder in dict.fromkeys((missing.parent, Path("releases"))):
        with suppress(OSError):
            names = [
                path.name for path in islice(folder.iterdir(), _MOST_ENTRIES) if (path / MANIFEST).is_file()
            ]
            prefix = "" if folder == Path() else f"{folder}/"
            if hint := did_you_mean(missing.name, names, prefix):
                return hint
    return ""


def parse_manifest(where: str, raw: bytes) -> Manifest:
    """Read a manifest from a file's bytes.

    Raises ReleaseError, which begins with `where`, if the bytes are not a manifest.
    """
    try:
        version = _Version.model_validate_json(raw).format_version
        if version > NEWEST_FORMAT:
            raise ReleaseError(
                f"{where}: has format {version}; this synthkit reads up to {NEWEST_FORMAT}: upgrade it"
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
