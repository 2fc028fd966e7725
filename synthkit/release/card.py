"""The dataset card, README.md of a release: a pure function of the manifest and one record."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from synthkit.conditioning import METHODS
from synthkit.recipe.families import SOURCES
from synthkit.release.files import FILES, SHARDS, SPLIT
from synthkit.release.records import arrow_schema
from synthkit.system.names import printable

if TYPE_CHECKING:
    import jinja2
    import pyarrow as pa

    from synthkit.release.manifest import Manifest

# The most characters of a file's name or of a reason that a card shows.
_LONGEST = 200
# The Hub's size categories, smallest first.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(manifest: Manifest, example: dict[str, Any]) -> str:
    """Return the card's Markdown, with the YAML front matter that the Hub and `datasets` read."""
    address = _address(manifest)
    published = address == manifest.repo_id
    return _template().render(
        m=manifest,
        example=example,
        example_json=json.dumps(example, indent=2),
        front_matter=yaml.safe_dump(front_matter(manifest), sort_keys=False, allow_unicode=True),
        address=address,
        local=not published,
        revision_argument=f'revision="v{manifest.version}", ' if published else "",
        reference=f"{address}@v{manifest.version}" if published else address,
        places=_places(manifest),
        shard_pattern=_shard_pattern(len(manifest.shards)),
        files=[file for file in FILES if file.in_card],
        formula=METHODS[manifest.method].formula,
    )


def quoted(text: str) -> str:
    """Return text of others as Markdown code, in which nothing acts as a link or a tag or ends the code."""
    plain = printable(text[:_LONGEST]).replace("\n", "\\n")
    plain += "…" if len(text) > _LONGEST else ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    # Needed if the text is blank, or begins or ends with a backtick; renderers take the spaces away again.
    pad = " " if not plain.strip() or "`" in (plain[0], plain[-1]) or plain[0] == plain[-1] == " " else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 (Markdown, not HTML)
        loader=jinja2.PackageLoader("synthkit.release", "."),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["quoted"] = quoted
    return environment.get_template("card.md.jinja")


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Return the card's metadata: what the Hub shows and filters by, and the types that `datasets` loads."""
    return {
        "pretty_name": manifest.name + (" (preview)" if manifest.partial else ""),
        "license": manifest.license,
        "task_categories": ["image-classification"],
        "annotations_creators": ["machine-generated"],
        "size_categories": [_size_category(manifest.images)],
        "tags": ["synthetic", "webdataset", "synthkit", "diffusion", "augmented-conditioning"],
        "configs": [{"config_name": "default", "data_files": [{"split": SPLIT, "path": SHARDS}]}],
        "dataset_info": _dataset_info(manifest),
    }


def _address(manifest: Manifest) -> str:
    """Return what `load_dataset` takes: the repository, or the folder that `build` writes by default."""
    if manifest.repo_id is not None and manifest.partial is None:
        return manifest.repo_id
    return f"releases/{manifest.name}" + ("-preview" if manifest.partial else "")


def _dataset_info(manifest: Manifest) -> dict[str, Any]:
    size = sum(shard.bytes for shard in manifest.shards)
    return {
        "features": _features(manifest),
        "splits": [{"name": SPLIT, "num_bytes": size, "num_examples": manifest.images}],
        "download_size": size,
        "dataset_size": size,
    }


def _features(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the columns as `datasets` writes them into a card, without the seconds of importing it."""
    names = {str(label): name for label, name in enumerate(_unique(manifest))}
    return [
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
        {"name": "cls", "dtype": {"class_label": {"names": names}}},
        {"name": "json", "struct": [_column(field) for field in arrow_schema(manifest.format_version)]},
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


def _places(manifest: Manifest) -> str:
    """Return the arguments with which `synthkit.real` is told where this kind of source lies."""
    source = SOURCES.get(manifest.source.kind)
    return "" if source is None else "".join(f', {place}="…"' for place in source.PATHS)


def _unique(manifest: Manifest) -> list[str]:
    """Return class names for `datasets`, which wants no two alike: ImageNet has two classes named crane."""
    names: list[str] = []
    taken: set[str] = set()
    for item in manifest.classes:
        names.append(f"{item.name} ({item.label})" if item.name in taken else item.name)
        taken.add(names[-1])
    return names


def _size_category(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "1M<n<10M")


def _shard_pattern(shards: int) -> str:
    first, last = f"{0:05d}", f"{shards - 1:05d}"
    number = first if shards == 1 else f"{{{first}..{last}}}"
    return f"{SPLIT}-{number}.tar"
