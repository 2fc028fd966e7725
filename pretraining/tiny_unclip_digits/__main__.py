"""Trains the pipeline, saves it, measures it, writes its card: `python -m pretraining.tiny_unclip_digits`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pretraining.tiny_unclip.train import train
from pretraining.tiny_unclip_digits.card import write_card
from pretraining.tiny_unclip_digits.check import as_lines, measure
from pretraining.tiny_unclip_digits.world import DigitWorld


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded digits pipeline.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    train(DigitWorld.of_pretraining_part(), options.out, options.seed)
    minutes = (time.perf_counter() - start) / 60
    print(f"trained in {minutes:.1f} minutes; measuring", flush=True)
    report = measure(options.out)
    write_card(options.out, report, minutes)
    print("\n".join(as_lines(report)))


if __name__ == "__main__":
    main()
