"""croissant.json of a release, its metadata for machines: a pure function of the manifest.

Its record set joins the images in the tars, by key, with the columns of provenance/train.parquet.

Source: MLCommons Croissant format 1.0 and its responsible-AI vocabulary 1.0.
"""

# ruff: noqa: E501 (sentences)

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from synthkit.conditioning import METHODS
from synthkit.release.files import is_data
from synthkit.release.marks import SOURCE_TYPE
from synthkit.release.records import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.release.manifest import FileFacts, Manifest

_MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_CR = "cr:"
_TERMS = (
    "citeAs",
    "equivalentProperty",
    "samplingRate",
    "column",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"{_CR}{term}" for term in _TERMS},
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


def render_croissant(manifest: Manifest) -> bytes:
    """Return the content of croissant.json, indented so that people can read it."""
    return json.dumps(describe(manifest), indent=2, ensure_ascii=False).encode() + b"\n"


def describe(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON-LD document; the files of the manifest that are data are its distribution."""
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": manifest.name,
        "description": manifest.summary or "Synthetic training images made by augmented conditioning.",
        "version": manifest.version,
        "license": manifest.license,
        "citeAs": "Chen, Zhang, Romero-Soriano: Augmented Conditioning Is Enough For Effective Training "
        "Image Generation. arXiv 2502.04475 (2025). (The method; this data set was made with synthkit.)",
        **({"url": f"https://huggingface.co/datasets/{manifest.repo_id}"} if manifest.repo_id else {}),
        **_responsible(manifest),
        "distribution": [*(_file(file) for file in manifest.files if is_data(file.path)), _images(manifest)],
        "recordSet": [_record_set(manifest)],
    }


def _file(file: FileFacts) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-tar" if file.images is not None else "application/x-parquet",
        "sha256": file.sha256,
    }


def _images(manifest: Manifest) -> dict[str, Any]:
    inside = [{"@id": shard.path} for shard in manifest.shards]
    return {
        "@type": "cr:FileSet",
        "@id": "image-files",
        "name": "image-files",
        "description": "The images of all shards; KEY.cls and KEY.json beside them hold label and provenance.",
        "containedIn": inside if len(inside) > 1 else inside[0],
        "encodingFormat": _MEDIA[manifest.extension],
        "includes": f"*.{manifest.extension}",
    }


def _record_set(manifest: Manifest) -> dict[str, Any]:
    image = {"fileSet": {"@id": "image-files"}}
    key = _field("key", "sc:Text", {**image, "extract": {"fileProperty": "filename"}})
    key["source"]["transform"] = {"regex": "^([0-9]+)"}
    table = next(iter(manifest.tables()))
    key["references"] = _column(table, "key")
    content = _field("image", "sc:ImageObject", {**image, "extract": {"fileProperty": "content"}})
    columns = [
        _field(name, kind, _column(table, name)) for name, kind in _plain_columns(manifest.format_version)
    ]
    lists = [
        {**_field(name, kind, _column(table, column) | _transform(path)), "repeated": True}
        for name, kind, column, path in _LISTS
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": f"One record per synthetic image of {len(manifest.classes)} classes, with its provenance.",
        "key": {"@id": "images/key"},
        "field": [key, content, *columns, *lists],
    }


def _plain_columns(form: int) -> Iterator[tuple[str, str]]:
    """Yield the name and type of every column of the provenance that is a number or a text, but the key."""
    info = msgspec.inspect.type_info(KINDS[form])
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101 (for the type checker)
    for kind, name in _TYPES.items():
        fields = (field.name for field in info.fields if isinstance(field.type, kind))
        yield from ((field, name) for field in fields if field != "key")


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


def _column(table: str, name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": table}, "extract": {"column": name}}


def _responsible(manifest: Manifest) -> dict[str, str]:
    """Return what a user should know of the images' origin and limits, in the terms of the RAI vocabulary."""
    source, generator = manifest.source, manifest.generator
    real = sum(item.real for item in manifest.classes)
    return {
        "rai:dataCollection": f"None of the images is a photograph: all were generated ({SOURCE_TYPE}) by the "
        f"frozen model {generator.name} at {generator.revision}, conditioned on {source.images:,} real images "
        f"({source.kind}) by {manifest.method}: {METHODS[manifest.method].formula}. Each record names its real "
        "images by relative id and SHA-256, and the seed.",
        "rai:dataCollectionType": "Synthetic data: generated by a diffusion model",
        "rai:dataCollectionRawData": source.available_from
        or f"{source.images:,} real images ({source.kind})",
        "rai:dataAnnotationProtocol": "The label of an image is the class of the real images that it was "
        "conditioned on and of its prompt; no person has looked at it.",
        "rai:dataPreprocessingProtocol": f"recipe.yaml, digest {manifest.recipe_digest}",
        "rai:dataUseCases": "Training image classifiers together with real images. Not for judging how a "
        "classifier does on real images.",
        "rai:dataLimitations": "Images can show their class wrongly, repeat what the model and the real images "
        "are biased to, and resemble the real images that they were conditioned on.",
        "rai:dataBiases": f"Those of the model and of the real images; these were unbalanced ({real:,} images, "
        f"{min(c.real for c in manifest.classes):,} to {max(c.real for c in manifest.classes):,} a class).",
        "rai:personalSensitiveInformation": "The data set names no person; what the real images show, synthetic "
        "ones may resemble.",
    }
