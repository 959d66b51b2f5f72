"""``churn report --at-risk``: the file as a person gets it, and as a browser shows it."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser
from typer.testing import CliRunner, Result

from churn_assets.cli import app
from churn_assets.errors import ChurnError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.retention.lists import rows_of_list
from churn_assets.retention.overview import Cohort, Curve, Outcomes, Overview, TrendDay
from churn_assets.retention.survival import Step
from churn_assets.serving import versions
from churn_assets.serving.endpoint import page_folder
from churn_assets.serving.page.build import Content, build
from churn_assets.serving.page.store import FILE, About
from churn_assets.settings import Settings
from churn_assets_tests.browser import LATE_LOOP, browser, obstacles, outside, shown
from churn_assets_tests.retention.conftest import lake  # noqa: F401 - a fixture
from churn_assets_tests.rows import D, day

pytestmark = LATE_LOOP

Report = Callable[..., Result]

EVIL = "<script>alert('channel')</script>"
SAVED = {
    "dimension": "all", "segment": "all", "contact_users": 900, "contacted_users": 700,
    "contact_churners": 300, "control_users": 100, "control_churners": 50, "save_rate": 0.4,
    "save_rate_low": 0.2, "save_rate_high": 0.6, "reason": None,
}  # fmt: skip
BY_CHANNEL = {**SAVED, "dimension": "channel", "segment": EVIL}


def an_overview(feature_date: dt.date) -> Overview:
    """Three dates, of which the first is over; two months; one curve; and what two segments have shown."""
    steps = (Step(0, 1.0, 1.0, 1.0), Step(40, 0.5, 0.4, 0.6))
    return Overview(
        feature_date,
        30,
        tuple(TrendDay(day(-n), 100, 20.0 + n, 25 if n == 2 else None) for n in (2, 1, 0)),
        (Cohort("2026-01", 80, (1.0, 0.5)), Cohort("2026-02", 40, (1.0,))),
        (Curve("All users", 120, steps),),
        Outcomes("save rate 0.40 measured", (SAVED, BY_CHANNEL)),
    )


def publish(lake: FolderLakehouse, feature_date: dt.date = D) -> None:  # noqa: F811 - the fixture
    """Publish a date's list, whose users 7 and 9 are to be contacted and 8 is of the control group."""
    rows = rows_of_list(lake, feature_date, "all")
    listed = pa.Table.from_pylist([{**row, "country": "GB", "is_new": row["user_id"] == 7} for row in rows])
    users = pa.table({
        "user_id": [7, 8, 9], "source_user_id": [None] * 3, "country": ["GB"] * 3,
        "first_seen_date": [day(-40)] * 3, "last_seen_date": [day(-9)] * 3,
    })  # fmt: skip
    about = About(
        an_overview(feature_date), "test", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 2, 1, 1.0,
        (feature_date,), feature_date, ("GB",),
    )  # fmt: skip
    reasons = pa.table({"user_id": [7], "rank": [1], "reason": ["Quiet"], "contribution": [0.5]})
    history = np.ones((3, 1), dtype=np.uint16)
    content = Content(about, listed, users, history, history, reasons)
    version = f"{feature_date}-test"
    versions.add(page_folder(lake.settings), version, lambda target: build(content, target / FILE))


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lake: FolderLakehouse) -> Report:  # noqa: F811 - the fixture
    monkeypatch.chdir(tmp_path)
    for name in Settings.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHURN_LAKE_ROOT", str(lake.settings.lake_root))
    return lambda *arguments: CliRunner().invoke(app, ["report", "--at-risk", *arguments])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def test_a_list_that_no_page_shows_yet_says_how_it_is_published(report: Report) -> None:
    result = report()

    assert isinstance(result.exception, ChurnError)
    assert f"The list of {D} is not published for a page on this machine yet: churn run" in str(
        result.exception
    )


def test_the_last_list_is_a_file_of_that_date(report: Report, lake: FolderLakehouse, tmp_path: Path) -> None:  # noqa: F811
    publish(lake)

    result = report()

    assert result.exit_code == 0, result
    assert result.stderr == f"2 users to contact after {D} in at-risk-{D}.html.\n"
    assert [path.name for path in tmp_path.iterdir()] == [f"at-risk-{D}.html"]
    html = (tmp_path / f"at-risk-{D}.html").read_text()
    assert ("=HYPERLINK(0)" in html, "@SUM(1)" in html, "ann@example.com" in html) == (True, True, False)
    for heading in ("Who is at risk, and why", "Trend and retention", "What contacting brought"):
        assert f"<h1>{heading}</h1>" in html
    assert html.count("<svg") == 3


def test_the_file_asks_no_server_and_runs_nothing(
    report: Report,
    lake: FolderLakehouse,  # noqa: F811
    tmp_path: Path,
) -> None:
    publish(lake)

    report("--output", "list.html")

    html = (tmp_path / "list.html").read_text()
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert {link.removeprefix("#") for link in re.findall(r'(?:href|src|action)="([^"]*)"', html)} <= ids
    assert re.findall(r"<(?:script|link|form|img|iframe)\b|@import|url\(", html) == []
    assert EVIL not in html
    assert "&lt;script&gt;alert(" in html


def test_fewer_users_are_said_to_be_some(report: Report, lake: FolderLakehouse, tmp_path: Path) -> None:  # noqa: F811
    publish(lake)

    result = report("--top", "1", "--output", "one.html")

    assert result.stderr == f"1 of 2 users to contact after {D} in one.html.\n"
    html = (tmp_path / "one.html").read_text()
    assert ("=HYPERLINK(0)" in html, "@SUM(1)" in html) == (True, False)
    assert "The first 1 of 2: <code>churn export --at-risk</code> has all." in html


def test_an_older_list_is_said_to_be_older(report: Report, lake: FolderLakehouse) -> None:  # noqa: F811
    publish(lake, day(-1))

    result = report()

    assert result.exit_code == 0, result
    assert f"This is the list of {day(-1)}; that of {D} is not published yet: churn run" in result.stderr


def test_a_file_that_cannot_be_written_is_named(report: Report, lake: FolderLakehouse) -> None:  # noqa: F811
    publish(lake)

    result = report("--output", "nowhere/list.html")

    assert isinstance(result.exception, ChurnError)
    assert "Cannot write nowhere/list.html: No such file or directory" in str(result.exception)


def test_which_report_has_to_be_said(report: Report) -> None:
    assert CliRunner().invoke(app, ["report"]).exit_code == 2


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_reads_on_every_screen_and_by_screen_reader(
    report: Report,
    lake: FolderLakehouse,  # noqa: F811
    tmp_path: Path,
    chromium: Browser,
    width: int,
) -> None:
    publish(lake)
    report("--output", "list.html")

    with shown(chromium, (tmp_path / "list.html").read_text(), width=width) as page:
        assert obstacles(page) == []
        assert outside(page) == []
        assert page.get_by_role("img", name="Share of users still there").count() == 1
