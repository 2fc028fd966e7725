"""Pages in headless Chromium: clicks, filters, keys, hostile names, no network, no JavaScript, a phone.

The browser is the machine's own (`apt-get install chromium`); where there is none, these tests pass over
themselves and say so.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.helpers.commands import output_of
from tests.helpers.pages import HOSTILE, MARKUP, rename_classes

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = "NO BROWSER: pages are not tested in one; install chromium (Debian: apt-get install chromium)"

if BROWSER is None:
    warnings.warn(MISSING, stacklevel=1)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=MISSING)


@dataclass
class Look:
    """A page in a browser, with all that it asked of a network and said on its console."""

    page: Any
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def shown(self, selector: str = "#images .card") -> int:
        """How many elements are to be seen, wherever the page is scrolled to."""
        script = "(all, selector) => all.filter((one) => !one.closest('[hidden]')).length"
        return int(self.page.locator(selector).evaluate_all(script, selector))


@pytest.fixture(scope="module")
def release(flat_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose classes have hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    copy = Path(shutil.copytree(flat_release, folder / "small"))
    rename_classes(copy)
    return copy


@pytest.fixture(scope="module")
def address(release: Path) -> str:
    cli = Cli(release.parent)
    output_of(cli, "page", release)
    return (cli.folder / "small.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, address: str, **settings: Any) -> Look:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, **settings)
    look = Look(context.new_page())
    look.page.set_default_timeout(60_000)
    look.page.on("request", lambda request: look.asked.append(request.url))
    look.page.on("console", lambda message: look.said.append(message.text))
    look.page.on("pageerror", lambda error: look.said.append(str(error)))
    look.page.goto(address)
    return look


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Iterator[Look]:
    look = open_page(browser, address)
    yield look
    look.page.context.close()


@pytest.fixture
def look(opened: Look) -> Look:
    """The page as it is when opened, without filters and without a dialog."""
    opened.page.locator("#filters button[type=reset]").click()
    # By a locator: a function in words would be evaluated in the page, whose policy refuses that.
    opened.page.locator("#images .card[hidden]").first.wait_for(state="detached")
    return opened


def test_filters_show_what_passes_them(look: Look, release: Path) -> None:
    page, everything = look.page, look.shown()
    assert look.shown("section.class") == 10
    page.select_option("[name=class]", "7")
    assert look.shown("section.class") == 1
    of_class = look.shown()
    assert page.locator("#count").text_content() == f"{of_class} of {everything} images here"
    page.select_option("[name=class]", "")
    page.select_option("[name=group]", "few")
    assert 0 < look.shown() < everything
    page.select_option("[name=group]", "")
    numbers = page.evaluate(
        "JSON.parse(document.querySelector('#data').textContent).images.map((i) => i.numbers)"
    )
    page.fill("[data-range=lam] [name=high]", "0.5")
    assert look.shown() == sum(one["lam"] <= 0.5 for one in numbers)
    page.fill("[data-range=lam] [name=low]", "0.4")
    assert look.shown() == sum(0.4 <= one["lam"] <= 0.5 for one in numbers)
    page.fill("[data-range=lam] [name=low]", "2")
    assert look.shown() == 0
    assert page.locator("#none").is_visible()


def test_a_click_shows_the_whole_history_and_keys_go_on(look: Look, release: Path) -> None:
    page = look.page
    second, third = (page.locator("section.class[data-label='6'] .card").nth(place) for place in (1, 2))
    key = second.locator(".key").text_content()
    second.locator(".open").click()
    dialog = page.locator("#history")
    assert dialog.is_visible()
    assert dialog.locator("h2").text_content() == f"Image {key}"
    said = output_of(Cli(release.parent), "show", release, key)
    told = " ".join(dialog.locator("dl").inner_text().split())
    for line in said.splitlines():
        assert " ".join(line.split()) in told
    # Two sources, the conditioning and the image, each of them drawn.
    assert dialog.locator("figure").count() == 4
    wide = "(all) => all.every((one) => one.getBoundingClientRect().width > 50)"
    assert dialog.locator("figure img, figure svg").evaluate_all(wide)
    assert dialog.locator("figure img").evaluate_all("(all) => all.every((one) => one.naturalWidth > 0)")
    page.keyboard.press("ArrowRight")
    assert dialog.locator("h2").text_content() == f"Image {third.locator('.key').text_content()}"
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("h2").text_content() == f"Image {key}"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert second.locator(".open").evaluate("(one) => one === document.activeElement")


def test_the_keyboard_alone_reaches_a_history(look: Look) -> None:
    page = look.page
    page.locator("#filters button[type=reset]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "open"
    page.keyboard.press("Enter")
    assert page.locator("#history").is_visible()
    assert page.evaluate("document.activeElement.id") == "close"
    page.keyboard.press("Enter")
    assert not page.locator("#history").is_visible()


def test_the_recipe_is_copied(look: Look, release: Path) -> None:
    page = look.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.locator("[data-copy=recipe-text]")
    button.click()
    page.locator("[data-copy=recipe-text]", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == (release / "recipe.yaml").read_text()


def test_hostile_names_do_nothing_and_can_be_read(look: Look) -> None:
    page = look.page
    assert page.locator("section.class h3").first.text_content() == MARKUP
    assert page.evaluate("window.hacked") is None
    for label in range(len(HOSTILE)):
        page.select_option("[name=class]", str(label))
        page.locator(f"section.class[data-label='{label}'] .open").first.click()
        page.keyboard.press("Escape")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened: Look, address: str) -> None:
    assert [url for url in opened.asked if not url.startswith("data:")] == [address]
    assert opened.said == []
    # Its policy refuses what a script that got in would try.
    refused = opened.page.evaluate("fetch('https://example.org').then(() => 'sent', (error) => 'refused')")
    assert refused == "refused"
    assert "Content Security Policy" in " ".join(opened.said)
    opened.said.clear()


def test_every_picture_has_words_and_every_control_a_name(opened: Look) -> None:
    unnamed = """() => {
        const named = (one) => one.alt || one.ariaLabel || one.textContent.trim() || one.closest('label');
        const all = 'img, svg[role=img], button, select, input, [role=region]';
        return [...document.querySelectorAll(all)].filter((one) => !named(one)).map((one) => one.outerHTML);
    }"""
    assert opened.page.evaluate(unnamed) == []
    twice = """() => {
        const names = [...document.querySelectorAll('[id]')].map((one) => one.id);
        return names.length - new Set(names).size;
    }"""
    assert opened.page.evaluate(twice) == 0


def test_without_javascript_all_images_are_there_and_no_dead_controls(browser: Any, address: str) -> None:
    look = open_page(browser, address, java_script_enabled=False)
    assert look.page.locator("#filters").is_hidden()
    assert look.page.locator("[data-copy=recipe-text]").is_hidden()
    assert look.page.locator("section.class").count() == 10
    assert look.page.locator(".card img").first.is_visible()
    assert "synthkit show" in look.page.locator("noscript").inner_text()
    look.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(browser: Any, address: str, scheme: str) -> None:
    look = open_page(browser, address, color_scheme=scheme)
    tokens = ("--ink", "--soft", "--real", "--made", "--paper", "--raised", "--warn")
    script = (
        "(names) => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(name))"
    )
    found = dict(zip(tokens, look.page.evaluate(script, list(tokens)), strict=True))
    for text in ("--ink", "--soft", "--real", "--made"):
        for behind in ("--paper", "--raised"):
            assert contrast(found[text], found[behind]) >= 4.5, (scheme, text, behind)
    assert contrast(found["--ink"], found["--warn"]) >= 7
    look.page.context.close()


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        levels = [int(colour.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
        return sum(weight * level for weight, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_a_phone_shows_it_without_scrolling_sideways(browser: Any, address: str) -> None:
    look = open_page(browser, address)
    look.page.set_viewport_size({"width": 360, "height": 740})
    assert look.page.evaluate("document.documentElement.scrollWidth") <= 360
    look.page.locator(".card .open").first.click()
    box = look.page.locator("#history").bounding_box()
    assert box["x"] >= 0
    assert box["width"] <= 360
    look.page.context.close()


def test_paper_has_all_images_and_no_controls(browser: Any, address: str) -> None:
    look = open_page(browser, address)
    look.page.emulate_media(media="print")
    assert look.page.locator("#filters").is_hidden()
    assert look.page.locator("nav").is_hidden()
    assert look.page.locator(".card img").first.is_visible()
    assert look.page.pdf().startswith(b"%PDF")
    look.page.context.close()
