"""Releases of every kind that verification treats in its own way, made in seconds."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Cli

FLAT = "model.id=builtin:flat-colours"
# By kind, the changes to the small recipe.
KINDS: dict[str, tuple[str, ...]] = {
    "whole": ("synthetic_per_class=4", "target_per_class=", "output.shard_size=16"),
    "pixels": (
        "source={kind: folder, root: photos, on_error: skip}",
        "conditioning={method: cutmix-dropout, alpha: 0.4}",
        "output={format: jpeg, shard_size: 5}",
        "hub.repo_id=lab/photos",
    ),
    "few-shot": (
        "source={kind: folder, root: photos, shots: 2, trial: 1, classes: {b: null}}",
        "conditioning.method=mixup",
        "output={format: webp, size: 24, shard_size: 8}",
    ),
    "grown": ("synthetic_per_class=3", "target_per_class=", "grown=[1, 2]", "output.shard_size=16"),
    "learned": (
        "conditioning={method: da-fusion, strength: 0.5}",
        'prompt="a photo of a {name}"',
        "tokens={steps: 2, vectors: 2}",
        *("synthetic_per_class=2", "target_per_class=", "source.subset=[1, 2, 7]"),
        "source.max_per_class=2",
    ),
    "gated": (
        "filters={blank: {min_deviation: 1}, max_draws: 3}",
        "conditioning.method=embed-mixup",
        *("synthetic_per_class=2", "target_per_class=", "source.subset=[1, 2, 7]"),
    ),
    "retrieved": (
        "retrieval={source: {kind: digits, part: pretrain, limit_per_class: 4}}",
        "conditioning.method=retrieval",
        *("synthetic_per_class=2", "target_per_class=", "output.shard_size=8"),
    ),
}


def build_small(cli: Cli, *changes: str, out: str, limit: int | None = None) -> Path:
    """Build the small recipe with changes and a model that paints flat colours; return the release."""
    settings = [argument for change in (FLAT, *changes) for argument in ("--set", change)]
    preview = [] if limit is None else ["--limit", str(limit)]
    result = cli("build", cli.recipe(), *settings, *preview, "--out", out)
    assert result.exit_code == 0, result.output
    return cli.folder / out / ("small" if limit is None else "small-preview")
