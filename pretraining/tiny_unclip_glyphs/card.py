"""The model card: what the pipeline is, what it was trained on, how it measured, what it is not for."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pretraining.tiny_unclip_glyphs import pictures, world
from pretraining.tiny_unclip_glyphs.conditions import CACHED, KIND_SHARES
from pretraining.tiny_unclip_glyphs.fonts import packages

if TYPE_CHECKING:
    from pretraining.tiny_unclip_glyphs.check import Report, Table

TEMPLATE = Path(__file__).with_name("card.md")


def write_card(folder: Path, report: Report, training: str) -> None:
    """Write README.md into the pipeline's folder; `training` says with what command, and how long it took."""
    settings = world.SETTINGS
    own, zeros, absent = KIND_SHARES
    text = TEMPLATE.read_text(encoding="utf-8").format(
        fonts=len(packages()),
        plain=pictures.PLAIN_SHARE,
        grey=1 - pictures.COLOURED_SHARE,
        coarse=pictures.COARSE_SHARE,
        blurred=pictures.BLURRED_SHARE,
        noisy=pictures.NOISY_SHARE,
        digits=world.DIGIT_SHARE,
        packages=_packages(),
        training=training,
        autoencoder_steps=settings.autoencoder_steps,
        tower_steps=settings.tower_steps,
        tower_plain=world.TOWER_PLAIN_SHARE,
        unet_steps=settings.unet_steps,
        cached=f"{CACHED:,}",
        own=own,
        zeros=zeros,
        absent=absent,
        tables=as_tables(report),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def as_tables(report: Report) -> str:
    """Return the numbers as tables."""
    return "\n\n".join(_table(heading, table) for heading, table in report.items())


def _table(heading: str, table: Table) -> str:
    columns = list(next(iter(table.values())))
    lines = [f"| {' | '.join([heading, *columns])} |", f"|{' --- |' * (1 + len(columns))}"]
    for name, row in table.items():
        values = (f"{value:.3g}" for value in row.values())
        lines.append(f"| {' | '.join([name, *values])} |")
    return "\n".join(lines)


def _packages() -> str:
    """Name every package with its version, by licence."""
    ordered = sorted(packages(), key=lambda package: package.licence)
    lines = ["| licence of the fonts | Debian packages (fonts-…) and versions |", "| --- | --- |"]
    for licence, group in groupby(ordered, key=lambda package: package.licence):
        named = ", ".join(f"{package.name.removeprefix('fonts-')} {package.version}" for package in group)
        lines.append(f"| {licence} | {named} |")
    return "\n".join(lines)
