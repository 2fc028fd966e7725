"""Containers of samples: the kinds of file that a release's shards can be.

`base` says what a container does, `CONTAINERS` lists them by the name that a recipe (`output.container`) and
a manifest give, which is also the extension of the shards' files. A new container is one module here, one
row below, and one name in `recipe/output.py`.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from synthkit.release.containers.parquet import Parquet
from synthkit.release.containers.tar import Tar

if TYPE_CHECKING:
    from synthkit.release.containers.base import Container

CONTAINERS: dict[str, Container] = {"tar": Tar(), "parquet": Parquet()}


def container_of(shard: PurePath | str) -> Container:
    """Return the container that a shard is, by the extension of its file."""
    return CONTAINERS[PurePath(shard).suffix.removeprefix(".")]
