"""The paths and names that a release's recipe may hold: how a build writes them, and what a reader refuses.

A recipe that came with a release was written by a stranger. Whatever it names must lie below the folder that
the command runs in (`release/places.py` checks that), be on the Hub, or be built in. So its paths are
relative and hold no `..`.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from synthkit.recipe.families import HubSourceConfig
from synthkit.recipe.feedback import SECTION as GUIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.recipe.captions import Captions
    from synthkit.recipe.credentials import Credentials
    from synthkit.recipe.feedback import FeedbackClassifier
    from synthkit.recipe.filters import ClassifierConfig
    from synthkit.recipe.model import Model, Piece
    from synthkit.recipe.schema import Recipe
    from synthkit.recipe.source import SourceBase

# Names of readers: `load_dataset("csv")` opens no data set of that name (packaged_modules of datasets 5).
_READERS = re.compile(
    r"buckets/.*|arrow|cache|conll|csv|eval|fasta|fastq|genbank|generator|harbor|hdf5|iceberg|json|lance|mmcif|"
    r"pandas|parquet|pdb|spark|sql|text|tsfile|vortex|webdataset|xml|(image|audio|video|mesh|pdf|nifti)folder"
)
# A commit of the Hub, or the SHA-256 of a folder's content.
_PINNED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|.*(://|::)", re.DOTALL)
_UNSAFE = "\\\u2028\u2029"
_SHOWN = 60


def portable_path(text: str) -> str:
    """Return a path as a release's recipe holds it: a relative one as it is, else its last part alone.

    Characters that are unsafe in a terminal or in a path become `_`.
    """
    if not _path_fault(text):
        return text
    name = "".join("_" if _is_unsafe(character) else character for character in PurePath(text).name)
    return "root" if not name or name == ".." or name.startswith("~") else name


def portable_source(source: SourceBase, data: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a source as a release holds it: its kind first, no paths of this machine."""
    if source.classes is not None:
        # `exclude_none` dropped the classes that None leaves out.
        data["classes"] = source.classes
    data |= portable_places(source)
    return {"kind": data.pop("kind"), **data}


def portable_places(source: SourceBase) -> dict[str, str]:
    """Return the paths of a source as a release's recipe holds them, by field.

    A local data set begins with `./`, so that it is not taken for one on the Hub.
    """
    places = {field: portable_path(path) for field, path in source.places().items()}
    if isinstance(source, HubSourceConfig):
        return {field: path if path.startswith("./") else f"./{path}" for field, path in places.items()}
    return places


def portable_model(model: Model) -> Model:
    """Return a model as a release's recipe holds it.

    A mirror that is a folder elsewhere on this machine is left out: its name alone says nothing to others.
    """
    return model.with_pieces({name: _portable_piece(piece) for name, piece in model.pieces.items()})


def _portable_piece(piece: Piece) -> Piece:
    mirrors = [mirror for mirror in piece.mirrors or () if not _mirror_fault(mirror)]
    return piece.model_copy(update={"id": portable_path(piece.id), "mirrors": mirrors or None})


def unportable(recipe: Recipe) -> Iterator[str]:
    """Yield what a release's recipe may not hold: the key and the reason, one line each. Opens no file."""
    yield from _source_faults(recipe.source, "source")
    if recipe.retrieval is not None:
        yield from _source_faults(recipe.retrieval.source, "retrieval.source")
    pieces = recipe.model.pieces
    for field, piece in pieces.items():
        yield from _piece_faults(field, piece, by_content=len(pieces) > 1)
    if isinstance(recipe.prompts, str):
        yield "prompts: names a file; a release states the prompts themselves"
    if recipe.captions is not None:
        yield from _captions_faults(recipe.captions)
    classifiers = {} if recipe.filters is None else recipe.filters.classifiers
    for name, classifier in classifiers.items():
        yield from _classifier_faults(f"filters.{name}.classifier", classifier)
    if recipe.sampler.feedback is not None:
        yield from _guide_faults(recipe.sampler.feedback.classifier)
    if recipe.output.c2pa is not None:
        yield from _credentials_faults(recipe.output.c2pa)


def _source_faults(source: SourceBase, where: str) -> Iterator[str]:
    for field in source.PATHS:
        text = getattr(source, field)
        if isinstance(text, str):
            yield from _line(f"{where}.{field}", text, _path_fault(text))
    if not isinstance(source, HubSourceConfig):
        return
    if not _path_fault(source.id):
        yield from _line(f"{where}.id", source.id, _id_fault(source.id))
    if source.revision is not None:
        yield from _line(f"{where}.revision", source.revision, _path_fault(source.revision))
    if source.config is not None:
        fault = _path_fault(source.config) or ("holds a slash" if "/" in source.config else "")
        yield from _line(f"{where}.config", source.config, fault)


def _piece_faults(field: str, piece: Piece, *, by_content: bool) -> Iterator[str]:
    """Yield what is wrong with where a piece is; a model in one piece may be named by a commit alone."""
    yield from _line(f"{field}.id", piece.id, _path_fault(piece.id))
    for mirror in piece.mirrors or ():
        yield from _line(f"{field}.mirrors", mirror, _mirror_fault(mirror))
    if piece.sha256 is None and (by_content or piece.revision is None):
        yield f"{field}.sha256: is missing; a release names the content of its model"
    if piece.revision is not None and not _PINNED.fullmatch(piece.revision):
        what = "is neither a commit nor the SHA-256 of a folder"
        yield from _line(f"{field}.revision", piece.revision, what)


def _classifier_faults(where: str, classifier: ClassifierConfig) -> Iterator[str]:
    yield from _line(f"{where}.checkpoint", classifier.checkpoint, _path_fault(classifier.checkpoint))
    # timm also loads `local-dir:/a/folder`.
    yield from _line(f"{where}.network", classifier.network, _path_fault(classifier.network.split(":")[-1]))
    if classifier.sha256 is None:
        yield f"{where}.sha256: is missing; a release names its classifier by the content"


def _guide_faults(classifier: FeedbackClassifier) -> Iterator[str]:
    if classifier.checkpoint is not None:
        fault = _path_fault(classifier.checkpoint)
        yield from _line(f"{GUIDE}.checkpoint", classifier.checkpoint, fault)
    if classifier.sha256 is None:
        yield f"{GUIDE}.sha256: is missing; a release names its classifier by the content"


def _captions_faults(captions: Captions) -> Iterator[str]:
    yield from _line("captions.file", captions.file, _path_fault(captions.file))
    if captions.sha256 is None:
        yield "captions.sha256: is missing; a release names its captions by the content"


def _credentials_faults(credentials: Credentials) -> Iterator[str]:
    for field in ("certificate", "key"):
        if getattr(credentials, field) is not None:
            yield f"output.c2pa.{field}: a release names no file to sign with"
    if credentials.fingerprints is None:
        yield "output.c2pa.fingerprints: is missing; a release names certificates by their content"


def _line(key: str, text: str, fault: str) -> Iterator[str]:
    if fault:
        shown = repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"
        yield f"{key}: {shown} {fault}"


def _path_fault(text: str) -> str:
    """Return why a release's recipe may not hold a path; an empty text if it may."""
    if any(_is_unsafe(character) for character in text):
        return "holds a backslash or a control character"
    if text.startswith("/"):
        return "is an absolute path, and a release's are relative"
    if text.startswith("~"):
        return "begins with ~, and a release's paths are relative to the current folder"
    if ".." in text.split("/"):
        return "climbs with .., and a release's paths stay below the current folder"
    return ""


def _id_fault(text: str) -> str:
    """Return why a release's recipe may not hold the id of a `hub` source; an empty text if it may."""
    if _ADDRESS.match(text):
        return "is an address; name a data set of the Hub (organisation/name) or a relative path (./folder)"
    if _READERS.fullmatch(text):
        return "is the name of a reader of `datasets`, not of a data set; for a folder write ./NAME"
    return ""


def _mirror_fault(text: str) -> str:
    """Return why a release's recipe may not hold a mirror; an empty text if it may."""
    if _ADDRESS.match(text.removeprefix("builtin:")):
        return "is an address; name a repository of the Hub (organisation/name) or a relative path"
    return _path_fault(text)


def _is_unsafe(character: str) -> bool:
    return character in _UNSAFE or unicodedata.category(character) in ("Cc", "Cs")
