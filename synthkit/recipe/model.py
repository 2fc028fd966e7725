"""The `model` section of a recipe: the image generator, where it is had, and which one it must be.

A generator may be made of several pieces: the base, an adapter that conditions it on images, an image
encoder, other weights of the UNet. Each is had from a place of its own, and pinned by its content.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from synthkit.config.section import Section
from synthkit.recipe.model_content import is_shard

# A model's licence: the Hub's names of licences, and the names that authors give their own.
LICENSE = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,95}$"
# A path inside a repository.
_INSIDE = r"^[0-9A-Za-z][0-9A-Za-z._+-]{0,99}(/[0-9A-Za-z][0-9A-Za-z._+-]{0,99}){0,7}$"

Mirror = Annotated[str, Field(min_length=1, max_length=1024)]
SafetensorsFile = Annotated[str, Field(pattern=_INSIDE, max_length=1024)]


class Piece(Section):
    """A part of a generator that lies in a place of its own."""

    id: str = Field(min_length=1, max_length=1024, description="A local folder, or a Hub repository.")
    revision: str | None = Field(
        None,
        pattern=r"^[0-9A-Za-z_./-]{1,100}$",
        description="The commit of a Hub repository; a branch moves. Of a folder or a built-in model: its "
        "content hash, as sha256.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="The SHA-256 over the model's files, which must be the one here: any copy of them will "
        "do. `synthkit doctor` prints it.",
    )
    mirrors: list[Mirror] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Other places of the same files, tried in this order after id: Hub repositories "
        "(organisation/name, or organisation/name@revision) and folders. They need sha256.",
        examples=[["organisation/copy-of-the-model"]],
    )
    license: str | None = Field(
        None,
        pattern=LICENSE,
        description="Licence of the model, as the Hub spells it: openrail++, apache-2.0 … By default the one "
        "that its card states; with sha256 it must be given to be stated.",
        examples=["openrail++"],
    )

    @field_validator("mirrors")
    @classmethod
    def _mirrors_are_taken_by_content(
        cls, mirrors: list[str] | None, info: ValidationInfo
    ) -> list[str] | None:
        if mirrors is not None and info.data.get("sha256", "") is None:
            raise ValueError(
                "need sha256 beside them, since a mirror is taken only for a copy of the same files: "
                "`synthkit doctor` prints it where the model is"
            )
        return mirrors


def _in_safetensors(path: str) -> str:
    if not path.endswith(".safetensors"):
        raise ValueError(
            f"is {path!r:.60}, and only .safetensors files are read: other files of weights (.bin, .ckpt, "
            ".pt) are pickles, which can run code"
        )
    return path


class Adapter(Piece):
    """What conditions a base on image embeddings that was not trained with them: an IP-Adapter."""

    file: SafetensorsFile = Field(
        description="Its file of weights, in safetensors, by its path in the repository or folder.",
        examples=["models/ip-adapter_sd15.safetensors"],
    )
    scale: float = Field(
        1.0, ge=0, le=2, description="How much the image counts against the text; 0 is the text alone."
    )

    _safetensors = field_validator("file")(_in_safetensors)


class Encoder(Piece):
    """The image encoder, where the base has none."""

    folder: str = Field(
        "image_encoder",
        pattern=_INSIDE,
        max_length=1024,
        description="Its folder in the repository: it has config.json and the weights.",
        examples=["models/image_encoder"],
    )


class Unet(Piece):
    """Weights of the UNet that take the place of the base's, of a model distilled to few steps, say."""

    file: SafetensorsFile = Field(
        description="Its file of weights, in safetensors, by its path in the repository or folder.",
        examples=["sdxl_lightning_4step_unet.safetensors"],
    )

    _safetensors = field_validator("file")(_in_safetensors)

    @field_validator("file")
    @classmethod
    def _whole(cls, path: str) -> str:
        if is_shard(path.rpartition("/")[2]):
            raise ValueError(f"is {path!r:.60}, one of several files of weights; name one that has them all")
        return path


class Model(Piece):
    """The frozen image generator."""

    id: str = Field(
        min_length=1,
        max_length=1024,
        description="A built-in model (builtin:tiny-unclip-digits or builtin:tiny-unclip-glyphs), "
        "a local folder, or a Hub repository.",
    )
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Arithmetic of the model; float16 needs a GPU."
    )
    adapter: Adapter | None = Field(None, description="An adapter that conditions the model on images.")
    encoder: Encoder | None = Field(None, description="The image encoder, where the model has none.")
    unet: Unet | None = Field(None, description="Other weights of the UNet.")

    @property
    def pieces(self) -> dict[str, Piece]:
        """The pieces of the generator by their names in a recipe: `model`, `model.adapter` …"""
        found: dict[str, Piece | None] = {"model": self}
        found |= {f"model.{name}": getattr(self, name) for name in PIECES}
        return {name: piece for name, piece in found.items() if piece is not None}

    def with_pieces(self, pieces: dict[str, Piece]) -> Model:
        """Return the model with other pieces, by their names; those that are not named stay."""
        base = pieces.get("model", self)
        others = {name: pieces[f"model.{name}"] for name in PIECES if f"model.{name}" in pieces}
        return self.model_copy(update={name: getattr(base, name) for name in Piece.model_fields} | others)


# The fields of a model that are pieces.
PIECES = ("adapter", "encoder", "unet")
