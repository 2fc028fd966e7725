"""Fonts become glyphs, glyphs become pictures; with the fonts that matplotlib brings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import Tensor

from pretraining.tiny_unclip_glyphs import fonts
from pretraining.tiny_unclip_glyphs.glyphs import CHARACTERS, DIGITS, NAMES, SIDE, Glyphs, class_of, render
from pretraining.tiny_unclip_glyphs.pictures import draw
from pretraining.tiny_unclip_glyphs.world import DIGIT_SHARE, GlyphWorld

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FREE = {
    "Apache-2.0",
    "BSD-3-Clause",
    "Bitstream-Vera",
    "CC0-1.0",
    "CC0-1.0 OR OFL-1.1",
    "GUST-Font-License",
    "MIT",
    "MIT AND Bitstream-Vera",
    "OFL-1.1",
    "OFL-1.1 AND CC0-1.0",
    "public domain",
}


@pytest.fixture(scope="module")
def glyphs() -> Glyphs:
    """Two packages: a font without serifs, one with them; and one that has no letters."""
    sans, serif, symbols = (
        FONTS / f"{name}.ttf" for name in ("DejaVuSans", "STIXGeneral", "STIXSizOneSymReg")
    )
    return render({"sans": [sans, symbols], "serif": [serif], "symbols": [symbols]})


def drawn(glyphs: Glyphs, rows: Tensor, seed: int) -> Tensor:
    return draw(glyphs, rows, torch.Generator().manual_seed(seed))


def test_faces_without_all_characters_are_left_out(glyphs: Glyphs) -> None:
    assert glyphs.packages.bincount().tolist() == [len(CHARACTERS), len(CHARACTERS)]
    assert glyphs.masks.shape == (2 * len(CHARACTERS), SIDE, SIDE)


def test_a_letter_is_one_class_in_both_cases(glyphs: Glyphs) -> None:
    assert class_of("7") == 7
    assert class_of("A") == class_of("a") == DIGITS
    assert NAMES[class_of("a")] == ("letter a",)
    assert NAMES[7] == ("seven", "7")
    assert glyphs.classes.bincount().tolist() == [2] * DIGITS + [4] * 26


def test_pictures_repeat_with_the_seed_and_differ_without(glyphs: Glyphs) -> None:
    rows = torch.full((64,), 5)
    pictures = drawn(glyphs, rows, 0)
    assert pictures.shape == (64, 3, 32, 32)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert torch.equal(pictures, drawn(glyphs, rows, 0))
    assert not torch.equal(pictures, drawn(glyphs, rows, 1))
    assert torch.pdist(pictures.flatten(1)).min() > 0.5
    grey = (pictures - pictures.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 0.05
    assert 0.1 < grey.float().mean() < 0.8, "some are grey, most have colours"


def test_packages_are_equally_frequent_and_digits_have_their_share(glyphs: Glyphs) -> None:
    once = torch.nonzero(glyphs.packages == 0).flatten()
    more = torch.cat([torch.arange(len(glyphs.classes)), once, once])
    world = GlyphWorld(Glyphs(*(part[more] for part in glyphs)))
    rows = world.rows(20_000, torch.Generator().manual_seed(0))
    assert (world.glyphs.packages[rows] == 0).float().mean() == pytest.approx(0.5, abs=0.02)
    assert (world.glyphs.classes[rows] < DIGITS).float().mean() == pytest.approx(DIGIT_SHARE, abs=0.02)


def test_every_package_has_a_free_licence_and_is_named_once() -> None:
    listed = fonts.packages()
    assert len({package.name for package in listed}) == len(listed) > 80
    assert {package.licence for package in listed} <= FREE
    assert all(len(package.sha256) == 64 for package in listed)


def test_another_package_than_the_listed_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = fonts.Package("fonts-mine", "2:1.0-1", hashlib.sha256(b"right").hexdigest(), "MIT")
    monkeypatch.setattr(fonts, "packages", lambda: [good])
    with pytest.raises(SystemExit, match=r"apt-get download fonts-mine=2:1\.0-1"):
        fonts.unpack(tmp_path, tmp_path / "fonts")
    (tmp_path / "fonts-mine_2%3a1.0-1_all.deb").write_bytes(b"wrong")
    with pytest.raises(SystemExit, match="its SHA-256 is another"):
        fonts.unpack(tmp_path, tmp_path / "fonts")
    with pytest.raises(SystemExit, match="has no fonts of fonts-mine"):
        fonts.font_files(tmp_path / "fonts")
