"""The fonts that the glyphs come from: `python -m pretraining.tiny_unclip_glyphs.fonts PACKAGES FONTS`.

The repository holds no fonts. `fonts.csv` lists Debian packages with version, SHA-256 and licence. Fetch them
into a folder (`apt-get download fonts-lato=2.0-2.1`); this command checks and unpacks them into another.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("fonts.csv")
SUFFIXES = (".ttf", ".otf")


class Package(NamedTuple):
    """A Debian package of fonts; `licence` is that of the fonts in it."""

    name: str
    version: str
    sha256: str
    licence: str

    @property
    def file(self) -> str:
        """The name that `apt-get download` gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"


def packages() -> list[Package]:
    """Return the packages of `fonts.csv`."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [Package(**row) for row in csv.DictReader(file)]


def unpack(downloads: Path, folder: Path) -> None:
    """Unpack the downloaded packages, each into a folder of its name. Raises SystemExit if one is another."""
    for package in packages():
        file = downloads / package.file
        if not file.is_file():
            raise SystemExit(f"{file} is missing; apt-get download {package.name}={package.version}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
            raise SystemExit(f"{file} is not the package that fonts.csv lists: its SHA-256 is another")
        subprocess.run(["dpkg-deb", "-x", str(file), str(folder / package.name)], check=True)  # noqa: S603, S607


def font_files(folder: Path) -> dict[str, list[Path]]:
    """Return each package's files of fonts, in a fixed order. Raises SystemExit if one has none."""
    files = {}
    for package in packages():
        found = [path for path in (folder / package.name).rglob("*") if path.suffix.lower() in SUFFIXES]
        files[package.name] = sorted(path for path in found if not path.is_symlink())
        if not files[package.name]:
            raise SystemExit(f"{folder} has no fonts of {package.name}; unpack them as fonts.py says")
    return files


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Unpack the packages of fonts that fonts.csv lists.")
    parser.add_argument("downloads", type=Path, metavar="PACKAGES", help="folder of the downloaded packages")
    parser.add_argument("folder", type=Path, metavar="FONTS", help="folder to unpack them into")
    options = parser.parse_args()
    unpack(options.downloads, options.folder)


if __name__ == "__main__":
    main()
