"""Trains the pipeline, measures it, writes its card: `python -m pretraining.tiny_unclip_glyphs`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pretraining.tiny_unclip.train import train
from pretraining.tiny_unclip_glyphs.card import as_tables, write_card
from pretraining.tiny_unclip_glyphs.check import measure
from pretraining.tiny_unclip_glyphs.fonts import font_files
from pretraining.tiny_unclip_glyphs.glyphs import render
from pretraining.tiny_unclip_glyphs.world import GlyphWorld

TRAINING = """\
`python -m pretraining.tiny_unclip_glyphs --fonts FONTS --out DIR` from the repository: {minutes:.0f} minutes
in one thread. `pretraining/tiny_unclip_glyphs/fonts.py` says how to get the folder of fonts."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded pipeline of rendered glyphs.")
    parser.add_argument("--fonts", type=Path, required=True, metavar="DIR", help="the unpacked fonts")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    glyphs = render(font_files(options.fonts))
    train(GlyphWorld(glyphs), options.out, options.seed)
    minutes = (time.perf_counter() - start) / 60
    print(f"trained in {minutes:.1f} minutes; measuring", flush=True)
    report = measure(options.out, glyphs)
    write_card(options.out, report, TRAINING.format(minutes=minutes))
    print(as_tables(report))


if __name__ == "__main__":
    main()
