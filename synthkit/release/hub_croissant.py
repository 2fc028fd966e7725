"""A release's metadata written into the Croissant file that the Hub generates for its repository.

The Hub serves that file at /api/datasets/ORGANISATION/NAME/croissant. It describes the Parquet files that the
Hub exports, and knows neither where the images come from nor their limits.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from synthkit.errors import ReleaseError
from synthkit.release.croissant import describe
from synthkit.release.hub_address import HUB, dataset_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.release.manifest import Manifest

# The largest file that is read: the Hub's for a hundred configurations has less than 1 MB.
MAX_BYTES = 1 << 25
# What the ids of our files and record sets begin with. The Hub's ids have no slash.
_OURS = "synthkit/"
_REPOSITORY = re.compile(re.escape(HUB) + r"/datasets/([0-9A-Za-z_.-]{1,96}/[0-9A-Za-z_.-]{1,96})/?")
_DATASET = (
    "sc:Dataset",
    "Dataset",
    "schema:Dataset",
    "https://schema.org/Dataset",
    "http://schema.org/Dataset",
)
# What the Hub knows as well, or better: it stays if it is there.
_THEIRS = ("@context", "@type", "name", "url", "keywords", "distribution", "recordSet")


def read_croissant(path: Path) -> dict[str, Any]:
    """Read a Croissant file. Raises ReleaseError, which names the file, if it is not one or too large."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ReleaseError(f"{path}: is too large to be a Croissant file (more than {MAX_BYTES >> 20} MiB)")
    try:
        document = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ReleaseError(f"{path}: is not a Croissant file: it is not JSON, or nested too deeply") from None
    fault = _fault_in(document)
    if fault:
        raise ReleaseError(f"{path}: is not a Croissant file: {fault}")
    return document  # type: ignore[no-any-return]


def merged(theirs: dict[str, Any], where: str, release: Path, manifest: Manifest) -> bytes:
    """Return the Hub's document with what the release states, as the content of a file.

    What the release knows wins: description, version, date, licence, citation, creator, provenance, RAI. The
    Hub's files and record sets stay, and the release's are added, with ids that begin with `synthkit/`; those
    that an earlier call added are replaced. Raises ReleaseError, which begins with `where`, if the document
    is about another data set, or gives a term that is needed another meaning.
    """
    if manifest.partial is not None:
        raise ReleaseError(f"{release}: is a preview, which is not published: build it without --limit")
    manifest = manifest.model_copy(update={"repo_id": _repository(theirs, where, manifest)})
    ours = describe(manifest)
    both = {
        **theirs,
        **{name: value for name, value in ours.items() if name not in _THEIRS or name not in theirs},
    }
    both["@context"] = _context(theirs, ours, where)
    both["distribution"] = [*_kept(theirs, "distribution"), *_files(ours, manifest)]
    both["recordSet"] = [*_kept(theirs, "recordSet"), *map(_renamed, _nodes(ours, "recordSet"))]
    return json.dumps(both, indent=2, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _fault_in(document: Any) -> str:
    """Return why a document is not a Croissant file; empty if it is one."""
    if not isinstance(document, dict):
        return "it is not a JSON object"
    if not isinstance(document.get("@context"), dict):
        return "its @context is not an object"
    if document.get("@type") not in _DATASET:
        return "its @type is not sc:Dataset"
    conforms = document.get("conformsTo") or document.get("dct:conformsTo")
    stated = conforms if isinstance(conforms, list) else [conforms]
    if not any(
        isinstance(word, str) and word.startswith("http://mlcommons.org/croissant/") for word in stated
    ):
        return "its conformsTo names no version of Croissant"
    for name in ("distribution", "recordSet"):
        if not all(isinstance(node, dict) for node in _nodes(document, name)):
            return f"its {name} is not a list of objects"
    return ""


def _nodes(document: dict[str, Any], name: str) -> list[Any]:
    """Return the values of a property, which JSON-LD allows to be one, a list of several, or missing."""
    value = document.get(name, [])
    return value if isinstance(value, list) else [value]


def _repository(theirs: dict[str, Any], where: str, manifest: Manifest) -> str:
    """Return the repository that the Hub's document describes."""
    url = theirs.get("url")
    found = _REPOSITORY.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise ReleaseError(
            f"{where}: its url names no data set on the Hub ({HUB}/datasets/ORGANISATION/NAME)"
        )
    if manifest.repo_id not in (None, found[1]):
        raise ReleaseError(f"{where}: describes {found[1]}; the release is published in {manifest.repo_id}")
    return found[1]


def _context(theirs: dict[str, Any], ours: dict[str, Any], where: str) -> dict[str, Any]:
    for term, meaning in ours["@context"].items():
        if theirs["@context"].get(term, meaning) != meaning:
            raise ReleaseError(
                f"{where}: its @context gives {term} another meaning than Croissant's own context"
            )
    return {**ours["@context"], **theirs["@context"]}


def _kept(theirs: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [node for node in _nodes(theirs, name) if not str(node.get("@id", "")).startswith(_OURS)]


def _files(ours: dict[str, Any], manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield our files, at their addresses on the Hub: the document is not beside them."""
    base = f"{dataset_url(str(manifest.repo_id))}/resolve/v{manifest.version}"
    for node in _nodes(ours, "distribution"):
        if "contentUrl" in node:
            node = node | {"contentUrl": f"{base}/{node['contentUrl']}"}  # noqa: PLW2901
        elif "containedIn" not in node:
            # A set of files that lie beside the document: the files that its pattern fits.
            names = (file["@id"] for file in ours["distribution"])
            inside = [{"@id": name} for name in names if fnmatchcase(name, node["includes"])]
            node = node | {"containedIn": inside}  # noqa: PLW2901
        yield _renamed(node)


def _renamed(node: Any) -> Any:
    """Return a node whose ids, and those that it refers to, begin with `synthkit/`."""
    if isinstance(node, dict):
        return {name: f"{_OURS}{value}" if name == "@id" else _renamed(value) for name, value in node.items()}
    return [_renamed(item) for item in node] if isinstance(node, list) else node
