"""croissant.json of a release, its metadata for machines: a pure function of the manifest.

Its record set joins the images in the tars, by key, with the columns of the tables of records. Parquet shards
have both in one row.

Source: MLCommons Croissant 1.1. `responsible.py` has the RAI properties, `lineage.py` the provenance.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import msgspec

from synthkit.release.citation import about, data_set, paper_of
from synthkit.release.containers import CONTAINERS, container_of
from synthkit.release.files import RECORDS, is_data, is_table, shard_pattern
from synthkit.release.format_1 import croissant_1
from synthkit.release.hub_address import account_url, dataset_url
from synthkit.release.licenses import license_url
from synthkit.release.lineage import derived_from, generated_by
from synthkit.release.records import KINDS
from synthkit.release.responsible import responsible_ai

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.release.facts import FileFacts
    from synthkit.release.manifest import Manifest

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
KEYWORDS = ("synthetic", "image classification", "diffusion model")
KEYWORDS_OF_RETRIEVED = ("retrieved", "image classification")
_MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_TERMS = (
    "annotation",
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "excludes",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "readLines",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "sdVersion",
    "separator",
    "source",
    "subField",
    "transform",
    "unArchive",
    "value",
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
# Types of the plain columns of the provenance, in the order in which the file has them.
_TYPES = {
    msgspec.inspect.IntType: "sc:Integer",
    msgspec.inspect.FloatType: "sc:Float",
    msgspec.inspect.StrType: "sc:Text",
}
# Nested columns. `crops`, a list of lists, is left out: mlcroissant cannot read it.
_LISTS = (
    ("source_ids", "sc:Text", "sources", "$[*].id"),
    ("source_sha256", "sc:Text", "sources", "$[*].sha256"),
    ("region", "sc:Integer", "region", None),
    ("rejected", "sc:Text", "rejected", None),
)
_LISTS_SINCE_FORMAT_2 = (
    ("score_names", "sc:Text", "scores", "$[*].name"),
    ("score_values", "sc:Float", "scores", "$[*].value"),
    ("score_nearest", "sc:Text", "scores", "$[*].nearest"),
)
_LISTS_OF_CANDIDATES = (
    ("candidate_attempts", "sc:Integer", "candidates", "$[*].attempt"),
    ("candidate_ranks", "sc:Integer", "candidates", "$[*].rank"),
    ("candidate_log_odds", "sc:Float", "candidates", "$[*].log_odds"),
)


def render_croissant(manifest: Manifest) -> bytes:
    """Return the content of croissant.json, indented so that people can read it."""
    return json.dumps(describe(manifest), indent=2, ensure_ascii=False).encode() + b"\n"


def describe(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON-LD document; what is not known is left out, or said to be unknown."""
    document = {
        "@context": deepcopy(_CONTEXT),  # mlcroissant changes the one that it is given
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": manifest.name,
        "description": manifest.summary or about(manifest),
        "version": manifest.version,
        **({"datePublished": manifest.released} if manifest.released else {}),
        "license": license_url(manifest.license),
        "citeAs": data_set(manifest),
        "citation": paper_of(manifest.method).bibtex,
        "keywords": [
            *(KEYWORDS if manifest.retrieval is None else KEYWORDS_OF_RETRIEVED),
            paper_of(manifest.method).method,
        ],
        **(_publisher(manifest.repo_id) if manifest.repo_id else {}),
        "isLiveDataset": False,
        "prov:wasDerivedFrom": derived_from(manifest),
        "prov:wasGeneratedBy": generated_by(manifest),
        **responsible_ai(manifest),
        **_structure(manifest),
    }
    return croissant_1(document, manifest.license) if manifest.format_version == 1 else document


def _structure(manifest: Manifest) -> dict[str, Any]:
    """Return the files that are data and what they hold: the document's `distribution` and `recordSet`."""
    files = [_file(file) for file in manifest.files if is_data(file.path)]
    if manifest.container == "parquet":
        return {"distribution": [*files, _SHARDS], "recordSet": [_record_set_of_shards(manifest)]}
    tables = [file.path for file in manifest.files if is_table(file.path)]
    sets = [_images(manifest)] if len(tables) == 1 else [_images(manifest), _TABLES]
    return {"distribution": [*files, *sets], "recordSet": [_record_set(manifest, _rows_of(tables))]}


def _publisher(repo_id: str) -> dict[str, Any]:
    creator = {"@type": "sc:Organization", "name": repo_id.partition("/")[0], "url": account_url(repo_id)}
    return {"url": dataset_url(repo_id), "creator": creator}


def _file(file: FileFacts) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-parquet"
        if file.images is None
        else container_of(file.path).media_type,
        "sha256": file.sha256,
    }


def _media_type(file: FileFacts) -> str:
    return CONTAINERS["parquet"].media_type if file.images is None else container_of(file.path).media_type


def _images(manifest: Manifest) -> dict[str, Any]:
    inside = [{"@id": shard.path} for shard in manifest.shards]
    return {
        "@type": "cr:FileSet",
        "@id": "image-files",
        "name": "image-files",
        "description": "The images of all shards; KEY.cls and KEY.json beside them hold label and "
        "provenance.",
        "containedIn": inside if len(inside) > 1 else inside[0],
        "encodingFormat": _MEDIA[manifest.extension],
        "includes": f"*.{manifest.extension}",
    }


# Of a release that grew: one table for each block. Not `containedIn` the files above: of files that are no
# archives, mlcroissant 1.1.1 reads no set ("did not set output for Concatenate").
_TABLES = {
    "@type": "cr:FileSet",
    "@id": "record-files",
    "name": "record-files",
    "description": "The tables of records of all blocks.",
    "encodingFormat": "application/x-parquet",
    "includes": RECORDS,
}


# The shards of a release in Parquet, each a table of images and records.
_SHARDS = {
    **_TABLES,
    "@id": "shard-files",
    "name": "shard-files",
    "description": "The shards: images with their labels and records.",
    "includes": shard_pattern("parquet"),
}


def _rows_of(tables: list[str]) -> dict[str, Any]:
    """Return the part of a field's source that names the table, or the tables, of records."""
    return {"fileObject": {"@id": tables[0]}} if len(tables) == 1 else {"fileSet": {"@id": _TABLES["@id"]}}


def _record_set(manifest: Manifest, rows: dict[str, Any]) -> dict[str, Any]:
    image = {"fileSet": {"@id": "image-files"}}
    key = _field("key", "sc:Text", {**image, "extract": {"fileProperty": "filename"}})
    key["source"]["transform"] = {"regex": "^([0-9]+)"}
    key["references"] = {**rows, "extract": {"column": "key"}}
    content = _field("image", "sc:ImageObject", {**image, "extract": {"fileProperty": "content"}})
    return _records(manifest, rows, key, content)


def _record_set_of_shards(manifest: Manifest) -> dict[str, Any]:
    rows = {"fileSet": {"@id": _SHARDS["@id"]}}
    key = _field("key", "sc:Text", {**rows, "extract": {"column": "key"}})
    content = {**rows, "extract": {"column": "image"}, **_transform("bytes")}
    return _records(manifest, rows, key, _field("image", "sc:ImageObject", content))


def _records(
    manifest: Manifest, rows: dict[str, Any], key: dict[str, Any], content: dict[str, Any]
) -> dict[str, Any]:
    """Return the record set: key and image, and the columns of `rows`, the part of a source with records."""

    def column(name: str) -> dict[str, Any]:
        return {**rows, "extract": {"column": name}}

    columns = [_field(name, kind, column(name)) for name, kind in _plain_columns(manifest.format_version)]
    lists = [
        {**_field(name, kind, column(of) | _transform(path)), "repeated": True}
        for name, kind, of, path in _lists(manifest.format_version)
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": f"One record per {manifest.what} image of {len(manifest.classes)} classes, with its "
        "provenance.",
        "key": {"@id": "images/key"},
        "field": [key, content, *columns, *lists],
    }


def _plain_columns(form: int) -> Iterator[tuple[str, str]]:
    """Yield the name and type of every column of the records that is a number or a text, but the key."""
    info = msgspec.inspect.type_info(KINDS[form])
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 (for the type checker)
    for kind, name in _TYPES.items():
        fields = (field.name for field in info.fields if isinstance(field.type, kind))
        yield from ((field, name) for field in fields if field != "key")


def _lists(form: int) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield the name and type of every nested column, the column of the table, and the path in it."""
    yield from _LISTS
    if form > 1:
        yield from _LISTS_SINCE_FORMAT_2
    if "candidates" in KINDS[form].__struct_fields__:
        yield from _LISTS_OF_CANDIDATES


def _field(name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": f"images/{name}",
        "dataType": kind,
        "source": source,
    }


def _transform(path: str | None) -> dict[str, Any]:
    return {"transform": {"jsonPath": path}} if path else {}
