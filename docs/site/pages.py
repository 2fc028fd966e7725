"""The pages of the site: the repository's Markdown as it is, and what it links to beside Markdown.

A page keeps its place, so that links between pages stay as they are. A file of code or settings that a page
links to becomes a page with its text, and a folder one that lists its files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

# The first page; a folder's README is the page of the folder.
_FIRST = "README.md"
# Of these folders, Markdown that no reader of the site looks for.
_LEFT_OUT = ("tests/", "pretraining/", "docs/site/")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^\s*(```|~~~)")
_PICTURES = (".png", ".svg", ".jpg", ".webp")
_LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".sh": "bash",
}


class _Site(NamedTuple):
    """The repository, the files that git has of it, and the folder of the pages."""

    root: Path
    files: frozenset[str]
    pages: Path


def gather(root: Path, pages: Path) -> None:
    """Write the pages of a repository into a folder, and the pictures that they show."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    named = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
    site = _Site(root, frozenset(name for name in named.splitlines() if (root / name).is_file()), pages)
    found: set[str] = set()
    for name in sorted(site.files):
        if name.endswith(".md") and not name.startswith(_LEFT_OUT):
            found |= _write_page(site, name)
    _write_linked(site, found)


def _write_page(site: _Site, name: str) -> set[str]:
    """Write a page with its links as the site has them; return the files and folders it links to."""
    found: set[str] = set()
    here = PurePosixPath(_page_of(site, name)).parent

    def link(match: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(name).parent / match[1])
        found.add(target)
        return os.path.relpath(_page_of(site, target), here) + (match[2] or "")

    lines, fenced = [], False
    for line in (site.root / name).read_text().splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else _LINK.sub(link, line))
    _write(site, name, "\n".join(lines) + "\n")
    return found


def _page_of(site: _Site, name: str) -> str:
    """Return the place of a file's or folder's page; the name of what is not there, which a build refuses."""
    if name in site.files:
        path = PurePosixPath(name)
        if path.name == _FIRST:
            return str(path.with_name("index.md"))
        return name if path.suffix in (".md", *_PICTURES) else f"{name}.md"
    return f"{name}/index.md" if (site.root / name).is_dir() else name


def _write_linked(site: _Site, names: set[str]) -> None:
    """Write the pages of files and folders that pages link to, and those of the files in such folders."""
    folders = {name for name in names if name not in site.files and (site.root / name).is_dir()}
    inside = {name for name in site.files if str(PurePosixPath(name).parent) in folders}
    for name in sorted((names & site.files) | inside):
        if name.endswith(_PICTURES):
            place = site.pages / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(site.root / name, place)
        elif not name.endswith(".md") and _is_text(site.root / name):
            _write(site, name, _listing(name, (site.root / name).read_text()))
    for folder in sorted(folders):
        place = site.pages / folder / "index.md"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_folder(site, folder))


def _folder(site: _Site, folder: str) -> str:
    """Return the page of a folder: its files that are pages."""
    below = sorted(
        name for name in site.files if name.startswith(f"{folder}/") and _is_text(site.root / name)
    )
    shown = [name for name in below if (site.pages / _page_of(site, name)).exists()]
    items = [
        f"- [{name.removeprefix(f'{folder}/')}]({os.path.relpath(_page_of(site, name), folder)})"
        for name in shown
    ]
    return "\n".join([f"# {folder}", "", *items, ""])


def _listing(name: str, text: str) -> str:
    if name.endswith(".ipynb"):
        return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"]) + "\n"
    language = _LANGUAGES.get(PurePosixPath(name).suffix, "text")
    return f"# {name}\n\n``````{language}\n{text.rstrip()}\n``````\n"


def _cell(cell: dict[str, Any]) -> str:
    """Return a notebook's cell as Markdown; its links stay, as the page has the notebook's place."""
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:4096]


def _write(site: _Site, name: str, text: str) -> None:
    place = site.pages / _page_of(site, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
