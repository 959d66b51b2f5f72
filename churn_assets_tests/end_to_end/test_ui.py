"""Dagster's UI, clicked through in a browser as a person does on the first day.

Slow, so it runs only when it is asked for: ``make test-ui``. Its screenshots go to the folder that
``UI_SCREENSHOTS`` names: docs/images for those of the documentation.
"""

import datetime as dt
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, ViewportSize, expect

from churn_assets.asset_keys import asset_key
from churn_assets.dates import ONE_DAY
from churn_assets.sample.simulator import simulate
from churn_assets.tables import CHURN_PREDICTIONS, TABLES, USER_FEATURES
from churn_assets_tests.assets.test_graph import GROUPS
from churn_assets_tests.browser import LATE_LOOP, browser

pytestmark = [pytest.mark.slow, LATE_LOOP]

DAYS, USERS, HORIZON = 40, 700, 7
YESTERDAY = dt.datetime.now(dt.UTC).date() - ONE_DAY
FIRST = YESTERDAY - (DAYS - 1) * ONE_DAY
TEN_DATES = (YESTERDAY - 11 * ONE_DAY, YESTERDAY - 2 * ONE_DAY)
FEATURES_PAGE = f"/assets/{'/'.join(asset_key(USER_FEATURES).path)}"
PREDICTIONS_PAGE = f"/assets/{'/'.join(asset_key(CHURN_PREDICTIONS).path)}"
MODEL_PAGE = "/assets/churn_prediction_model"
MATERIALIZE_ALL = re.compile(r"Materialize all \(20\)")
SCREEN: ViewportSize = {"width": 1500, "height": 950}
# Each start of a process takes seconds, and more on a busy machine.
PATIENCE = float(os.environ.get("UI_PATIENCE", "400"))

Shoot = Callable[[str], None]


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``churn dev`` on a lake where events have landed and nothing else has happened."""
    folder = tmp_path_factory.mktemp("ui")
    simulate(
        str(folder / "lake" / "landing" / "events"),
        folder / "truth.csv",
        users=USERS,
        days=DAYS,
        start=FIRST,
        seed=4,
        late_share=0.02,
        duplicate_share=0.01,
        corrupt_share=0.01,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CHURN_", "DAGSTER_"))},
        "CHURN_LAKE_ROOT": str(folder / "lake"),
        "CHURN_START_DATE": str(FIRST),
        "CHURN_HORIZON_DAYS": str(HORIZON),
    }
    command = [sys.executable, "-c", "from churn_assets.cli import main; main()", "dev", "--port", str(port)]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: answers(url), "Dagster's UI answers")
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                # Where this was started in the background, Ctrl-C is ignored and so is it by its children.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as started:
        page = started.new_page(viewport=SCREEN)
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield page


@pytest.fixture(scope="module")
def shoot(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Shoot:
    folder = os.environ.get("UI_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots")

    def save(name: str) -> None:
        page.screenshot(path=Path(folder) / f"{name}.png")

    return save


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/server_info", timeout=5).ok
    except requests.ConnectionError:
        return False


def until(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s and it is not so that {what}"
        time.sleep(0.5)


def ask(url: str, query: str) -> Any:
    return requests.post(f"{url}/graphql", json={"query": query}, timeout=30).json()["data"]


def backfills(url: str) -> list[dict[str, Any]]:
    query = "{partitionBackfillsOrError {... on PartitionBackfills {results {status numPartitions}}}}"
    return ask(url, query)["partitionBackfillsOrError"]["results"]


def failed_runs(url: str) -> list[str]:
    query = "{runsOrError(filter: {statuses: [FAILURE]}) {... on Runs {results {runId}}}}"
    return [run["runId"] for run in ask(url, query)["runsOrError"]["results"]]


def launch(page: Page, url: str, count: int) -> None:
    """Press the dialog's button and wait for the backfill that it starts."""
    page.get_by_role("button", name="Launch backfill").click()
    until(lambda: len(backfills(url)) == count, f"{count} backfills were launched")
    until(lambda: backfills(url)[0]["status"] == "COMPLETED_SUCCESS", "the backfill succeeded")


def test_the_graph_is_there(ui: str, page: Page) -> None:
    page.goto(f"{ui}/asset-groups")

    for group in GROUPS:
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name=MATERIALIZE_ALL)).to_be_visible()


def test_one_button_materialises_everything(ui: str, page: Page) -> None:
    page.goto(f"{ui}/asset-groups")
    page.get_by_role("button", name=MATERIALIZE_ALL).click()
    page.get_by_role("dialog").get_by_text("All", exact=True).click()
    launch(page, ui, count=1)

    assert failed_runs(ui) == []
    for table in TABLES:
        page.goto(f"{ui}/assets/{'/'.join(asset_key(table).path)}")
        expect(page.get_by_text("Latest materialization")).to_be_visible()
        expect(page.get_by_text("Never materialized")).to_have_count(0)


def test_the_opened_graph_reads_from_left_to_right(ui: str, page: Page, shoot: Shoot) -> None:
    page.set_viewport_size({"width": 2000, "height": 1250})
    page.goto(f"{ui}/asset-groups?expanded={','.join(f'global@global:{group}' for group in GROUPS)}")

    places = [place_of(page, name) for name in ("users", "user_features", "churn_predictions")]
    assert places == sorted(places)
    shoot("asset-graph")
    page.set_viewport_size(SCREEN)


def place_of(page: Page, name: str) -> float:
    node = page.get_by_text(name, exact=True).first
    expect(node).to_be_attached()
    box = node.bounding_box()
    assert box is not None
    return box["x"]


def test_ten_feature_dates_are_a_backfill_of_one_run(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{FEATURES_PAGE}")
    page.get_by_role("button", name="Materialize…").click()
    expect(page.get_by_text("Backfills all partitions in a single run.")).to_be_visible()
    dates = page.get_by_role("dialog").get_by_role("textbox").first
    dates.fill(f"[{TEN_DATES[0]}...{TEN_DATES[1]}]")
    dates.press("Enter")
    expect(page.get_by_text("10 partitions").first).to_be_visible()
    shoot("ui-backfill")

    launch(page, ui, count=2)

    assert backfills(ui)[0]["numPartitions"] == 10
    assert failed_runs(ui) == []


def test_a_materialisation_of_predictions_shows_its_riskiest_users(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{PREDICTIONS_PAGE}?view=partitions&partition={YESTERDAY}")

    expect(page.get_by_text("dagster/partition_row_count")).to_be_visible()
    shown = page.get_by_role("row").filter(has_text="preview").get_by_role("table")
    expect(shown.get_by_role("columnheader", name="churn_probability")).to_be_visible()
    expect(shown.get_by_role("cell", name=str(YESTERDAY))).to_have_count(5)
    risks = [float(row.get_by_role("cell").nth(2).inner_text()) for row in shown.get_by_role("row").all()[1:]]
    assert risks == sorted(risks, reverse=True)
    assert risks[0] > 0.5
    shown.scroll_into_view_if_needed()
    shoot("ui-preview")


def test_the_model_shows_its_figures_and_pictures_where_they_stand(ui: str, page: Page, shoot: Shoot) -> None:
    page.set_viewport_size({**SCREEN, "height": 2200})
    page.goto(f"{ui}{MODEL_PAGE}")

    for name in ("ROC AUC", "calibration error", "within noise"):
        expect(page.get_by_role("cell", name=name, exact=True).first).to_be_visible()
    pictures = page.get_by_role("row").get_by_role("img", name=re.compile("over"))
    expect(pictures).to_have_count(3)
    for picture in pictures.all():
        # A picture that is not shown has no size.
        assert picture.evaluate("image => image.naturalWidth") == 300
    expect(page.get_by_text("[Show Markdown]")).to_have_count(0)
    shoot("ui-model")
    page.set_viewport_size(SCREEN)


def test_the_gates_verdict_is_a_check_of_the_model(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{MODEL_PAGE}?view=checks&checkDetail=passes_gate")

    for name in ("enough_labelled_rows", "beats_recency", "passes_gate"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"^Version \d+ is (promoted|refused)\."))).to_be_visible()
    shoot("ui-gate")


def test_an_asset_says_where_it_is_what_it_holds_and_leads_to_its_code(ui: str, page: Page) -> None:
    page.goto(f"{ui}{PREDICTIONS_PAGE}")

    for text in ("Row count", "Delta Lake", "tier: gold", "personal_data: yes"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.get_by_text("predictions.py").first).to_be_visible()


def test_columns_have_types_ranges_and_comments(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{FEATURES_PAGE}")

    row = page.get_by_role("row").filter(has_text="days_since_last_event")
    for text in ("bigint", "at most 29", "Days from the last event to feature_date, 0 to 29."):
        expect(row.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.get_by_text("Passing").first).to_be_visible()
    shoot("ui-columns")


def test_numbers_of_each_write_are_plotted(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{FEATURES_PAGE}")
    page.get_by_role("button", name=re.compile("Plots$")).click()

    plot = page.locator("canvas").first
    plot.scroll_into_view_if_needed()
    expect(plot).to_be_visible()
    expect(page.get_by_text("rows_written").first).to_be_visible()
    shoot("ui-plots")


def test_checks_have_their_results(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{FEATURES_PAGE}?view=checks")

    for name in ("not_null", "unique_key", "values", "references", "volume", "latest_date"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    shoot("ui-checks")


def test_lineage_leads_from_the_activity_to_the_model(ui: str, page: Page, shoot: Shoot) -> None:
    page.goto(f"{ui}{FEATURES_PAGE}?view=lineage")

    # What is too long for its box is cut in the middle.
    model = "churn_predi.*_model"
    for name in ("user_dai.*_activity", "other_ages", "churn_labels", model, "churn_predictions"):
        expect(page.get_by_text(re.compile(f"^{name}$")).first).to_be_visible()
    shoot("ui-lineage")
