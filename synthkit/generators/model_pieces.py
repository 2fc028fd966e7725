"""Which files a piece of a model has: of the base, an adapter, an image encoder, other weights of the UNet.

All pieces together make one folder that a family loads from (`loaded_path` says where a file lies there).
What one piece brings, no other does: with an encoder of its own, the base's is left out.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from synthkit.errors import GeneratorError
from synthkit.generators.model_files import (
    CONFIGURATION,
    INDEX,
    component_files,
    components,
    files_of,
    is_whole,
    read_index_of,
    unread_weights,
)
from synthkit.recipe.model import Adapter, Encoder, Unet
from synthkit.recipe.model_content import ADAPTER, BESIDE_ENCODER, ENCODER, UNET, loaded_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from synthkit.recipe.model import Model, Piece


class File(NamedTuple):
    """A file of a piece: the component that it belongs to, and its path in its repository or folder."""

    role: str
    path: str


class Listing(Protocol):
    """The files of a folder or of a repository."""

    @property
    def name(self) -> str:
        """How errors call it."""
        ...

    def below(self, folder: str) -> Collection[str]:
        """Return the names of the files that lie directly in a folder; an empty text is the top."""
        ...

    def index(self) -> dict[str, Any]:
        """Return what its model_index.json says. Raises GeneratorError if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of a folder of this machine."""

    folder: Path
    name: str

    def below(self, folder: str) -> list[str]:
        """Return the names of the files that lie directly in a folder."""
        try:
            return os.listdir(self.folder / folder)  # noqa: PTH208 (links that lead nowhere count)
        except OSError:
            return []

    def index(self) -> dict[str, Any]:
        """Return what its model_index.json says. Raises GeneratorError if there is none."""
        return read_index_of(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A piece that is looked for: its name in the recipe, its section, and the model that it belongs to."""

    field: str
    piece: Piece
    model: Model

    @property
    def sign(self) -> str:
        """A file by which a folder is known to hold the piece, or some of it."""
        match self.piece:
            case Adapter(file=file) | Unet(file=file):
                return file
            case Encoder(folder=folder):
                return f"{folder}/{CONFIGURATION}"
        return INDEX

    def files(self, listing: Listing) -> dict[str, File]:
        """Return the files of the piece, by their paths in the folder that a family loads from, in order.

        Raises GeneratorError if the place does not have it.
        """
        match self.piece:
            case Adapter(file=file):
                found = [File(ADAPTER, self._file(listing, file))]
            case Unet(file=file):
                found = [File(UNET, self._file(listing, file))]
            case Encoder(folder=folder):
                found = self._encoder(listing, folder)
            case _:
                found = self._base(listing)
        return dict(sorted((loaded_path(file.role, file.path), file) for file in found))

    def is_whole(self, files: Mapping[str, File]) -> bool:
        """Return whether no weights are missing beside a configuration."""
        return is_whole(files, UNET if self.model.unet else "")

    def _base(self, listing: Listing) -> list[File]:
        index = listing.index()
        there = {INDEX: INDEX}
        for component, library in components(index):
            names = listing.below(component)
            if self._is_the_bases(component, ""):
                self._check_weights(listing, component, names, library)
            there |= {f"{component}/{name}": name for name in names}
        files = files_of(index, there)
        return [File(role, path) for path, role in files.items() if self._is_the_bases(role, there[path])]

    def _is_the_bases(self, role: str, name: str) -> bool:
        """Return whether a file of the base is used, and no other piece brings it."""
        if role in (ENCODER, *BESIDE_ENCODER):
            return self.model.encoder is None
        return not (self.model.unet is not None and role == UNET and name != CONFIGURATION)

    def _encoder(self, listing: Listing, folder: str) -> list[File]:
        names = listing.below(folder)
        self._check_weights(listing, folder, names)
        own = component_files(names, "transformers")
        if CONFIGURATION not in own:
            raise GeneratorError(
                f"{self.field}.folder: {listing.name} has no {folder}/{CONFIGURATION}; "
                "name the folder of the image encoder (of h94/IP-Adapter: models/image_encoder)"
            )
        found = [File(ENCODER, f"{folder}/{name}") for name in own]
        parent = folder.rpartition("/")[0]
        for role in BESIDE_ENCODER:
            beside = f"{parent}/{role}" if parent else role
            names = listing.below(beside)
            self._check_weights(listing, beside, names)
            found += [File(role, f"{beside}/{name}") for name in component_files(names)]
        return found

    def _file(self, listing: Listing, path: str) -> str:
        folder, _, name = path.rpartition("/")
        names = listing.below(folder)
        if name in names:
            return path
        near = difflib.get_close_matches(name, [name for name in names if name.endswith(".safetensors")], 1)
        raise GeneratorError(
            f"{self.field}.file: {listing.name} has no {path}"
            + (f"; did you mean {path.removesuffix(name)}{near[0]}?" if near else "; correct its path")
        )

    def _check_weights(
        self, listing: Listing, folder: str, names: Collection[str], library: str = ""
    ) -> None:
        """Refuse weights that are not read: variants, and pickles, which can run code."""
        unread = unread_weights(names, library)
        if not unread:
            return
        told = f"{self.field}.id: {listing.name} has the weights of {folder} only as {unread:.100}"
        if unread.endswith(".safetensors"):
            raise GeneratorError(
                f"{told}, a variant, and variants are not read; name a copy that has them under "
                "the usual name (diffusion_pytorch_model.safetensors, or model.safetensors of transformers)"
            )
        raise GeneratorError(
            f"{told}, a pickle, which can run code; name a copy that has them in safetensors"
        )


def wanted(model: Model) -> list[Wanted]:
    """Return the pieces of a model, the base first."""
    return [Wanted(field, piece, model) for field, piece in model.pieces.items()]
