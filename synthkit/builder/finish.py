"""The files of a release, written from finished shards."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import ReleaseError
from synthkit.generators import embedding_shape
from synthkit.release.card import render_card
from synthkit.release.croissant import render_croissant
from synthkit.release.facts import (
    ClassFacts,
    FileFacts,
    FilterFacts,
    GeneratorFacts,
    GrownFacts,
    PartFacts,
    Partial,
    PoolImage,
    RetrievalFacts,
    SignerFacts,
    SkippedFacts,
    SourceFacts,
)
from synthkit.release.feedback import feedback_facts
from synthkit.release.files import (
    CARD,
    CLASSIFIER,
    CROISSANT,
    FILES,
    MANIFEST,
    RECIPE,
    SAMPLES,
    TOKENS,
    shard_path,
    table_path,
)
from synthkit.release.filter_counts import FilterCounts
from synthkit.release.image_signer import read_image_signer
from synthkit.release.learned_tokens import token_facts, tokens_file
from synthkit.release.manifest import Manifest, file_facts
from synthkit.release.plan import balance
from synthkit.release.prompts import prompt_facts
from synthkit.release.record_table import RecordTable
from synthkit.release.records import arrow_schema, key_of
from synthkit.release.samples import EXAMPLES, Example, SampleRow, contact_sheet, pick_labels
from synthkit.release.shard_reader import decode_image, read_sample
from synthkit.release.shards import records_path
from synthkit.system.files import link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from synthkit.builder.inputs import Inputs
    from synthkit.recipe.filters import Filters
    from synthkit.recipe.output import Output
    from synthkit.release.records import Provenance
    from synthkit.release.shards import ShardFacts


# Files that describe the data. The manifest, which lists them, is written last.
_ABOUT_THE_DATA = [
    file.name for file in FILES if file.writer == "build" and not file.is_data and file.name != MANIFEST
]


def write_into(folder: Path, inputs: Inputs, shards_folder: Path, shards: Sequence[ShardFacts]) -> None:
    """Write all files of a release into an empty folder; `shards` lie finished in `shards_folder`."""
    (folder / "data").mkdir()
    (folder / "provenance").mkdir()
    files = [_place_shard(folder, shards_folder, shard) for shard in shards]
    blocks = [[shards[number] for number in inputs.plan.blocks.numbers(block)] for block in _blocks(inputs)]
    tables = [folder / table_path(number) for number in _blocks(inputs)]
    for table, block in zip(tables, blocks, strict=True):
        _collect_records(table, [shards_folder / shard.name for shard in block], inputs.recipe.format_version)
    (folder / RECIPE).write_bytes(inputs.recipe_yaml)
    if inputs.tokens:
        (folder / TOKENS).write_bytes(tokens_file(inputs.tokens))
    if inputs.classifier is not None:
        link(inputs.classifier, folder / CLASSIFIER)
    example = _first_record(folder, inputs)
    manifest = _manifest(inputs, blocks, files, example)
    if inputs.recipe.filters is not None:
        facts = _filter_facts(inputs.recipe.filters, tables, blocks, manifest)
        manifest = manifest.model_copy(update={"filters": facts})
    (folder / SAMPLES).write_bytes(_sheet(folder, inputs, manifest))
    (folder / CARD).write_bytes(render_card(manifest, example).encode())
    data = sorted([*files, *(file_facts(folder, table) for table in tables)], key=lambda file: file.path)
    described = manifest.model_copy(update={"files": data})
    (folder / CROISSANT).write_bytes(render_croissant(described))
    others = [file_facts(folder, folder / name) for name in _ABOUT_THE_DATA if (folder / name).exists()]
    every = sorted([*data, *others], key=lambda file: file.path)
    (folder / MANIFEST).write_bytes(manifest.model_copy(update={"files": every}).sealed().to_json())


def _blocks(inputs: Inputs) -> range:
    return range(len(inputs.plan.blocks.images))


def _place_shard(folder: Path, shards_folder: Path, shard: ShardFacts) -> FileFacts:
    link(shards_folder / shard.name, folder / "data" / shard.name)
    return FileFacts(path=f"data/{shard.name}", bytes=shard.bytes, sha256=shard.sha256, images=shard.images)


def _collect_records(target: Path, shards: Sequence[Path], form: int) -> None:
    import pyarrow.parquet as pq

    schema = arrow_schema(form)
    with target.open("wb") as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for shard in shards:
            # Not `read_table`, which makes a data set of every file.
            with pq.ParquetFile(records_path(shard)) as rows:
                writer.write_table(rows.read())


def _manifest(
    inputs: Inputs, blocks: Sequence[Sequence[ShardFacts]], files: list[FileFacts], example: Mapping[str, Any]
) -> Manifest:
    recipe, real = inputs.recipe, inputs.real
    made = np.bincount(inputs.plan.labels, minlength=len(real.listing.classes)).tolist()
    classes = [
        ClassFacts(label=c.label, name=c.name, group=c.group, real=c.real, synthetic=made[c.label])
        for c in balance(recipe, real.listing)
    ]
    return Manifest(
        format_version=recipe.format_version,
        name=recipe.name,
        version=recipe.version,
        summary=recipe.summary,
        license=recipe.license,
        released=recipe.released,
        repo_id=recipe.hub.repo_id,
        page=bool(recipe.hub.page),
        partial=Partial(of=inputs.planned) if inputs.preview else None,
        recipe_digest=inputs.digest,
        generation_digest=inputs.generation_digest,
        source=_source_facts(inputs),
        generator=_generator_facts(inputs),
        method=recipe.conditioning.method,
        strength=recipe.conditioning.strength,
        scale=recipe.conditioning.scale_of_several,
        retrieval=_retrieval_facts(inputs),
        prompts=prompt_facts(recipe, real.listing.classes),
        tokens=token_facts(inputs.tokens, recipe),
        feedback=feedback_facts(recipe.sampler),
        images=len(inputs.plan),
        width=example["width"],
        height=example["height"],
        container=recipe.output.container,
        extension=recipe.output.extension,
        classes=classes,
        c2pa=_signer_facts(recipe.output),
        skipped=[SkippedFacts(id=item.id, reason=item.reason) for item in real.skipped],
        grown=[_grown(shards) for shards in blocks[:-1]],
        environment=blocks[-1][0].origin.environment,
        files=files,
    )


def _grown(shards: Sequence[ShardFacts]) -> GrownFacts:
    images = sum(shard.images for shard in shards)
    return GrownFacts(images=images, shards=len(shards), environment=shards[0].origin.environment)


def _filter_facts(
    filters: Filters, tables: Sequence[Path], blocks: Sequence[Sequence[ShardFacts]], manifest: Manifest
) -> FilterFacts:
    counts, form = FilterCounts(filters), manifest.format_version
    names = ["attempt", "rejected", *(["candidates"] if filters.prefer else [])]
    for path, shards in zip(tables, blocks, strict=True):
        rows = [shard.images for shard in shards]
        for table in RecordTable(path, rows, form).parts(names):
            columns = [table[name].to_pylist() for name in names]
            ranks = [[[item["rank"] for item in some] for some in column] for column in columns[2:]]
            counts.add(columns[0], columns[1], *ranks)
    return counts.facts()


def _source_facts(inputs: Inputs) -> SourceFacts:
    real, config = inputs.real, inputs.recipe.source
    pool = None
    if config.shots is not None:
        rows = zip(real.listing.ids, real.listing.labels.tolist(), real.sha256, strict=True)
        pool = [PoolImage(id=name, label=label, sha256=sha256) for name, label, sha256 in rows]
    return SourceFacts(
        kind=config.kind,
        images=len(real.listing),
        digest=real.digest,
        available_from=config.available_from,
        repository=None if config.places() else config.repository,
        shots=config.shots,
        trial=None if config.shots is None else config.trial,
        pool=pool,
    )


def _retrieval_facts(inputs: Inputs) -> RetrievalFacts | None:
    pool, retrieval = inputs.pool, inputs.recipe.retrieval
    if pool is None or retrieval is None:
        return None
    config = retrieval.source
    return RetrievalFacts(
        kind=config.kind,
        images=len(pool.whole.listing),
        digest=pool.whole.digest,
        available_from=config.available_from,
        repository=None if config.places() else config.repository,
        candidates=len(pool.images.listing),
        candidates_digest=pool.digest,
        own=pool.own,
        held_out=pool.held_out,
        repeated=pool.repeated,
        skipped=len(pool.whole.skipped),
    )


def _signer_facts(output: Output) -> SignerFacts | None:
    if output.c2pa is None:
        return None
    certificates = output.c2pa.certificates()
    texts = [base64.b64encode(certificate).decode() for certificate in certificates]
    return SignerFacts(subject=read_image_signer(certificates).subject, certificates=texts)


def _generator_facts(inputs: Inputs) -> GeneratorFacts:
    checkpoint = inputs.checkpoint
    shape = embedding_shape(checkpoint)
    return GeneratorFacts(
        name=checkpoint.name,
        revision=checkpoint.revision,
        dtype=inputs.recipe.model.dtype,
        license=checkpoint.license,
        parts=[PartFacts(**asdict(part)) for part in checkpoint.parts],
        embedding=(shape[0], shape[1]) if shape is not None and len(shape) == 2 else None,
    )


def _first_record(folder: Path, inputs: Inputs) -> dict[str, Any]:
    record, _ = _sample(folder, inputs, 0)
    return record.to_row()


def _sheet(folder: Path, inputs: Inputs, manifest: Manifest) -> bytes:
    """Draw the contact sheet: the first few images of some classes, beside their sources."""
    rows = []
    for label in pick_labels(np.unique(inputs.plan.labels).tolist()):
        item = manifest.classes[label]
        indices = np.flatnonzero(inputs.plan.labels == label)[:EXAMPLES].tolist()
        examples = [_example(folder, inputs, index) for index in indices]
        rows.append(SampleRow(f"{label}: {item.name}", f"{item.group}, {item.real:,} real", examples))
    title = f"{manifest.name} {manifest.version}" + (" (preview)" if manifest.partial else "")
    return contact_sheet(title, f"{manifest.method}: {_made_from(inputs)}", rows)


def _made_from(inputs: Inputs) -> str:
    if inputs.pool is not None:
        return "real images of another source, nearest to each class; none is generated"
    return "real sources, and what they became (framed)" if inputs.plan.sources else "from the prompt alone"


def _example(folder: Path, inputs: Inputs, index: int) -> Example:
    sources = [inputs.real.load(position) for position in inputs.plan.row(index).sources]
    record, image = _sample(folder, inputs, index)
    size = (record.width, record.height)
    return Example(sources, decode_image(image, record.key, inputs.recipe.output.extension, size))


def _sample(folder: Path, inputs: Inputs, index: int) -> tuple[Provenance, bytes]:
    """Read a record and its image file from a finished shard. Raises ReleaseError if it is damaged."""
    number, output = inputs.plan.blocks.shard_of(index), inputs.recipe.output
    shard, first = folder / shard_path(number, output.container), inputs.plan.indices(number)[0]
    try:
        return read_sample(shard, first, index, output.extension, inputs.recipe.format_version)
    except ValueError as error:
        raise ReleaseError(f"{shard}: {key_of(index)} cannot be read: {error}; build with --fresh") from None
