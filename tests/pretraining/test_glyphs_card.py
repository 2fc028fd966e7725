"""The card of the model of glyphs: it names the fonts, and its numbers are those that were measured."""

from __future__ import annotations

from pathlib import Path

from pretraining.tiny_unclip_glyphs.card import write_card
from pretraining.tiny_unclip_glyphs.fonts import packages
from synthkit.generators.model_card import license_of
from synthkit.generators.model_place import BUILTIN


def test_the_card_in_the_package_names_every_font_and_the_licence_of_the_weights() -> None:
    folder = BUILTIN["tiny-unclip-glyphs"]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert license_of(folder) == "apache-2.0"
    for package in packages():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {package.licence} |")]
        assert f"{package.name.removeprefix('fonts-')} {package.version}" in row


def test_a_card_has_the_measured_numbers_and_no_gap(tmp_path: Path) -> None:
    report = {"class agreement": {"dropout": {"guidance 1": 0.9375, "guidance 2": 1.0}}}
    write_card(tmp_path, report, "It took 7 minutes.")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        "| class agreement | guidance 1 | guidance 2 |\n| --- | --- | --- |\n| dropout | 0.938 | 1 |\n"
        in text
    )
    assert "It took 7 minutes." in text
    assert "{" not in text
