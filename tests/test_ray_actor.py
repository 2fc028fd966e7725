"""An actor without its cluster: where it keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthkit.engines import ray_actor, ready
from synthkit.engines.ray_actor import Actor, Orders
from synthkit.environment import NO_DEVICE
from synthkit.facts import identify
from synthkit.recipe_file import load
from tests.conftest import Cli

FLAT = "model.id=builtin:flat-colours"


def test_a_preview_keeps_embeddings_of_its_own(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_actor, "scratch", lambda: tmp_path)
    files: list[Path] = []
    monkeypatch.setattr(ready, "ready", lambda *facts, embeddings, **how: files.append(embeddings))
    recipe = load(cli.recipe(), [FLAT])
    (tmp_path / "mark").touch()
    for limit in (5, None):
        digest = identify(recipe, tmp_path, limit=limit).digest
        orders = Orders(recipe.model_dump_json(), limit, digest, {}, str(tmp_path), "mark")
        Actor(os.getcwd(), NO_DEVICE).prepare(orders)  # noqa: PTH109
    assert files[0].parent != files[1].parent
