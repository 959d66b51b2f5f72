"""A lake in a bucket holds what one in a folder would, whatever the bucket does in between."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from churn_assets.dates import DateRange
from churn_assets.errors import DamagedError, LakeError
from churn_assets.lakehouse.file_ledger import append_new_files
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_lines import read_rows
from churn_assets.lakehouse.writes import NewRows
from churn_assets.lease import Lease
from churn_assets.sample.landing_writer import LandingWriter
from churn_assets.serving import shared_store
from churn_assets.serving.endpoint import online_folder
from churn_assets.serving.features.online_store import OnlineStore, publish
from churn_assets.tables import (
    COMPUTED_DATES,
    EVENTS,
    LANDED_EVENTS,
    USER_DAILY_ACTIVITY,
    Table,
)
from churn_assets.verification import tables as verification
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.rows import frame, utc

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
AT = utc(2026, 2, 1)
# The others are, to those who ask, like one of these.
ANSWERS = [412, 500, *(pytest.param(status, marks=pytest.mark.slow) for status in (409, 503))]
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
def test_a_table_is_there_though_the_answer_to_its_creation_is_lost(
    bucket_lake: FolderLakehouse, spark: SparkSession, bucket_server: BucketServer, status: int
) -> None:
    bucket_server.fail(Fault("PUT", logged(EVENTS), status=status, is_lost=True))

    bucket_lake.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST)]))

    assert bucket_server.happened() == [1]
    # Sail commits an empty version 1 then, and nobody minds.
    assert users_of(bucket_lake, EVENTS) == [1]


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


def test_of_two_machines_that_take_in_one_file_at_once_one_is_told_to_try_again(
    bucket_lake: FolderLakehouse, spark: SparkSession, tmp_path: Path
) -> None:
    LandingWriter(bucket_lake.settings.landing_root).put("a.json", LINE % 1 + LINE % 2)
    elsewhere = bucket_lake.settings.model_copy(update={"state_root": tmp_path / "other"})
    other = Unlocked(elsewhere, lambda: spark)

    def read_when_the_other_is_done(names: list[str]) -> DataFrame:
        # This machine was away for longer than its lease.
        take_in(other)
        return read_rows(spark, bucket_lake.settings.landing_root, names)

    with pytest.raises(LakeError, match=r"has changed since version 0.*run it again when that one has ended"):
        take_in(bucket_lake, read_when_the_other_is_done)
    assert bucket_lake.partition_rows(LANDED_EVENTS) == {utc(2026, 2, 1).date(): 2}
    assert take_in(bucket_lake) == 0


class Unlocked(FolderLakehouse):
    """A lake whose writer has lost its lease without knowing it."""

    @contextmanager
    def lock(self, table: Table) -> Iterator[None]:  # noqa: ARG002 - whichever
        yield


def take_in(lake: FolderLakehouse, read: Callable[[list[str]], DataFrame] | None = None) -> int:
    root = lake.settings.landing_root
    reader = read or (lambda names: read_rows(lake.spark, root, names))
    return append_new_files(lake, set(list_files(root).files), reader, lambda: AT).files


def test_the_table_is_locked_for_other_machines_while_it_is_written(
    bucket_lake: FolderLakehouse, tmp_path: Path
) -> None:
    lease = bucket_lake.settings.lake_root / ".locks" / "main_catalog.clean.events.lease"
    with bucket_lake.lock(EVENTS), bucket_lake.lock(EVENTS):
        assert Lease(lease).holder() is not None
    assert Lease(lease).holder() is None
    with bucket_lake.lock(COMPUTED_DATES):
        assert Lease(lease.with_name("main_catalog.ops.computed_dates.lease")).holder() is None


def test_online_features_are_followed_by_another_machine(
    bucket_lake: FolderLakehouse, tmp_path: Path
) -> None:
    settings = bucket_lake.settings
    elsewhere = settings.model_copy(update={"state_root": tmp_path / "other"})
    assert not shared_store.follow(elsewhere)
    for day in (FIRST, SECOND):
        made = publish(online_folder(settings), [2, 1], [[20.0], [10.0]], ["x"], day, 1)
        shared_store.share(settings, made.version)

    assert shared_store.follow(elsewhere)
    assert not shared_store.follow(elsewhere)

    snapshot = OnlineStore(online_folder(elsewhere)).snapshot()
    assert snapshot is not None
    assert snapshot.feature_date == SECOND
    assert snapshot.lookup([1, 2, 3])[0].tolist() == [[10.0], [20.0], [0.0]]


def test_a_killed_first_write_is_put_aside(bucket_lake: FolderLakehouse, spark: SparkSession) -> None:
    location = bucket_lake.location(EVENTS)
    (location / "part-1.parquet").write_bytes(b"rows of a table that was never committed")
    bucket_lake.write(EVENTS, frame(spark, EVENTS, [event(1, FIRST)]))
    assert users_of(bucket_lake, EVENTS) == [1]
    aside = location.with_name(".events.half-made-1") / "part-1.parquet"
    assert aside.read_bytes().startswith(b"rows of")
