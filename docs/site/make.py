"""Make the documentation's site: the pages of this repository, a reference from the code, and no broken link.

pip install -e '.[docs]'
python docs/site/make.py              # writes build/site/html; a link that leads nowhere is an error
python docs/site/make.py --serve      # serves it at http://localhost:8000
"""

from __future__ import annotations

import argparse
import http.server
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from pages import gather
from reference import write_reference

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# What zensical.toml names.
BUILD = ROOT / "build" / "site"


def main() -> None:
    """Make the site, and serve it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="serve the site until Ctrl-C")
    asked = parser.parse_args()
    shutil.rmtree(BUILD, ignore_errors=True)
    gather(ROOT, BUILD / "pages")
    write_reference(BUILD / "pages" / "reference")
    shutil.copy(HERE / "zensical.toml", BUILD)
    if not _build():
        sys.exit(1)
    print(f"{BUILD / 'html'}: {sum(1 for _ in (BUILD / 'html').rglob('*.html'))} pages")
    if asked.serve:
        _serve(BUILD / "html")


def _build() -> bool:
    """Run Zensical on the pages; return whether all links lead somewhere."""
    program = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(program, cwd=BUILD, check=False).returncode == 0


def _serve(folder: Path) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("localhost", 8000), handler) as server:
        print("http://localhost:8000 (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
