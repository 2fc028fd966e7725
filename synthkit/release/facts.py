"""The parts of manifest.json: files, classes, real images, model, signer, gates, audit, blocks."""

from __future__ import annotations

import base64
import hashlib
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthkit.release.files import is_shard

_Length = Annotated[int, Field(ge=1, le=1 << 20)]


class Facts(BaseModel):
    """A part of a manifest; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileFacts(Facts):
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


class ClassFacts(Facts):
    """One class of a release."""

    label: int
    name: str
    group: Literal["many", "medium", "few"]
    real: int = Field(ge=0, lt=2**63)
    synthetic: int = Field(ge=0, lt=2**63)


class SourceFacts(Facts):
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


class RetrievalFacts(SourceFacts):
    """The second source, of which the images were retrieved: the same facts of it, and what was left out.

    `candidates` images could be retrieved, and `candidates_digest` is that over their ids and contents. Of
    the others, `own` are training images of the first source, `held_out` score it (None if those were not
    there to compare with), and `repeated` have the content of another one. `skipped` more could not be read.
    """

    candidates: int = Field(ge=0, lt=2**63)
    candidates_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    own: int = Field(ge=0, lt=2**63)
    held_out: int | None = Field(ge=0, lt=2**63)
    repeated: int = Field(ge=0, lt=2**63)
    skipped: int = Field(ge=0, lt=2**63)


class PoolImage(Facts):
    """A real image of a few-shot pool."""

    id: str
    label: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PartFacts(Facts):
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


class GeneratorFacts(Facts):
    """The model that made the images; format 1 knows no licence and no parts.

    `embedding` is the shape [T, D] of the embeddings that it is conditioned on, if they have T tokens; the
    manifest of any other release lacks the key.
    """

    name: str
    revision: str
    dtype: str
    license: str = ""
    parts: list[PartFacts] = Field([], fail_fast=True)
    embedding: tuple[_Length, _Length] | None = None


class PromptFacts(Facts):
    """Of how many templates a seed draws the prompt: in the class with the fewest, and in that with the most.

    `captions` is the SHA-256 of the file whose captions are filled in.
    """

    fewest: int = Field(ge=1, lt=2**31)
    most: int = Field(ge=1, lt=2**31)
    captions: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class TokenFacts(Facts):
    """Tokens that were learned from the real images of each class: tokens.safetensors.

    `sha256` is the file's content; `made_from` is over what each of its tokens was made from, which the file
    states: the real images of its class, the model and the settings.
    """

    classes: int = Field(ge=0, lt=2**31)
    vectors: int = Field(ge=1, lt=2**10)
    steps: int = Field(ge=1, lt=2**31)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    made_from: str = Field(pattern=r"^[0-9a-f]{64}$")


class FeedbackFacts(Facts):
    """A classifier that guided the images, as the recipe says it: classifier.safetensors has its weights.

    `sha256` is the file's content. `steps` is how many steps it was trained for on the real images; None if
    its weights came from a file.
    """

    criterion: Literal["entropy", "loss"]
    scale: float = Field(ge=0)
    every: int = Field(ge=1, lt=2**31)
    network: str = Field(max_length=100)
    steps: int | None = Field(None, ge=1, lt=2**31)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SignerFacts(Facts):
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


class SkippedFacts(Facts):
    """A real image that could not be read."""

    id: str
    reason: str


class PreferFacts(Facts):
    """What `filters.prefer` did, of `each` draws of every image.

    `drawn` draws were made in all. Of `right` images the kept draw is right, of the others no draw was; of
    `later` images another draw than the first was kept.
    """

    each: int
    drawn: int
    right: int
    later: int


class FilterFacts(Facts):
    """What the filters did: images drawn again because no draw passed, draws rejected by which gate.

    `kept_although_rejected` images failed every draw that the recipe allows. Only manifests of releases whose
    draws were chosen from have the key `prefer`.
    """

    redrawn: int
    rejected_draws: int
    kept_although_rejected: int
    reasons: dict[str, int]
    prefer: PreferFacts | None = None


class DuplicateFacts(Facts):
    """What `synthkit audit` found among the synthetic images: groups of near duplicates, and images in them.

    `exact` images have the same pixels as another one. audit.json lists the groups.
    """

    similarity: float
    distance: int
    groups: int
    images: int
    exact: int


class AuditFacts(Facts):
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


class GrownFacts(Facts):
    """A block of images that an earlier version of the release had, and the environment it was made in."""

    images: int = Field(ge=1, lt=2**63)
    shards: int = Field(ge=1, lt=2**63)
    environment: dict[str, str]


class Partial(Facts):
    """A preview: the first images of a release that has more."""

    of: int
