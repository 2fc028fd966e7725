"""The YAML at the top of a card: what the Hub shows and filters by, and the types that `datasets` loads.

Source: the Hub's dataset card specification (github.com/huggingface/hub-docs, datasetcard.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.conditioning import METHODS
from synthkit.release.files import SPLIT, shard_pattern
from synthkit.release.format_1 import front_matter_1
from synthkit.release.records import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from synthkit.release.manifest import Manifest

# What the Hub calls the containers; Parquet it finds by itself.
_TAGS = {"tar": ["webdataset"], "parquet": []}
# The Hub's size categories, smallest first.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Return the card's metadata; `dataset_info` describes the one configuration, the images."""
    shards = shard_pattern(manifest.container)
    source = manifest.source.repository if METHODS[manifest.method].sources else None
    if manifest.retrieval is not None:
        source = manifest.retrieval.repository
    fields = {
        "pretty_name": manifest.name + (" (preview)" if manifest.partial else ""),
        "license": manifest.license,
        "task_categories": ["image-classification"],
        "task_ids": ["multi-class-image-classification"],
        "annotations_creators": ["machine-generated"],
        **({"source_datasets": [source]} if source else {}),
        "size_categories": [size_category(manifest.images)],
        "tags": _tags(manifest),
        "configs": [{"config_name": "default", "data_files": [{"split": SPLIT, "path": shards}]}],
        "dataset_info": dataset_info(manifest),
    }
    return front_matter_1(fields) if manifest.format_version == 1 else fields


def _tags(manifest: Manifest) -> list[str]:
    if manifest.retrieval is not None:
        return ["retrieved", *_TAGS[manifest.container], "synthkit"]
    return ["synthetic", *_TAGS[manifest.container], "synthkit", "diffusion", "augmented-conditioning"]


def dataset_info(manifest: Manifest) -> dict[str, Any]:
    """Return the columns that `datasets` finds in the shards, with their types, and how many rows."""
    size = sum(shard.bytes for shard in manifest.shards)
    return {
        "features": _features(manifest),
        "splits": [{"name": SPLIT, "num_bytes": size, "num_examples": manifest.images}],
        "download_size": size,
        "dataset_size": size,
    }


def size_category(images: int) -> str:
    """Return the Hub's word for so many rows."""
    return next((name for limit, name in _SIZES if images < limit), "100M<n<1B")


def _features(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the columns as `datasets` writes them into a card, without the seconds of importing it."""
    names = {str(label): name for label, name in enumerate(unique_names(manifest))}
    record = [_column(field) for field in arrow_schema(manifest.format_version)]
    if manifest.container == "parquet":
        return [
            {"name": "image", "dtype": "image"},
            {"name": "label", "dtype": {"class_label": {"names": names}}},
            *(column for column in record if column["name"] != "label"),
        ]
    return [
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
        {"name": "cls", "dtype": {"class_label": {"names": names}}},
        {"name": "json", "struct": record},
        {"name": manifest.extension, "dtype": "image"},
    ]


def _column(field: pa.Field) -> dict[str, Any]:
    kind = _kind(field.type)
    return {"name": field.name, **(kind if isinstance(kind, dict) else {"dtype": kind})}


def _kind(kind: pa.DataType) -> Any:
    """Return the name of a plain type; of a list or a struct, what its items or fields are."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        item = _kind(kind.value_type)
        return {"list": item["struct"] if isinstance(item, dict) and "struct" in item else item}
    if pa.types.is_struct(kind):
        return {"struct": [_column(field) for field in kind]}
    return {pa.float64(): "float64"}.get(kind, str(kind))


def unique_names(manifest: Manifest) -> list[str]:
    """Return class names for `datasets`, which wants no two alike: ImageNet has two classes named crane."""
    names: list[str] = []
    taken: set[str] = set()
    for item in manifest.classes:
        names.append(f"{item.name} ({item.label})" if item.name in taken else item.name)
        taken.add(names[-1])
    return names
