"""Pages of releases, taken apart as a browser would: elements, their text, and what the script is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec

from synthkit.page.choice import MOST_BYTES
from tests.conftest import Cli
from tests.helpers.commands import output_of
from tests.helpers.forging import Forgery

_VOID = {"meta", "img", "input", "br", "link"}
MARKUP = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script><!--'
ARABIC, LINES, LONG = "قطة صغيرة", "two\nlines 猫", "long" * 2500
HOSTILE = (MARKUP, ARABIC, LINES, LONG, "\u202eevil\u0007{{ 7 * 7 }}")


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Every element inside with a tag and attributes; `kind` is one of its classes."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items() if name != "kind"}
        found = []
        for child in self.children:
            if isinstance(child, Element):
                kinds = child.attributes.get("class", "").split()
                fits = child.tag == tag and wanted.items() <= child.attributes.items()
                if fits and attributes.get("kind", "") in ("", *kinds):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag in (tag, "li", "option"), (self._open[-1].tag, tag)
        while self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(page: Path) -> Element:
    parser = _Parser()
    parser.feed(page.read_text(encoding="utf-8"))
    assert len(parser._open) == 1, parser._open[-1].tag
    return parser.root


def page_of(cli: Cli, release: Path, *options: str | Path) -> Element:
    """The page of a release, which must be made and be small enough."""
    target = cli.folder / "looked.html"
    told = output_of(cli, "page", release, "--out", target, *options)
    assert f"{target.name}: " in told
    assert target.stat().st_size <= MOST_BYTES
    return parse(target)


def data_of(page: Element) -> Any:
    """What the script reads."""
    return json.loads(page.one("script", type="application/json").text)


def words(element: Element) -> str:
    """The text of an element, spaces and line ends as one space."""
    return " ".join(element.text.split())


def rename_classes(release: Path, names: tuple[str, ...] = HOSTILE) -> None:
    """Give the first classes of a release other names, in the manifest and in all records."""
    forgery = Forgery.of(release)
    for known, name in zip(forgery.manifest["classes"], names, strict=False):
        known["name"] = name
    for samples in forgery.shards.values():
        for place, (record, image) in enumerate(samples):
            if record.label < len(names):
                renamed = msgspec.structs.replace(record, class_name=names[record.label])
                samples[place] = (renamed, image)
    forgery.write(derived=False)
