"""Streams that share themselves between the workers of a loader, so that each row comes once.

PyTorch leaves it to a stream to give each worker another part (`torch.utils.data.get_worker_info`), and
nothing says whether it does. Here a stream counts as sharing itself only if every part that it is made of is
known to keep each row in exactly one worker. Of any other, one process must be the reader.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from torch.utils.data import ChainDataset  # noqa: TID253 (loaded by `synthkit.training` alone)


def shares_itself(stream: Any, workers: int) -> bool:
    """Whether this many workers, each iterating over its copy of the stream, get each row once."""
    if type(stream) is ChainDataset:
        parts = stream.datasets
        return isinstance(parts, (list, tuple)) and all(shares_itself(part, workers) for part in parts)
    # Whatever is not loaded has made no stream.
    if "webdataset" in sys.modules and _is_pipeline(stream):
        return _shares_shards(stream.pipeline, workers)
    return "datasets" in sys.modules and _is_hub_stream(stream) and _shares_sources(stream)


def _is_pipeline(stream: Any) -> bool:
    """A pipeline of webdataset, read once an epoch, whose own iteration no subclass replaces."""
    from webdataset import DataPipeline

    kind, own = type(stream), ("__iter__", "iterator", "iterator1", "invoke")
    return (
        isinstance(stream, DataPipeline)
        and all(getattr(kind, name) is getattr(DataPipeline, name) for name in own)
        and stream.repetitions == 1
    )


def _shares_shards(pipeline: list[Any], workers: int) -> bool:
    """A list of shards, shared by node and worker before anything else, and then stages that keep rows apart.

    A worker without a shard is an error of webdataset's.
    """
    from webdataset import SimpleShardList, shardlists
    from webdataset.utils import pytorch_worker_info

    rank, nodes, _, _ = pytorch_worker_info()
    if type(pipeline[0]) is not SimpleShardList or not _one_by_one(nodes):
        return False
    shards, stages = len(pipeline[0].urls), pipeline[1:]
    if stages and stages[0] in (shardlists.single_node_only, shardlists.split_by_node):
        shards = len(range(rank, shards, nodes))
        stages = stages[1:]
    shared = bool(stages) and stages[0] is shardlists.split_by_worker
    return shared and shards >= workers and all(_keeps_rows_apart(stage) for stage in stages[1:])


def _one_by_one(nodes: int) -> bool:
    """Whether webdataset knows workers by PyTorch, and nodes by what workers know as well."""
    environment = os.environ
    by_hand = "WORKER" in environment and "NUM_WORKERS" in environment
    return not by_hand and (nodes == 1 or ("RANK" in environment and "WORLD_SIZE" in environment))


def _keeps_rows_apart(stage: Any) -> bool:
    """Whether a stage of webdataset makes the same rows of a shard, whichever shards are read before it."""
    from webdataset import cache, compat, filters, tariterators

    known = (
        *(tariterators.url_opener, tariterators.tar_file_expander, tariterators.group_by_keys),
        *(filters.shuffle.f, filters.select.f, filters.map.f, filters.decode.f, filters.xdecode.f),
        *(filters.map_dict.f, filters.map_tuple.f, filters.to_tuple.f, filters.rename.f),
        *(filters.rename_keys.f, filters.extract_keys.f, tariterators.tarfile_samples),
    )
    types = (cache.StreamingOpen, cache.FileCache, filters.detshuffle)
    return stage is compat.check_empty or type(stage) in types or getattr(stage, "f", None) in known


def _is_hub_stream(stream: Any) -> bool:
    """A stream of `datasets`, read from its beginning, whose own iteration no subclass replaces."""
    from datasets import IterableDataset

    return (
        isinstance(stream, IterableDataset)
        and type(stream).__iter__ is IterableDataset.__iter__
        and not getattr(stream, "_starting_state_dict", None)
    )


def _shares_sources(stream: Any) -> bool:
    """Whether a stream of `datasets` has the same rows as a whole and in parts.

    `take(n)` of each part is another choice than of the whole; indices and batches begin anew in each.
    """
    from datasets import iterable_dataset as kinds

    apart = (
        *(kinds.SelectColumnsIterable, kinds.FormattedExamplesIterable, kinds.RebatchedArrowExamplesIterable),
        *(kinds.BufferShuffledExamplesIterable, kinds.InterleavedShardsExamplesIterable),
    )
    rows: Any = getattr(stream, "_ex_iterable", None)
    while type(rows) not in (kinds.ExamplesIterable, kinds.ArrowExamplesIterable):
        by_row = type(rows) in (kinds.MappedExamplesIterable, kinds.FilteredExamplesIterable)
        if not (_row_by_row(rows) if by_row else type(rows) in apart):
            return False
        rows = rows.ex_iterable
    return _is_library_reader(rows)


def _row_by_row(mapped: Any) -> bool:
    return not (mapped.batched or mapped.with_indices)


def _is_library_reader(examples: Any) -> bool:
    """Whether rows come from a format that `datasets` reads; a generator of one's own may do anything."""
    from datasets.packaged_modules.generator.generator import Generator

    read = getattr(examples, "generate_examples_fn", None) or getattr(examples, "generate_tables_fn", None)
    ours = isinstance(getattr(read, "__self__", None), Generator)
    return str(getattr(read, "__module__", "")).startswith("datasets.") and not ours
