"""Pages in a browser, and axe-core, which judges them for people who do not see them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Playwright's own event loop ends after its test.
LATE_LOOP = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Pictures have their own measure, and what scrolls within its own frame may be wider than that.
_OUTSIDE = """() => [...document.querySelectorAll('body *:not(svg *)')].filter(one => {
    for (let outer = one.parentElement; outer; outer = outer.parentElement)
        if (getComputedStyle(outer).overflowX === 'auto') return false;
    const right = one.getBoundingClientRect().right;
    const section = one.closest('section');
    const limit = section ? section.getBoundingClientRect().right : innerWidth;
    return right > Math.min(limit, innerWidth) + 1;
}).map(one => `${one.tagName} ${one.textContent.trim().slice(0, 40)}`)"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium; where there is none, the test is skipped and says so."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"there is no browser: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        # A container's root may not use the sandbox; the pages are our own.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def shown(
    browser: Browser, html: str, *, width: int, colours: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """Show a page on a screen of so many pixels' width; a request for anything else fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
    # A busy machine is slow to draw.
    page.set_default_timeout(120_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(html)
    yield page
    page.close()
    assert asked == []


def obstacles(page: Page) -> list[dict[str, Any]]:
    """Return what axe-core finds wrong: the rule, how bad it is, and where."""
    found = Axe().run(page).response
    assert found["passes"]
    return [
        {"rule": one["id"], "impact": one["impact"], "at": [node["target"] for node in one["nodes"]]}
        for one in found["violations"]
    ]


def outside(page: Page) -> list[str]:
    """Return the elements that reach beyond their section or the screen."""
    sideways = page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    return [*page.evaluate(_OUTSIDE), *(["the page scrolls sideways"] if sideways else [])]
