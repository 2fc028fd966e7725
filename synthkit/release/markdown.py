"""Texts of others in Markdown: shown as they are, and inert. No link, tag, heading or table comes of them."""

from __future__ import annotations

import re

from synthkit.system.names import printable

# The most characters of a file's name or of a reason that a card shows.
_LONGEST = 200
# What Markdown and HTML act on, and what makes an address or a mail address a link.
_ACTIVE = re.compile(r"[\\`*\[\]<>#|&~:@$]|(?<!\w)_|_(?!\w)|(?<=www)\.", re.IGNORECASE)
# The same without the characters of addresses, which stay links.
_ACTIVE_BUT_LINKS = re.compile(r"[\\`*\[\]<>|]")
# What begins a heading, a list, a quotation, a line across or a block of code at the start of a line.
_BEGINS = re.compile(r"^([0-9]*)([#>+=~_-]|(?<=[0-9])[.)])")


def quoted(text: str) -> str:
    """Return a text as Markdown code, in which nothing acts as a link or a tag or ends the code."""
    plain = printable(text[:_LONGEST]).replace("\n", "\\n")
    plain += "…" if len(text) > _LONGEST else ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    # Needed if the text is blank, or begins or ends with a backtick; renderers take the spaces away again.
    pad = " " if not plain.strip() or "`" in (plain[0], plain[-1]) or plain[0] == plain[-1] == " " else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def name(text: str) -> str:
    """Return a name, such as that of a class, for a table's cell: it shows just its characters."""
    return _ACTIVE.sub(r"\\\g<0>", _one_line(text))


def sentence(text: str) -> str:
    """Return the words of a recipe as one line of Markdown; an address in it stays a link."""
    return _BEGINS.sub(r"\1\\\2", _ACTIVE_BUT_LINKS.sub(r"\\\g<0>", _one_line(text)))


def cell(markdown: str) -> str:
    """Return Markdown as the content of a table's cell, in which a bar would end it."""
    return re.sub(r"(?<!\\)\|", r"\\|", markdown)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
