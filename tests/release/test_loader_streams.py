"""Streams in `synthkit.mix`: every row once an epoch, whatever the stream and the number of workers."""

from __future__ import annotations

import io
import os
import resource
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import webdataset
from PIL import Image
from torch.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    get_worker_info,
)
from torch.utils.data.datapipes.iter import IterableWrapper
from torchvision.transforms.functional import to_tensor

import synthkit
from synthkit.release.loader_streams import splits_itself

NUMBERS = list(range(1000, 1023))
REAL = [(torch.zeros(1), number) for number in range(10)]
Row = tuple[torch.Tensor, int]
Make = Callable[[Path], Any]


def rows(numbers: list[int]) -> list[Row]:
    return [(torch.full((1,), float(number)), number) for number in numbers]


class Plain(IterableDataset[Row]):
    """A stream that gives every worker all rows."""

    def __init__(self, numbers: list[int] = NUMBERS) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[Row]:
        yield from rows(self.numbers)


class SharesItself(Plain):
    """A stream that splits itself as PyTorch's manual recommends."""

    def __iter__(self) -> Iterator[Row]:
        worker = get_worker_info()
        yield from rows(self.numbers if worker is None else self.numbers[worker.id :: worker.num_workers])


class ShufflesItself(Plain):
    """A stream whose order differs in every process."""

    def __iter__(self) -> Iterator[Row]:
        order = torch.randperm(len(self.numbers), generator=torch.Generator().manual_seed(os.getpid()))
        yield from rows([self.numbers[index] for index in order])


class Wrapper(IterableDataset[Row]):
    """A stream that wraps another one and hides it."""

    def __init__(self, stream: Any) -> None:
        self._read = stream.__iter__

    def __iter__(self) -> Iterator[Row]:
        yield from self._read()


class Delegates:
    """A wrapper that has every attribute of its stream, and no class of PyTorch."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["stream"], name)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.stream)


class OnlyIterates(Dataset[Row]):
    def __iter__(self) -> Iterator[Row]:
        return iter(rows(NUMBERS))


class Web(webdataset.WebDataset):
    """A subclass defined outside the library."""


class WebOfAll(webdataset.WebDataset):
    """A subclass that gives every worker all rows."""

    def __iter__(self) -> Iterator[Row]:
        return iter(rows(NUMBERS))


class HubStream(datasets.IterableDataset):
    """A subclass of a class of the other library."""


def urls(folder: Path, shards: int, numbers: list[int] = NUMBERS) -> list[str]:
    """Tars with the numbers as labels."""
    paths = [folder / f"{numbers[0]}-{shard}-of-{shards}.tar" for shard in range(shards)]
    for shard, path in enumerate(paths):
        with tarfile.open(path, "w") as tar:
            for number in numbers[shard::shards]:
                member = tarfile.TarInfo(f"{number}.cls")
                member.size = len(str(number))
                tar.addfile(member, io.BytesIO(str(number).encode()))
    return [str(path) for path in paths]


def labelled(sample: dict[str, bytes]) -> Row:
    return torch.zeros(1), int(sample["cls"])


def web(folder: Path, shards: int, numbers: list[int] = NUMBERS, kind: Any = None, **options: Any) -> Any:
    kind = kind or webdataset.WebDataset
    return kind(urls(folder, shards, numbers), **{"shardshuffle": False, **options}).map(labelled)


def pipeline(folder: Path, *between: Any) -> Any:
    shards, read = webdataset.SimpleShardList(urls(folder, 5)), webdataset.tarfile_to_samples()
    return webdataset.DataPipeline(shards, *between, read, webdataset.map(labelled))


def hub(shards: int, kind: Any = None) -> Any:
    table = datasets.Dataset.from_dict({"image": NUMBERS, "label": NUMBERS})
    stream = table.to_iterable_dataset(num_shards=shards)
    return stream if kind is None else kind(stream._ex_iterable)


def generated(part: list[int]) -> Iterator[dict[str, int]]:
    """A stream that splits itself although `datasets` splits its `part` as well."""
    worker = get_worker_info()
    mine = part if worker is None else part[worker.id :: worker.num_workers]
    yield from ({"image": number, "label": number} for number in mine)


def joined(*parts: Any) -> Any:
    return datasets.concatenate_datasets(list(parts))


# Streams, and whether each worker reads its own part, which is quicker.
STREAMS: dict[str, tuple[Make, bool]] = {
    "plain": (lambda _: Plain(), False),
    "shares itself": (lambda _: SharesItself(), False),
    "shuffles itself": (lambda _: ShufflesItself(), False),
    "generator": (lambda _: (row for row in rows(NUMBERS)), False),
    "only iterates": (lambda _: OnlyIterates(), False),
    "pipe": (lambda _: IterableWrapper(rows(NUMBERS)), False),
    "pipe to be shared": (lambda _: IterableWrapper(rows(NUMBERS)).shuffle().sharding_filter(), False),
    "loader": (lambda _: DataLoader(rows(NUMBERS), batch_size=None, num_workers=2), False),
    "chain": (lambda _: ChainDataset([Plain(NUMBERS[:9]), SharesItself(NUMBERS[9:])]), False),
    "sum": (lambda _: Plain(NUMBERS[:9]) + Plain(NUMBERS[9:]), False),
    "web": (lambda at: web(at, 7), False),
    "web, more shards": (lambda at: web(at, 9), True),
    "web, one shard": (lambda at: web(at, 1), False),
    "web, two shards": (lambda at: web(at, 2), False),
    "web, shuffled": (lambda at: web(at, 9, shardshuffle=9).shuffle(10), True),
    "web, shuffled by seed": (lambda at: web(at, 9, shardshuffle=9, detshuffle=True, seed=3), True),
    "web, resampled epoch": (lambda at: web(at, 9).with_epoch(23), False),
    "web, slice": (lambda at: web(at, 9).slice(23), False),
    "web, with length": (lambda at: web(at, 9).with_length(23, silent=True), True),
    "web, not shared": (lambda at: web(at, 9, workersplitter=None), False),
    "web subclass": (lambda at: web(at, 9, kind=Web), True),
    "web subclass of all": (lambda at: WebOfAll(urls(at, 9), shardshuffle=False), False),
    "web pipeline": (lambda at: pipeline(at, webdataset.split_by_worker), False),
    "web pipeline, shuffled before": (
        lambda at: pipeline(at, webdataset.shuffle(9), webdataset.split_by_worker),
        False,
    ),
    "web pipeline, not shared": (pipeline, False),
    "web loader": (lambda at: webdataset.WebLoader(web(at, 2), batch_size=None, num_workers=2), False),
    "wrapped web": (lambda at: Wrapper(web(at, 9)), False),
    "wrapped shuffled web": (lambda at: Wrapper(web(at, 9, shardshuffle=9).shuffle(10)), False),
    "delegating web": (lambda at: Delegates(web(at, 9)), False),
    "chain of webs": (lambda at: ChainDataset([web(at, 9, NUMBERS[:9]), web(at, 9, NUMBERS[9:])]), True),
    "chain of web and plain": (lambda at: ChainDataset([web(at, 9, NUMBERS[:9]), Plain(NUMBERS[9:])]), False),
    "hub": (lambda _: hub(5), True),
    "hub, one shard": (lambda _: hub(1), True),
    "hub, shuffled": (lambda _: hub(5).shuffle(seed=1, buffer_size=4), True),
    "hub, mapped": (lambda _: hub(5).map(dict).filter(bool), True),
    "hub, mapped in batches": (lambda _: hub(5).map(dict, batched=True, batch_size=2), False),
    "hub, by index": (lambda _: hub(5).filter(lambda _, index: index < 23, with_indices=True), False),
    "hub, taken": (lambda _: joined(hub(5).take(11), hub(5).skip(11)), False),
    "hub, generated": (
        lambda _: datasets.IterableDataset.from_generator(generated, gen_kwargs={"part": NUMBERS}),
        False,
    ),
    "hub subclass": (lambda _: hub(5, HubStream), True),
    "wrapped hub": (lambda _: Wrapper(hub(5)), False),
    "delegating hub": (lambda _: Delegates(hub(5)), False),
    "hub, of tensors": (lambda _: hub(5).with_format("torch"), True),
}
SOME = ["shares itself", "shuffles itself", "chain", "web subclass", "web, two shards"]


def seen(loader: Any) -> list[int]:
    """The synthetic labels of an epoch, sorted; the other half of the labels are real."""
    labels = [label for _, batch in loader for label in batch.tolist()]
    synthetic = sorted(label for label in labels if label >= NUMBERS[0])
    assert len(labels) == 2 * len(synthetic)
    return synthetic


@pytest.mark.parametrize("name", SOME)
def test_every_row_comes_once(name: str, tmp_path: Path) -> None:
    loader = synthkit.mix(REAL, STREAMS[name][0](tmp_path), batch_size=8, transform=float, num_workers=3)
    assert [seen(loader), seen(loader)] == [NUMBERS, NUMBERS]


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_read_in_workers(name: str, tmp_path: Path) -> None:
    make, shares = STREAMS[name]
    assert splits_itself(make(tmp_path), 8) == shares


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("name", STREAMS)
def test_every_row_of_every_stream_comes_once(name: str, workers: int, tmp_path: Path) -> None:
    stream = STREAMS[name][0](tmp_path)
    assert seen(synthkit.mix(REAL, stream, batch_size=8, transform=float, num_workers=workers)) == NUMBERS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STREAMS if name != "generator"])
def test_every_row_comes_once_to_workers_that_stay(name: str, tmp_path: Path) -> None:
    loader = synthkit.mix(
        *(REAL, STREAMS[name][0](tmp_path)),
        **{"batch_size": 8, "transform": float, "num_workers": 3, "persistent_workers": True},
    )
    assert [seen(loader), seen(loader)] == [NUMBERS, NUMBERS]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_generator_is_over_after_one_epoch(workers: int) -> None:
    loader = synthkit.mix(REAL, iter(rows(NUMBERS)), batch_size=8, num_workers=workers)
    assert seen(loader) == NUMBERS
    with pytest.raises(ValueError, match=r"the stream holds no image .* can be read once only"):
        seen(loader)


def test_the_batches_of_a_stream_read_here_are_the_same_for_any_number_of_workers() -> None:
    def batches(workers: int) -> list[list[int]]:
        loader = synthkit.mix(REAL, Plain(), batch_size=8, seed=3, num_workers=workers)
        return [batch.tolist() for _, batch in loader]

    assert batches(0) == batches(2)


def test_images_and_tensors_arrive_as_they_were_sent() -> None:
    pictures = [(Image.new(mode, (4, 3), 7), 0) for mode in ("L", "RGB", "P", "RGBA", "1")]
    tensors = [(torch.tensor(value), 1) for value in (1.5, [[2, 3]], [True], [])]
    tensors.append((torch.ones(2, dtype=torch.bfloat16), 1))
    for kind, transform in ((pictures, to_tensor), (tensors, repr)):
        arrived = [
            list(
                synthkit.mix(
                    kind, iter(kind), batch_size=2, transform=transform, num_workers=workers, collate_fn=list
                )
            )
            for workers in (0, 1)
        ]
        assert str(arrived[0]) == str(arrived[1])
        assert len(arrived[0]) == 5


def test_tensors_on_their_way_are_no_open_files() -> None:
    """A batch that waits for its worker has 600 tensors; by default a process may open 1,024 files or 256."""
    many = [(torch.zeros(1), number) for number in range(1000, 4000)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        loader = synthkit.mix(REAL, iter(many), batch_size=1200, num_workers=2)
        assert sum(len(batch) for _, batch in loader) == 6000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    "dataset",
    [
        Subset(rows(NUMBERS), range(23)),
        ConcatDataset([rows(NUMBERS[:9]), rows(NUMBERS[9:])]),
        TensorDataset(torch.zeros(23, 1), torch.tensor(NUMBERS)),
        datasets.Dataset.from_dict({"image": NUMBERS, "label": NUMBERS}),
    ],
)
def test_every_row_of_a_data_set_with_numbered_rows_comes_once(dataset: Any) -> None:
    for workers in (0, 3):
        loader = synthkit.mix(REAL, dataset, batch_size=8, transform=float, num_workers=workers)
        assert [seen(loader), seen(loader)] == [NUMBERS, NUMBERS]


class NoLength:
    def __getitem__(self, index: int) -> Row:
        return rows(NUMBERS)[index]


@pytest.mark.parametrize(
    ("dataset", "words"),
    [(NoLength(), "no __len__: give it one"), ({"train": REAL}, "is a dictionary of train: give one")],
)
def test_data_sets_that_lack_something(dataset: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"synthetic: .*{words}"):
        synthkit.mix(REAL, dataset, batch_size=8)
    with pytest.raises(ValueError, match=f"real: .*{words}"):
        synthkit.mix(dataset, REAL, batch_size=8)
