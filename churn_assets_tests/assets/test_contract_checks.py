"""What a run wrote is held to its contract, and the model does not learn from what breaks it."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import (
    LATEST_DATE,
    NOT_NULL,
    REFERENCES,
    SILENT_DAYS,
    UNIQUE_KEY,
    VALUES,
    VOLUME,
    contract_checks,
    names,
)
from churn_assets.assets.checks.volume import Volume, volumes
from churn_assets.assets.dagster_partitions import ONE_RUN_PER_RANGE
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    EVENTS,
    LANDED_EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets_tests.rows import NOON, D, day, frame

DATES = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-04-01")
Results = dict[str, dg.AssetCheckEvaluation]


def features(user: int, on: dt.date, days_since: int = 0, age: int = 40) -> tuple:
    return (user, on, 10, 5, days_since, 2, age, 3)


@pytest.fixture
def checked(lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance) -> Callable[..., Results]:
    """A run that writes rows of one table, in the range of its dates if it has any, and then checks it."""

    def run(
        table: Table, rows: Sequence[tuple], dates: DateRange | None = None, *, alone: bool = False
    ) -> Results:
        @dg.asset(
            key=asset_key(table),
            partitions_def=DATES if dates else None,
            backfill_policy=ONE_RUN_PER_RANGE if dates else None,
        )
        def written() -> None:
            lake.write(table, frame(spark, table, rows), dates)

        @dg.asset(deps=[asset_key(table)])
        def learns_from_it() -> None:
            pass

        resources: dict[str, Any] = {"lakehouse": lake, "pyspark": None, "pyspark_step_launcher": None}
        job = dg.Definitions(
            assets=[written, learns_from_it],
            asset_checks=[contract_checks(table)],
            resources=resources,
            executor=dg.in_process_executor,
        ).resolve_implicit_global_asset_job_def()
        if alone:
            keys = {dg.AssetCheckKey(asset_key(table), name) for name in names(table)}
            job = job.get_subset(asset_selection=set(), asset_check_selection=keys)
        tags = (
            {
                "dagster/asset_partition_range_start": str(dates.start),
                "dagster/asset_partition_range_end": str(dates.end),
            }
            if dates and not alone
            else {}
        )
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        return {one.check_name: one for one in result.get_asset_check_evaluations()}

    return run


@pytest.fixture
def known_users(lake: Lakehouse, spark: SparkSession) -> None:
    lake.write(USERS, frame(spark, USERS, [(user, day(-50), D, "DE") for user in (1, 2, 3)]))


def failed(results: Results) -> set[str]:
    return {name for name, one in results.items() if not one.passed} - {LATEST_DATE}


@pytest.mark.usefixtures("known_users")
def test_good_features_pass_every_check(checked: Callable[..., Results]) -> None:
    results = checked(USER_FEATURES, [features(1, D), features(2, D)], DateRange(D, D))

    assert set(results) == {NOT_NULL, UNIQUE_KEY, VALUES, REFERENCES, VOLUME, LATEST_DATE}
    assert failed(results) == set()
    assert results[VALUES].metadata["rows"].value == 2
    assert results[VALUES].metadata["scope"].value == "2026-03-10"


@pytest.mark.usefixtures("known_users")
def test_a_value_out_of_range_is_shown_with_the_row_that_has_it(checked: Callable[..., Results]) -> None:
    results = checked(USER_FEATURES, [features(1, D), features(2, D, days_since=30)], DateRange(D, D))

    assert failed(results) == {VALUES}
    assert results[VALUES].description == "days_since_last_event <= 29: 1 of 2 rows"
    assert results[VALUES].metadata["days_since_last_event <= 29"].value == 1
    assert "| 2 | `2026-03-10` | 10 | 5 | 30 |" in str(results[VALUES].metadata["examples"].value)


@pytest.mark.usefixtures("known_users")
def test_a_repeated_key_and_an_unknown_user_are_found(checked: Callable[..., Results]) -> None:
    results = checked(
        USER_FEATURES, [features(1, D), features(1, D, days_since=1), features(9, D)], DateRange(D, D)
    )

    assert failed(results) == {UNIQUE_KEY, REFERENCES}
    assert results[UNIQUE_KEY].description == "(user_id, feature_date) occurs twice: 1 of 3 rows"
    assert results[REFERENCES].description == "not in main_catalog.clean.users: 1 of 3 rows"


@pytest.mark.usefixtures("known_users")
@pytest.mark.parametrize(("table", "goes_on"), [(USER_FEATURES, False), (USER_DAILY_ACTIVITY, True)])
def test_what_learns_from_rubbish_does_not_start(
    checked: Callable[..., Results], instance: dg.DagsterInstance, table: Table, goes_on: bool
) -> None:
    rows = [features(1, D, days_since=30)] if table is USER_FEATURES else [(1, D, 0, 0)]

    assert failed(checked(table, rows, DateRange(D, D))) == {VALUES}

    learnt = instance.get_latest_materialization_event(dg.AssetKey("learns_from_it"))
    assert (learnt is not None) is goes_on
    assert instance.get_latest_materialization_event(asset_key(table))


@pytest.mark.usefixtures("known_users")
def test_a_run_looks_at_its_own_dates_and_a_check_alone_at_all(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    bad = frame(spark, USER_FEATURES, [features(1, day(-1), days_since=30)])
    lake.write(USER_FEATURES, bad, DateRange(day(-1), day(-1)))

    assert failed(checked(USER_FEATURES, [features(1, D)], DateRange(D, D))) == set()

    results = checked(USER_FEATURES, [], alone=True)
    assert failed(results) == {VALUES}
    assert (results[VALUES].metadata["rows"].value, results[VALUES].metadata["scope"].value) == (
        2,
        "whole table",
    )


def test_labels_are_looked_up_in_the_features_of_their_dates(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    known = frame(spark, USER_FEATURES, [features(1, D), features(2, day(-1))])
    lake.write(USER_FEATURES, known, DateRange(day(-1), D))

    results = checked(CHURN_LABELS, [(1, D, 0), (2, D, 1)], DateRange(D, D))

    assert failed(results) == {REFERENCES}
    assert results[REFERENCES].description == "not in main_catalog.gold.user_features: 1 of 2 rows"


def test_of_silver_a_run_looks_at_the_newest_ingestion(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    earlier = frame(spark, EVENTS, [("a", 1, NOON, D, None, None, NOON - dt.timedelta(hours=1))])
    lake.write(EVENTS, earlier)

    results = checked(EVENTS, [("b", 1, NOON, D, None, None, NOON), ("c", 1, NOON, D, None, None, NOON)])

    assert failed(results) == set()
    assert results[UNIQUE_KEY].metadata["rows"].value == 2
    assert results[UNIQUE_KEY].metadata["scope"].value == "newest ingestion"
    assert checked(EVENTS, [], alone=True)[UNIQUE_KEY].metadata["rows"].value == 3


def test_a_table_that_was_written_today_and_ends_last_spring_is_not_up_to_date(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    lake.write(USER_FEATURES, frame(spark, USER_FEATURES, [features(1, D)]), DateRange(D, D))

    results = checked(CHURN_PREDICTIONS, [(1, D, 0.1, False, NOON, 1)], DateRange(D, D))

    assert not results[LATEST_DATE].passed
    assert (results[LATEST_DATE].description or "").startswith("feature_date 2026-03-10, due ")


def test_an_odd_volume_is_a_warning_and_stops_nothing(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    for week in (1, 2):
        on = day(-7 * week)
        rows = [features(user, on) for user in range(1, 11)]
        lake.write(USER_FEATURES, frame(spark, USER_FEATURES, rows), DateRange(on, on))

    volume = checked(USER_FEATURES, [features(user, D) for user in (1, 2, 3)], DateRange(D, D))[VOLUME]

    assert (volume.passed, volume.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert volume.description == "2026-03-10: 3 rows, usually 10"


def test_bronze_has_no_key_and_no_ranges() -> None:
    assert names(LANDED_EVENTS) == [NOT_NULL]


def test_a_volume_is_judged_by_the_median_of_the_same_weekday() -> None:
    weeks = {day(-28): 100, day(-21): 90, day(-14): 10, day(-7): 110}

    assert volumes({**weeks, day(-1): 7, D: 47}, D, D) == [Volume(D, 47, 95.0)]
    assert [volumes({**weeks, D: rows}, D, D)[0].is_odd for rows in (47, 48, 190, 191)] == [
        True,
        False,
        False,
        True,
    ]


def test_without_two_weeks_behind_it_no_volume_is_judged() -> None:
    assert volumes({day(-7): 100, D: 1}, D, D) == []
    assert volumes({}, D) == []


def test_of_a_long_range_the_last_seven_dates_are_judged_and_a_missing_one_is_zero() -> None:
    rows = {day(-back): 10 for back in range(60) if back != 2}

    found = volumes(rows, D, day(-50))

    assert [one.day for one in found] == [D - back * ONE_DAY for back in range(6, -1, -1)]
    assert [one.rows for one in found if one.is_odd] == [0]


def test_silent_days_that_cost_no_label_are_named_and_warn_nobody(
    checked: Callable[..., Results], lake: Lakehouse, spark: SparkSession
) -> None:
    # Twelve events a day in the 100 days up to D, but for seven days: less than half of a horizon of 30.
    silent = [day(i) for i in range(-20, -13)]
    events = [
        (f"e{i}-{n}", 1, dt.datetime.combine(day(i), dt.time(9), dt.UTC), day(i), "view", "DE", NOON)
        for i in range(-100, 1)
        for n in range(12)
        if day(i) not in silent
    ]
    lake.write(EVENTS, frame(spark, EVENTS, events))

    found = checked(CHURN_LABELS, [(1, day(-60), 0)], DateRange(day(-60), day(-60)))[SILENT_DAYS]

    assert found.passed
    assert found.metadata["silent"].value == f"{silent[0]} to {silent[-1]}"
    assert (found.metadata["silent_days"].value, found.metadata["unlabelled_dates"].value) == (7, "0")
    assert "no feature_date lost its label" in (found.description or "")
