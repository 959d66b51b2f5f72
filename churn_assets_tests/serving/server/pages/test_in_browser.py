"""The pages in Chromium, under their own policy: by keyboard, on a phone, and as axe-core judges them."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from churn_assets_tests.browser import LATE_LOOP, browser, obstacles, outside
from churn_assets_tests.serving.page.stores import measured, publish
from churn_assets_tests.serving.server.pages.conftest import TOKEN, worker

pytestmark = LATE_LOOP

PHONE, DESKTOP = 390, 1280
PATHS = (
    "/",
    "/?band=high&country=FR",
    "/?value=99999",
    "/user?id=1",
    "/trend",
    "/outcomes",
    "/user?id=nobody",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("site")
    publish(root / "page", outcomes=measured())
    with worker(root) as url:
        yield url


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A new person: no cookie. What the policy refuses, and what is asked of others, fails the test."""
    context = chromium.new_context(viewport={"width": DESKTOP, "height": 900})
    page = context.new_page()
    # A busy machine is slow to draw.
    page.set_default_timeout(120_000)
    refused: list[str] = []
    asked: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Security Policy" in said.text else None)
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert refused == []
    assert all(url.startswith("http://127.0.0.1:") for url in asked)


def log_in(page: Page, site: str) -> None:
    page.goto(site)
    page.fill("#token", TOKEN)
    page.press("#token", "Enter")
    page.wait_for_url(f"{site}/")


def test_a_person_logs_in_filters_looks_at_a_user_and_logs_out_by_keyboard_alone(
    page: Page, site: str
) -> None:
    page.goto(site)
    # The field has the focus already.
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"

    page.focus("#band")
    page.keyboard.press("h")
    page.keyboard.press("Tab")
    page.keyboard.type("995")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url.endswith("/?country=&band=high&value=995"))
    assert page.locator("table.list tbody tr").count() == 5

    page.locator("table.list tbody a").nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url.endswith("/user?id=4"))
    assert page.locator("h1").inner_text() == "User user-4@example.com"

    page.get_by_role("button", name="Log out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site}/login")
    page.goto(f"{site}/trend")
    assert page.url == f"{site}/login"


def test_a_wrong_token_is_said_where_it_was_given(page: Page, site: str) -> None:
    page.goto(site)
    page.fill("#token", "wrong")
    page.press("#token", "Enter")

    page.get_by_role("alert").wait_for()
    assert "not the token" in page.get_by_role("alert").inner_text()
    assert obstacles(page) == []


def test_the_csv_button_gives_the_filtered_list_as_a_file(page: Page, site: str) -> None:
    log_in(page, site)
    page.goto(f"{site}/?band=high")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download CSV").click()

    assert downloading.value.suggested_filename == "retention_list-2026-11-22.csv"
    assert len(downloading.value.path().read_bytes().splitlines()) == 21


@pytest.mark.parametrize(("width", "colours"), [(DESKTOP, "light"), (PHONE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing_and_nothing_reaches_beyond_the_screen(
    page: Page, site: str, width: int, colours: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=colours)
    page.goto(site)
    assert obstacles(page) == []
    log_in(page, site)
    for path in PATHS:
        page.goto(site + path)
        for details in page.locator("summary").all():
            details.click()
        assert (path, obstacles(page)) == (path, [])
        assert (path, outside(page)) == (path, [])
