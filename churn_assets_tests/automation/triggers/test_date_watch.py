"""A table that falls behind while nothing runs is found out, and said once."""

import datetime as dt

import dagster as dg
from dagster import AssetMaterialization
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import LATEST_DATE
from churn_assets.automation.triggers.date_watch import date_sensors, in_short, record_last_dates
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.freshness import DATED_TABLES, LastDate
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import CHURN_PREDICTIONS
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, D, frame

KEY = asset_key(CHURN_PREDICTIONS)
# Predictions of D are due on the next day at 07:00 UTC.
MORNING = dt.datetime(2026, 3, 11, 8, tzinfo=dt.UTC)


def score(lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance, on: dt.date) -> None:
    lake.write(
        CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, [(1, on, 0.1, False, NOON, 1)]), DateRange(on, on)
    )
    instance.report_runless_asset_event(AssetMaterialization(KEY, partition=str(on)))


def result(instance: dg.DagsterInstance) -> tuple[bool, str | None] | None:
    record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(KEY, LATEST_DATE))
    return (record.evaluation.passed, record.evaluation.description) if record and record.evaluation else None


def test_the_check_fails_as_soon_as_the_next_date_is_due_and_passes_when_it_is_there(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance
) -> None:
    score(lake, spark, instance, D)

    record_last_dates(lake, instance, MORNING)
    assert result(instance) == (True, "feature_date 2026-03-10, due 2026-03-10")

    record_last_dates(lake, instance, MORNING + 2 * ONE_DAY)
    assert result(instance) == (False, "feature_date 2026-03-10, due 2026-03-12: 2 days behind")

    score(lake, spark, instance, D + 2 * ONE_DAY)
    record_last_dates(lake, instance, MORNING + 2 * ONE_DAY)
    assert result(instance) == (True, "feature_date 2026-03-12, due 2026-03-12")


def test_what_has_not_changed_is_not_recorded_again(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance
) -> None:
    score(lake, spark, instance, D)

    changed = [record_last_dates(lake, instance, MORNING) for _ in range(3)]

    assert [len(tables) for tables in changed] == [1, 0, 0]


def test_what_was_never_made_is_not_behind(lake: Lakehouse, instance: dg.DagsterInstance) -> None:
    assert record_last_dates(lake, instance, MORNING) == []
    assert result(instance) is None


def test_on_databricks_no_sensor_starts_a_cluster(make_settings: MakeSettings) -> None:
    assert date_sensors(make_settings(deployment="databricks")) == []
    assert len(date_sensors(make_settings(deployment="local"))) == 1


def test_a_tick_is_a_line_however_many_tables_have_changed() -> None:
    late = [LastDate(table, D, D + ONE_DAY) for table in DATED_TABLES[:5]]
    fresh = [LastDate(table, D, D) for table in DATED_TABLES[5:7]]
    names = ", ".join(table.name for table in DATED_TABLES[:3])

    assert in_short([*late, *fresh]) == f"2 tables have a new last date; behind: {names} and 2 more"
    assert in_short(fresh[:1]) == "1 table has a new last date"
    assert in_short([]) == "No table has gained a date or fallen behind."
