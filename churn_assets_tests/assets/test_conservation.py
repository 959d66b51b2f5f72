"""Every landed line is accounted for: those of the last days in each run, all of them when asked."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.conservation import CHECKED_DAYS, row_conservation
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets_tests.rows import NOON, clean, landed_rows, line

NO_JSON = "no json"


def event(event_id: str) -> str:
    return line(event_id, 1, "2026-02-01")


@pytest.fixture
def take_in(lake: Lakehouse, spark: SparkSession) -> Callable[..., None]:
    """Land lines some days ago and clean them, but for an event that gets lost on the way."""

    def take(*lines: str, days_ago: int, lost: str = "") -> None:
        landed = landed_rows(spark, *lines, at=NOON - days_ago * ONE_DAY, file=f"{days_ago}.jsonl")
        lake.write(LANDED_EVENTS, landed)
        batch = clean(landed, lake.read(EVENTS))
        lake.write(QUARANTINED_EVENTS, batch.quarantined)
        kept = batch.events.where(f"event_id != '{lost}'")
        lake.write(EVENTS, NewRows(kept, absent_at=lake.version(EVENTS)))

    return take


@pytest.fixture
def accounts(lake: Lakehouse, instance: dg.DagsterInstance) -> Callable[..., tuple[bool, dict[str, Any]]]:
    """Whether the check passes in a run that writes Silver, or alone, and what it counts."""

    def run(*, alone: bool = False) -> tuple[bool, dict[str, Any]]:
        @dg.asset(key=asset_key(EVENTS))
        def written() -> None: ...

        resources: dict[str, Any] = {"lakehouse": lake, "pyspark": None, "pyspark_step_launcher": None}
        job = dg.Definitions(
            assets=[written],
            asset_checks=[row_conservation()],
            resources=resources,
            executor=dg.in_process_executor,
        ).resolve_implicit_global_asset_job_def()
        if alone:
            keys = {dg.AssetCheckKey(asset_key(EVENTS), "row_conservation")}
            job = job.get_subset(asset_selection=set(), asset_check_selection=keys)
        result = job.execute_in_process(instance=instance)
        (found,) = result.get_asset_check_evaluations()
        return found.passed, {name: entry.value for name, entry in found.metadata.items()}

    return run


def counts(metadata: dict[str, Any]) -> tuple[int, int, int, int, int]:
    names = ("landed_rows", "events", "quarantined_rows", "exact_duplicates", "unaccounted_rows")
    return tuple(metadata[name] for name in names)  # type: ignore[return-value]  # five of them


def test_a_run_accounts_for_the_lines_of_the_last_days_and_the_check_alone_for_all(
    take_in: Callable, accounts: Callable
) -> None:
    take_in(event("a"), event("b"), NO_JSON, days_ago=CHECKED_DAYS)
    take_in(event("c"), event("c"), event("a"), NO_JSON, days_ago=CHECKED_DAYS - 1)
    take_in(event("d"), days_ago=0)

    passed, of_the_run = accounts()
    assert (passed, counts(of_the_run)) == (True, (5, 2, 1, 2, 0))
    last = NOON.date()
    assert of_the_run["scope"] == f"lines ingested on {last - (CHECKED_DAYS - 1) * ONE_DAY} to {last}"

    passed, alone = accounts(alone=True)
    assert (passed, counts(alone)) == (True, (8, 4, 2, 2, 0))
    assert alone["scope"] == "all lines"


@pytest.mark.parametrize("days_ago", [0, CHECKED_DAYS - 1])
def test_a_line_that_went_missing_fails_the_runs_of_a_week(
    take_in: Callable, accounts: Callable, days_ago: int
) -> None:
    take_in(event("a"), event("b"), days_ago=days_ago, lost="b")
    if days_ago:
        take_in(event("c"), days_ago=0)

    passed, metadata = accounts()

    assert (passed, metadata["unaccounted_rows"]) == (False, 1)


def test_after_a_week_only_the_check_alone_still_finds_it(take_in: Callable, accounts: Callable) -> None:
    take_in(event("a"), event("b"), days_ago=CHECKED_DAYS, lost="b")
    take_in(event("c"), days_ago=0)

    assert accounts()[0]
    passed, metadata = accounts(alone=True)
    assert (passed, metadata["unaccounted_rows"]) == (False, 1)


def test_where_silver_is_large_only_the_dates_that_the_lines_name_are_read(
    take_in: Callable, accounts: Callable
) -> None:
    many = [line(f"old-{number}", 1, f"2026-01-{1 + number % 28:02}") for number in range(60)]
    take_in(*many, days_ago=CHECKED_DAYS)
    # A delivery of an event of long ago, one without a time, and a new one.
    take_in(many[3], line("x", 1, "n/a"), event("new"), days_ago=0)

    passed, metadata = accounts()

    assert (passed, counts(metadata)) == (True, (3, 1, 1, 1, 0))


def test_an_empty_lake_has_nothing_to_account_for(accounts: Callable) -> None:
    passed, metadata = accounts()

    assert (passed, counts(metadata)) == (True, (0, 0, 0, 0, 0))
