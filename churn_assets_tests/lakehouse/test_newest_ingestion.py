"""The rows of the last ingestion, from the files of its dates alone."""

import datetime as dt

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.computed_dates.rows import Row, ledger_name
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.newest_ingestion import last_ingested_at, newest_ingestion
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS
from churn_assets_tests.rows import NOON, D, day, frame, landed_rows, line, rows_of

HOUR = dt.timedelta(hours=1)


def event(event_id: str, date: dt.date, at: dt.datetime) -> tuple[object, ...]:
    return (event_id, 1, dt.datetime.combine(date, dt.time(12), dt.UTC), date, None, None, at)


def test_of_silver_they_are_on_whatever_dates_it_brought(lake: FolderLakehouse, spark: SparkSession) -> None:
    lake.write(EVENTS, frame(spark, EVENTS, [event("a", D, NOON), event("b", day(1), NOON)]))
    late = [event("c", day(-9), NOON + HOUR), event("d", D, NOON + HOUR)]
    lake.write(EVENTS, frame(spark, EVENTS, late))

    assert rows_of(newest_ingestion(lake, EVENTS), "event_id") == [("c",), ("d",)]


def test_dates_that_it_did_not_bring_are_not_read(
    lake: FolderLakehouse, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    for ago in (2, 1, 0):
        lake.write(EVENTS, frame(spark, EVENTS, [event(f"{ago}", day(-ago), NOON - ago * HOUR)]))

    newest_ingestion(lake, EVENTS).explain("extended")

    # Of Spark the filter on the partitions, of Sail the files.
    plan = capsys.readouterr().out.rpartition("Physical Plan")[2]
    assert str(D) in plan
    assert str(day(-2)) not in plan


def test_where_the_ledger_does_not_know_the_last_write_all_dates_are_read(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    lake.write(EVENTS, frame(spark, EVENTS, [event("a", D, NOON)]))
    ledger = lake.ledger
    lake.write(EVENTS, frame(spark, EVENTS, [event("b", day(1), NOON + HOUR)]))
    # As if the writer had died before its last note.
    table_row = ledger.read().table(EVENTS)
    assert table_row
    ledger.append([table_row._replace(is_open=True), Row(ledger_name(EVENTS), D)])

    assert rows_of(newest_ingestion(lake, EVENTS), "event_id") == [("b",)]
    assert last_ingested_at(lake, EVENTS) == round((NOON + HOUR).timestamp()) * 1_000_000


def test_of_bronze_they_are_some_of_the_last_day(lake: FolderLakehouse, spark: SparkSession) -> None:
    for number, at in enumerate((NOON - ONE_DAY, NOON - HOUR, NOON)):
        lake.write(LANDED_EVENTS, landed_rows(spark, line(f"{number}", 1, "2026-02-01"), at=at))

    assert rows_of(newest_ingestion(lake, LANDED_EVENTS), "event_id") == [("2",)]


def test_an_empty_table_has_none(lake: FolderLakehouse) -> None:
    assert rows_of(newest_ingestion(lake, QUARANTINED_EVENTS), "_raw") == []
    assert last_ingested_at(lake, EVENTS) is None
