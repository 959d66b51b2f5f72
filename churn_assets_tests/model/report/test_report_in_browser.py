"""The page as people see it and as screen readers say it, in Chromium."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
from playwright.sync_api import Browser

from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.report import report
from churn_assets.model.report.report import ReportContent
from churn_assets_tests.browser import LATE_LOOP, browser, obstacles, outside, shown

pytestmark = LATE_LOOP

PHONES, DESKTOP = (390, 320), 1280


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page_html(content: ReportContent) -> str:
    """The list is linked, a note stands beside the reasons, and parameters are long."""
    long = Candidate(
        "search", "boosting", {"learning_rate": 0.05, "max_leaf_nodes": 31, "early_stopping": False}
    )
    return report.render(
        replace(
            content,
            decision=replace(content.decision, notes=("Log loss is worse. This refuses nothing.",)),
            candidates=[*content.candidates, long],
            list_table="main_catalog.gold.retention_list",
            list_url="http://127.0.0.1:8080/",
        )
    )


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONES[0]])
def test_axe_finds_nothing(
    chromium: Browser, page_html: str, width: int, colours: Literal["light", "dark"]
) -> None:
    with shown(chromium, page_html, width=width, colours=colours) as page:
        assert obstacles(page) == []


def test_axe_finds_nothing_in_a_refusal(chromium: Browser, content: ReportContent) -> None:
    refusal = replace(
        content, decision=replace(content.decision, promoted=False), error="ValueError: no rows"
    )

    with shown(chromium, report.render(refusal), width=DESKTOP) as page:
        assert obstacles(page) == []


@pytest.mark.parametrize("width", [DESKTOP, *PHONES])
def test_nothing_leaves_its_card(chromium: Browser, page_html: str, width: int) -> None:
    with shown(chromium, page_html, width=width) as page:
        assert outside(page) == []


def test_pictures_are_named_for_who_does_not_see_them(chromium: Browser, page_html: str) -> None:
    with shown(chromium, page_html, width=DESKTOP) as page:
        assert page.get_by_role("img", name="ROC curve challenger, area 0.").count() == 1
        assert page.get_by_role("img").count() == page.locator("figure").count() == 7
