"""A lake in a bucket holds what one in a folder would, whatever the bucket does in between."""

import datetime as dt

import pytest
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.errors import DamagedError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import (
    COMPUTED_DATES,
    EVENTS,
    USER_DAILY_ACTIVITY,
    Table,
)
from churn_assets.verification import tables as verification
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.rows import frame, utc

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
AT = utc(2026, 2, 1)
ANSWERS = [409, 412, 500, 503]
LINE = b'{"event_id": "%d", "user_id": 1, "event_ts": "2026-01-01T00:00:00Z", "event_type": "a"}\n'


def event(number: int, day: dt.date) -> tuple:
    moment = dt.datetime(day.year, day.month, day.day, 1, tzinfo=dt.UTC)
    return (f"event-{number}", number, moment, day, "page_view", None, AT)


def activity(lake: FolderLakehouse, spark: SparkSession, day: dt.date, *users: int) -> None:
    rows = frame(spark, USER_DAILY_ACTIVITY, [(user, day, 1, 0) for user in users])
    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(day, day))


def users_of(lake: FolderLakehouse, table: Table) -> list[int]:
    return sorted(row["user_id"] for row in lake.read(table).select("user_id").collect())


def logged(table: Table) -> str:
    return f"{table.name}/_delta_log/"


def test_tables_are_appended_to_replaced_and_merged_as_in_a_folder(
    bucket_lake: FolderLakehouse, lake: FolderLakehouse, spark: SparkSession
) -> None:
    for one in (bucket_lake, lake):
        one.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST), event(2, SECOND)]))
        one.write(EVENTS, frame(spark, EVENTS, [event(2, SECOND), event(3, SECOND)]))
        one.write(EVENTS, NewRows(frame(spark, EVENTS, [event(4, FIRST)]), absent_at=one.version(EVENTS)))
        activity(one, spark, FIRST, 1, 2)
        activity(one, spark, SECOND, 3)
        activity(one, spark, FIRST, 4)

    for table in (EVENTS, USER_DAILY_ACTIVITY):
        assert users_of(bucket_lake, table) == users_of(lake, table)
        assert bucket_lake.partition_rows(table) == lake.partition_rows(table)
        assert bucket_lake.version(table) == lake.version(table)
        # A second object of the lake has kept nothing of the first's.
        assert bucket_lake.details(table).rows == lake.details(table).rows
    assert users_of(bucket_lake, EVENTS) == [1, 2, 3, 4]
    assert users_of(bucket_lake, USER_DAILY_ACTIVITY) == [3, 4]
    assert bucket_lake.sample_rows(EVENTS, FIRST, 5) == lake.sample_rows(EVENTS, FIRST, 5)
    assert bucket_lake.read(EVENTS, version=1).count() == 2
    noted, in_folder = bucket_lake.ledger.read(), lake.ledger.read()
    assert noted.last_note == in_folder.last_note
    assert noted.dates(USER_DAILY_ACTIVITY).keys() == in_folder.dates(USER_DAILY_ACTIVITY).keys()


def test_what_is_not_as_the_log_says_is_found_in_a_bucket(
    bucket_lake: FolderLakehouse, spark: SparkSession
) -> None:
    bucket_lake.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST), event(2, SECOND)]))
    found = verification.files(bucket_lake, EVENTS, deep=True)
    assert found is not None
    assert found.is_well

    location = bucket_lake.location(EVENTS)
    first, second = sorted(location.rglob("*.parquet"))
    first.write_bytes(b"cut")
    second.unlink()
    found = verification.files(bucket_lake, EVENTS)
    assert found is not None
    assert "2 of 2 files are damaged" in found.says
    assert "has 3 bytes instead of" in found.says

    (location / "_delta_log" / f"{bucket_lake.version(EVENTS):020}.json").write_bytes(b"")
    with pytest.raises(DamagedError, match="ends with an empty commit"):
        bucket_lake.version(EVENTS)


@pytest.mark.parametrize("status", ANSWERS)
def test_a_commit_whose_answer_is_lost_is_there_once(
    bucket_lake: FolderLakehouse, spark: SparkSession, bucket_server: BucketServer, status: int
) -> None:
    bucket_lake.read(EVENTS)
    activity(bucket_lake, spark, FIRST, 1)
    version = bucket_lake.version(USER_DAILY_ACTIVITY)
    places = (logged(EVENTS), logged(USER_DAILY_ACTIVITY), logged(COMPUTED_DATES))
    bucket_server.fail(*(Fault("PUT", place, status=status, is_lost=True) for place in places))

    new = frame(spark, EVENTS, [event(1, FIRST)])
    bucket_lake.write(EVENTS, NewRows(new, absent_at=bucket_lake.version(EVENTS)))
    activity(bucket_lake, spark, FIRST, 2, 3)

    assert bucket_server.happened() == [1, 1, 1]
    assert users_of(bucket_lake, EVENTS) == [1]
    assert users_of(bucket_lake, USER_DAILY_ACTIVITY) == [2, 3]
    assert bucket_lake.version(USER_DAILY_ACTIVITY) == version + 1
    notes = [row.noted for row in bucket_lake.ledger.read().all_rows()]
    assert bucket_lake.ledger.read().last_note == max(notes)


@pytest.mark.parametrize("status", ANSWERS)
def test_a_merge_whose_answer_is_lost_inserts_once(
    bucket_lake: FolderLakehouse, spark: SparkSession, bucket_server: BucketServer, status: int
) -> None:
    bucket_lake.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST)]))
    bucket_server.fail(Fault("PUT", logged(EVENTS), status=status, is_lost=True))

    bucket_lake.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST), event(2, FIRST)]))

    assert bucket_server.happened() == [1]
    assert users_of(bucket_lake, EVENTS) == [1, 2]


@pytest.mark.parametrize("status", ANSWERS)
def test_a_refused_commit_is_made_again(
    bucket_lake: FolderLakehouse, spark: SparkSession, bucket_server: BucketServer, status: int
) -> None:
    activity(bucket_lake, spark, FIRST, 1)
    places = (logged(USER_DAILY_ACTIVITY), logged(COMPUTED_DATES))
    bucket_server.fail(*(Fault("PUT", place, status=status) for place in places))

    activity(bucket_lake, spark, FIRST, 2)

    assert bucket_server.happened() == [1, 1]
    assert users_of(bucket_lake, USER_DAILY_ACTIVITY) == [2]
