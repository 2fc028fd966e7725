"""Fill the templates of pages: all text is escaped, and the page itself forbids everything but what is in it.

Names of classes, recipes and records are a stranger's. Jinja escapes them in HTML and in the JSON that the
script reads, and the content security policy (W3C CSP 3) of a page allows its own style and script, by their
SHA-256, and pictures that are inside it: no network, no other script, no form.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from synthkit.system.names import printable
from synthkit.version import __version__

if TYPE_CHECKING:
    import jinja2


def render(template: str, **facts: Any) -> bytes:
    """Return a page as the bytes of an HTML file; equal facts give equal bytes."""
    from markupsafe import Markup

    style, script = _asset("page.css"), _asset("page.js")
    text = (
        _environment()
        .get_template(template)
        .render(
            **facts,
            style=Markup(style),  # noqa: S704 (a file of this package)
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script),
            synthkit_version=__version__,
        )
    )
    # Halves of characters cannot be written; `printable` leaves none in what is shown.
    return text.encode("utf-8", "replace")


def _policy(style: str, script: str) -> str:
    """Return the content security policy of a page."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return (files("synthkit.page") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("synthkit.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["percent"] = _percent
    environment.filters["points"] = _points
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment


def _shown(value: Any) -> Any:
    """Return a text with escapes for control characters, which HTML forbids, and for direction marks."""
    return printable(value) if type(value) is str else value


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    """Return a difference of shares in points, with its sign."""
    told = f"{100 * difference:+.1f}"
    return told.replace("-", "−") if float(told) else "±0.0"
