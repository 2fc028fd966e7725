"""Tells which streams split themselves between the workers of a PyTorch loader, so that each row comes once.

PyTorch leaves it to a stream to give each worker another part (`torch.utils.data.get_worker_info`), and a
stream does not say whether it does. Here a stream counts as splitting itself only if it is made of parts
that are known to give each row to exactly one worker. Any other stream must be read by one process.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from torch.utils.data import ChainDataset  # noqa: TID253 (loaded by `synthkit.training` alone)


def splits_itself(stream: Any, workers: int) -> bool:
    """Return whether workers that each iterate over a copy of the stream together get each row once."""
    if type(stream) is ChainDataset:
        parts = stream.datasets
        return isinstance(parts, (list, tuple)) and all(splits_itself(part, workers) for part in parts)
    # A library that is not loaded cannot have made the stream.
    if "webdataset" in sys.modules and _is_pipeline(stream):
        return _splits_shards(stream.pipeline, workers)
    return "datasets" in sys.modules and _is_hub_stream(stream) and _splits_rows(stream)


def _is_pipeline(stream: Any) -> bool:
    """Return whether a stream is a pipeline of webdataset, without repetitions and with its own iteration."""
    from webdataset import DataPipeline

    kind, own = type(stream), ("__iter__", "iterator", "iterator1", "invoke")
    return (
        isinstance(stream, DataPipeline)
        and all(getattr(kind, name) is getattr(DataPipeline, name) for name in own)
        and stream.repetitions == 1
    )


def _splits_shards(pipeline: list[Any], workers: int) -> bool:
    """Return whether a pipeline splits its shards by node and worker first, and then keeps rows apart.

    There must be a shard for each worker: webdataset raises an error in a worker without one.
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
    """Return whether every worker sees the same numbers of workers and nodes.

    Webdataset asks PyTorch for them. Environment variables for workers override that, and for nodes only
    environment variables reach the workers.
    """
    environment = os.environ
    by_hand = "WORKER" in environment and "NUM_WORKERS" in environment
    return not by_hand and (nodes == 1 or ("RANK" in environment and "WORLD_SIZE" in environment))


def _keeps_rows_apart(stage: Any) -> bool:
    """Return whether a stage makes the same rows from a shard whichever shards are read before it."""
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
    """Return whether a stream is one of `datasets`, at its beginning and with its own iteration."""
    from datasets import IterableDataset

    return (
        isinstance(stream, IterableDataset)
        and type(stream).__iter__ is IterableDataset.__iter__
        and not getattr(stream, "_starting_state_dict", None)
    )


def _splits_rows(stream: Any) -> bool:
    """Return whether the parts of a stream of `datasets` together have the rows of the whole.

    Some steps give other rows when each part takes them on its own: `take(n)`, indices, batches.
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
    """Return whether rows come from a format that `datasets` reads, not from a user's own generator."""
    from datasets.packaged_modules.generator.generator import Generator

    read = getattr(examples, "generate_examples_fn", None) or getattr(examples, "generate_tables_fn", None)
    ours = isinstance(getattr(read, "__self__", None), Generator)
    return str(getattr(read, "__module__", "")).startswith("datasets.") and not ours
