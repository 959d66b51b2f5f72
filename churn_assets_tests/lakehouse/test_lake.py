"""Writing by contract: what is let through, what is refused, and what a write says of itself."""

import dataclasses
import datetime as dt
import threading
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.contracts import Column
from churn_assets.dates import DateRange
from churn_assets.errors import ContractError, LakeError
from churn_assets.lakehouse import folder_lake as lake_module
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import EVENTS, TABLES, USER_DAILY_ACTIVITY, USERS, Table
from churn_assets_tests.conftest import MakeSettings

FIRST, SECOND, THIRD = (dt.date(2026, 1, day) for day in (1, 2, 3))


@pytest.fixture(params=["folders", "unity catalog"])
def storage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def spark(storage: str, spark: SparkSession, request: pytest.FixtureRequest) -> SparkSession:
    """The session that the lake of this test computes with."""
    return spark if storage == "folders" else request.getfixturevalue("cluster").session


@pytest.fixture
def lake(storage: str, spark: SparkSession, make_settings: MakeSettings) -> Lakehouse:
    if storage == "folders":
        return FolderLakehouse(make_settings(), lambda: spark)
    return UnityLakehouse(make_settings(deployment="databricks"), lambda: spark)


# For tests that look at a table's folder.
in_folders = pytest.mark.parametrize("storage", ["folders"], indirect=True)


def activity(spark: SparkSession, *rows: tuple[int, dt.date, int, int]) -> DataFrame:
    return spark.createDataFrame(
        [(*row, None) for row in rows],
        "user_id bigint, event_date date, events bigint, purchases bigint, amount decimal(28,2)",
    )


def event(spark: SparkSession, event_id: str, event_date: str, user_id: int = 1) -> DataFrame:
    return spark.sql(
        f"SELECT '{event_id}' AS event_id, {user_id}L AS user_id, "
        f"timestamp'{event_date} 01:00:00' AS event_ts, date'{event_date}' AS event_date, "
        "'page_view' AS event_type, CAST(NULL AS STRING) AS country, "
        "timestamp'2026-02-01 00:00:00' AS _ingested_at, CAST(NULL AS STRING) AS source_user_id, "
        "CAST(NULL AS DECIMAL(18,2)) AS amount"
    )


def users_by_day(lake: Lakehouse) -> list[tuple[dt.date, int]]:
    rows = lake.read(USER_DAILY_ACTIVITY).select("event_date", "user_id").collect()
    return sorted((row[0], row[1]) for row in rows)


@pytest.fixture
def two_days(lake: Lakehouse, spark: SparkSession) -> Lakehouse:
    """User 1 was there on the first day, user 2 on the second."""
    rows = activity(spark, (1, FIRST, 4, 1), (2, SECOND, 2, 0))
    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, SECOND))
    return lake


def test_a_version_of_the_past_is_read_as_it_was(two_days: Lakehouse, spark: SparkSession) -> None:
    then, when = two_days.version(USER_DAILY_ACTIVITY), dt.datetime.now(dt.UTC)
    # On folders past a checkpoint of the log, which Sail writes every ten commits.
    for user in range(3, 15 if type(two_days) is FolderLakehouse else 5):
        when = dt.datetime.now(dt.UTC)
        two_days.write(USER_DAILY_ACTIVITY, activity(spark, (user, SECOND, 1, 0)), DateRange(SECOND, SECOND))

    past = two_days.read(USER_DAILY_ACTIVITY, DateRange(SECOND, SECOND), version=then)
    assert [tuple(row) for row in past.collect()] == [(2, SECOND, 2, 0, None)]
    assert past.dtypes == two_days.read(USER_DAILY_ACTIVITY).dtypes
    assert two_days.version_at(USER_DAILY_ACTIVITY, when) == two_days.version(USER_DAILY_ACTIVITY) - 1


def test_replacing_a_date_leaves_the_others_alone(two_days: Lakehouse, spark: SparkSession) -> None:
    two_days.write(USER_DAILY_ACTIVITY, activity(spark, (3, SECOND, 1, 0)), DateRange(SECOND, THIRD))

    assert users_by_day(two_days) == [(FIRST, 1), (SECOND, 3)]


def test_replacing_a_date_with_nothing_empties_it(two_days: Lakehouse, spark: SparkSession) -> None:
    written = two_days.write(USER_DAILY_ACTIVITY, activity(spark), DateRange(SECOND, SECOND))

    assert users_by_day(two_days) == [(FIRST, 1)]
    assert written.rows_by_partition == {SECOND: 0}


def test_a_write_says_its_version_rows_and_rows_of_each_date(
    two_days: Lakehouse, spark: SparkSession
) -> None:
    before = two_days.version(USER_DAILY_ACTIVITY)

    written = two_days.write(
        USER_DAILY_ACTIVITY, activity(spark, (3, THIRD, 1, 0), (4, THIRD, 1, 0)), DateRange(SECOND, THIRD)
    )

    assert (written.version, written.rows) == (before + 1, 2)
    assert written.rows_by_partition == {SECOND: 0, THIRD: 2}
    assert written.bytes > 0
    assert two_days.partition_rows(USER_DAILY_ACTIVITY) == {FIRST: 1, THIRD: 2}


def test_a_row_outside_the_replaced_dates_is_refused_and_nothing_is_written(
    two_days: Lakehouse, spark: SparkSession
) -> None:
    version = two_days.version(USER_DAILY_ACTIVITY)

    with pytest.raises(ContractError, match="event_date = 2026-01-01, but the run replaces 2026-01-02"):
        two_days.write(USER_DAILY_ACTIVITY, activity(spark, (9, FIRST, 1, 0)), DateRange(SECOND, SECOND))

    assert two_days.version(USER_DAILY_ACTIVITY) == version


def test_a_row_without_a_date_is_refused(two_days: Lakehouse, spark: SparkSession) -> None:
    rows = activity(spark, (9, FIRST, 1, 0)).withColumn("event_date", F.lit(None).cast("date"))

    with pytest.raises(ContractError, match="event_date = NULL"):
        two_days.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))


def test_an_unknown_column_is_refused(two_days: Lakehouse, spark: SparkSession) -> None:
    rows = activity(spark, (9, FIRST, 1, 0)).withColumn("mood", F.lit("good"))

    with pytest.raises(ContractError, match=r"would gain columns \['mood'\].*tables.USER_DAILY_ACTIVITY"):
        two_days.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))


def test_a_missing_column_and_a_wrong_type_are_refused(two_days: Lakehouse, spark: SparkSession) -> None:
    rows = activity(spark, (9, FIRST, 1, 0)).select(
        "user_id", "event_date", F.col("events").cast("int").alias("events")
    )

    with pytest.raises(ContractError, match="events int instead of bigint; purchases missing"):
        two_days.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))


def test_a_null_where_the_contract_has_none_is_refused(two_days: Lakehouse, spark: SparkSession) -> None:
    rows = activity(spark, (9, FIRST, 1, 0)).withColumn("user_id", F.lit(None).cast("bigint"))

    with pytest.raises(ContractError, match="NULL in user_id"):
        two_days.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))

    assert users_by_day(two_days) == [(FIRST, 1), (SECOND, 2)]


def test_the_order_of_columns_does_not_matter(lake: Lakehouse, spark: SparkSession) -> None:
    rows = activity(spark, (1, FIRST, 4, 2)).select("amount", "purchases", "events", "event_date", "user_id")

    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))

    assert lake.read(USER_DAILY_ACTIVITY).first() == (1, FIRST, 4, 2, None)


def test_a_merge_adds_new_keys_only(lake: Lakehouse, spark: SparkSession) -> None:
    lake.write(EVENTS, event(spark, "a", "2026-01-01", user_id=1))

    written = lake.write(
        EVENTS,
        event(spark, "a", "2026-01-01", user_id=2).unionByName(event(spark, "b", "2026-01-02")),
    )

    found = lake.read(EVENTS).select("event_id", "user_id").collect()
    assert sorted((row[0], row[1]) for row in found) == [("a", 1), ("b", 1)]
    assert written.rows_by_partition == {SECOND: 1}


def test_nothing_replaced_by_nothing_says_so_of_each_date(lake: Lakehouse, spark: SparkSession) -> None:
    written = lake.write(USER_DAILY_ACTIVITY, activity(spark), DateRange(FIRST, SECOND))

    assert (written.rows, written.rows_by_partition) == (0, {FIRST: 0, SECOND: 0})


def test_a_merge_of_nothing_new_leaves_the_version(lake: Lakehouse, spark: SparkSession) -> None:
    first = lake.write(EVENTS, event(spark, "a", "2026-01-01"))

    again = lake.write(EVENTS, event(spark, "a", "2026-01-01"))
    empty = lake.write(EVENTS, event(spark, "a", "2026-01-01").limit(0))

    assert (first.committed, again.committed, empty.committed) == (True, False, False)
    assert lake.version(EVENTS) == first.version


def test_new_rows_go_in_where_nothing_has_changed_since_their_keys_were_looked_up(
    lake: Lakehouse, spark: SparkSession
) -> None:
    lake.write(EVENTS, event(spark, "a", "2026-01-01"))
    version = lake.version(EVENTS)

    written = lake.write(EVENTS, NewRows(event(spark, "b", "2026-01-02"), absent_at=version))

    assert (written.committed, written.rows_by_partition) == (True, {SECOND: 1})
    assert lake.read(EVENTS).count() == 2


def test_new_rows_are_refused_where_another_writer_came_after_their_keys_were_looked_up(
    lake: Lakehouse, spark: SparkSession
) -> None:
    version = lake.write(EVENTS, event(spark, "a", "2026-01-01")).version
    between = lake.write(EVENTS, event(spark, "b", "2026-01-02")).version

    with pytest.raises(LakeError, match=f"has changed since version {version}.*run it again"):
        lake.write(EVENTS, NewRows(event(spark, "b", "2026-01-02"), absent_at=version))

    assert lake.version(EVENTS) == between
    assert lake.read(EVENTS).count() == 2


def test_no_new_rows_leave_the_version(lake: Lakehouse, spark: SparkSession) -> None:
    version = lake.write(EVENTS, event(spark, "a", "2026-01-01")).version

    written = lake.write(EVENTS, NewRows(event(spark, "b", "2026-01-02").limit(0), absent_at=version))

    assert not written.committed
    assert lake.version(EVENTS) == version


def test_a_merge_looks_for_keys_in_the_partitions_that_its_writer_names(
    lake: Lakehouse, spark: SparkSession
) -> None:
    lake.write(EVENTS, event(spark, "a", "2026-01-01"))
    rows = event(spark, "a", "2026-01-01").unionByName(event(spark, "b", "2026-01-02"))

    lake.write(EVENTS, NewRows(rows, partitions=[FIRST, SECOND]))
    lake.write(EVENTS, NewRows(rows.limit(0), partitions=[FIRST]))

    assert lake.read(EVENTS).count() == 2


@in_folders
def test_a_merge_rewrites_no_file(lake: FolderLakehouse, spark: SparkSession) -> None:
    lake.write(EVENTS, event(spark, "a", "2026-01-01"))
    before = set(DeltaTable(lake.location(EVENTS)).file_uris())

    lake.write(EVENTS, event(spark, "b", "2026-01-01"))

    assert before < set(DeltaTable(lake.location(EVENTS)).file_uris())


@in_folders
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_table_on_disk_is_as_its_contract_says(lake: FolderLakehouse, table: Table) -> None:
    assert lake.read(table).count() == 0

    on_disk = DeltaTable(lake.location(table))
    assert [field.name for field in on_disk.schema().fields] == table.column_names
    assert [field.nullable for field in on_disk.schema().fields] == [c.nullable for c in table.columns]
    assert [field.metadata.get("comment") for field in on_disk.schema().fields] == [
        column.comment for column in table.columns
    ]
    assert on_disk.metadata().description == table.comment


@in_folders
def test_a_table_on_disk_with_other_columns_is_named_and_left_alone(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    location = lake.location(USERS)
    spark.sql("SELECT 1L AS user_id, 'x' AS nickname").write.format("delta").save(str(location))

    with pytest.raises(ContractError) as error:
        lake.read(USERS)

    assert "first_seen_date missing instead of date" in str(error.value)
    assert "nickname string instead of none" in str(error.value)
    assert "tables.USERS" in str(error.value)


def as_restarted(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """The lake as another process finds it."""
    monkeypatch.setattr(lake_module, "_POINTERS", {})
    return type(lake)(lake.settings, lambda: lake.spark)


def changed(table: Table, *columns: Column) -> Table:
    """The table by another contract."""
    return dataclasses.replace(table, columns=columns)


@pytest.fixture
def former(lake: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """A lake whose events were written before they had a source_user_id, and an amount."""
    rows = event(spark, "a", "2026-01-01").drop("source_user_id", "amount")
    lake.write(changed(EVENTS, *EVENTS.columns[:-2]), rows)
    return as_restarted(lake, monkeypatch)


def test_a_table_of_an_earlier_release_gains_its_nullable_columns_in_place(
    former: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = former.version(EVENTS)
    former.require_contract(EVENTS)

    assert [tuple(row) for row in former.read(EVENTS).select("event_id", "source_user_id").collect()] == [
        ("a", None)
    ]
    assert former.version(EVENTS) == before + 1
    assert former.read(EVENTS).columns == EVENTS.column_names

    new = event(spark, "b", "2026-01-01").withColumn("source_user_id", F.lit("b@example.com"))
    written = former.write(EVENTS, new.unionByName(event(spark, "a", "2026-01-01")))
    assert written.rows_by_partition == {FIRST: 1}
    again = as_restarted(former, monkeypatch)
    found = again.read(EVENTS).select("event_id", "source_user_id").collect()
    assert sorted(map(tuple, found)) == [("a", None), ("b", "b@example.com")]
    assert again.version(EVENTS) == before + 2


# A column that every row of a later release has, in the midst of the others.
MOOD = Column("mood", "bigint", "How the user felt.", minimum=0)
WITH_MOOD = changed(
    USER_DAILY_ACTIVITY, *USER_DAILY_ACTIVITY.columns[:2], MOOD, *USER_DAILY_ACTIVITY.columns[2:]
)


def test_where_rows_are_replaced_a_column_without_gaps_comes_with_gaps_until_they_are(
    two_days: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = as_restarted(two_days, monkeypatch)
    rows = activity(spark, (1, FIRST, 5, 1)).withColumn("mood", F.lit(9).cast("bigint"))

    assert {row["mood"] for row in lake.read(WITH_MOOD).collect()} == {None}
    lake.write(WITH_MOOD, rows, DateRange(FIRST, FIRST))

    found = lake.read(WITH_MOOD).select("event_date", "user_id", "mood", "events").collect()
    assert sorted(map(tuple, found)) == [(FIRST, 1, 9, 5), (SECOND, 2, None, 2)]
    lake.require_contract(WITH_MOOD)


@in_folders
def test_a_column_that_a_release_lets_be_null_may_be_null_in_the_table_that_is_there(
    two_days: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = USER_DAILY_ACTIVITY.columns
    loosened = changed(
        USER_DAILY_ACTIVITY,
        *(dataclasses.replace(one, nullable=one.nullable or one.name == "purchases") for one in columns),
    )
    lake = as_restarted(two_days, monkeypatch)
    version, read = lake.version(loosened), lake.ledger.read().table(loosened)

    lake.read(loosened)

    # One commit that is no other rows to anybody, and none the next time.
    assert read is not None
    assert read.delta_version is not None
    log = lake.log_since(loosened, read.delta_version)
    assert log is not None
    assert log.later == []
    assert lake.version(loosened) == version + 1
    rows = activity(spark, (1, FIRST, 5, 1)).withColumn("purchases", F.lit(None).cast("bigint"))
    lake.write(loosened, rows, DateRange(FIRST, FIRST))
    assert {row["purchases"] for row in as_restarted(lake, monkeypatch).read(loosened).collect()} == {None, 0}
    assert lake.version(loosened) == version + 2


def test_who_only_looks_learns_what_a_table_has_to_gain_and_changes_nothing(
    two_days: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = as_restarted(two_days, monkeypatch)
    version, looking = lake.version(WITH_MOOD), lake.read_only()

    assert looking.query("SELECT count(*) AS n FROM {activity}", activity=WITH_MOOD) == [{"n": 2}]
    assert [column.name for column in looking.missing_columns(WITH_MOOD)] == ["mood"]
    with pytest.raises(LakeError, match="is not there yet"):
        looking.read(USERS)
    assert (lake.version(WITH_MOOD), lake.version(USERS)) == (version, -1)

    assert [column.name for column in lake.add_missing_columns(WITH_MOOD)] == ["mood"]
    assert lake.add_missing_columns(WITH_MOOD) == lake.missing_columns(WITH_MOOD) == []
    assert lake.version(WITH_MOOD) == version + 1
    assert lake.read(WITH_MOOD).columns[-1] == "mood"


def test_a_gap_in_a_column_that_came_later_is_refused_though_the_table_would_take_it(
    two_days: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = as_restarted(two_days, monkeypatch)
    version = lake.version(WITH_MOOD)
    rows = activity(spark, (1, FIRST, 5, 1)).withColumn("mood", F.lit(None).cast("bigint"))

    with pytest.raises(ContractError, match="would get a NULL in mood"):
        lake.write(WITH_MOOD, rows, DateRange(FIRST, FIRST))

    # One commit for the column, none for the row.
    assert lake.version(WITH_MOOD) == version + 1


def test_a_version_from_before_a_column_came_reads_it_as_null(former: Lakehouse) -> None:
    before = former.version(EVENTS)
    former.read(EVENTS)

    past = former.read(EVENTS, version=before)

    assert past.dtypes == former.read(EVENTS).dtypes
    assert [row["source_user_id"] for row in past.collect()] == [None]


def test_gaining_a_column_is_no_row_for_who_asks_what_a_merge_wrote(
    former: Lakehouse, spark: SparkSession
) -> None:
    written = former.write(EVENTS, event(spark, "a", "2026-01-01"))

    assert (written.committed, written.rows, written.rows_by_partition) == (False, 0, {})
    assert former.partition_rows(EVENTS) == {FIRST: 1}


@pytest.mark.parametrize(
    ("columns", "difference"),
    [
        (
            (*EVENTS.columns[:-1], Column("owner", "string", "Renamed.", nullable=True)),
            "owner string instead",
        ),
        ((*EVENTS.columns, Column("more", "string", "Removed since.", nullable=True)), "more string instead"),
        ((EVENTS.columns[0], *EVENTS.columns[2:]), "user_id missing instead of bigint"),
        (
            (*EVENTS.columns[:-2], Column("source_user_id", "bigint", "Of another type.", nullable=True)),
            "source_user_id bigint instead of string",
        ),
    ],
    ids=["renamed", "removed", "not null", "retyped"],
)
def test_any_other_difference_is_refused_in_one_line_and_nothing_is_changed(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, columns: tuple[Column, ...], difference: str
) -> None:
    lake.read(changed(EVENTS, *columns))
    version, restarted = lake.version(EVENTS), as_restarted(lake, monkeypatch)

    with pytest.raises(ContractError, match=difference) as error:
        restarted.read(EVENTS)

    assert "\n" not in str(error.value)
    assert restarted.version(EVENTS) == version


@in_folders
def test_two_lakes_in_one_process_do_not_mix(
    two_days: Lakehouse, make_settings: MakeSettings, tmp_path: Path, spark: SparkSession
) -> None:
    other = FolderLakehouse(make_settings(lake_root=tmp_path / "other"), lambda: spark)

    assert users_by_day(other) == []
    assert users_by_day(two_days) == [(FIRST, 1), (SECOND, 2)]


@in_folders
def test_a_lake_that_cannot_be_written_is_one_line(
    make_settings: MakeSettings, tmp_path: Path, spark: SparkSession
) -> None:
    (tmp_path / "file").write_text("not a folder")
    lake = FolderLakehouse(make_settings(lake_root=tmp_path / "file" / "lake"), lambda: spark)

    with pytest.raises(LakeError, match=r"cannot be written at .*Not a directory.*CHURN_LAKE_ROOT"):
        lake.read(USERS)


def test_writers_of_one_table_at_the_same_time_all_get_their_rows_in(
    lake: Lakehouse, spark: SparkSession
) -> None:
    lake.read(EVENTS)
    failures: list[Exception] = []

    def write(number: int) -> None:
        try:
            lake.write(EVENTS, event(spark, f"e{number}", "2026-01-01"))
        except Exception as error:  # noqa: BLE001 - whatever it was, the test must see it
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failures == []
    assert lake.read(EVENTS).count() == 4


def test_a_table_that_is_replaced_by_dates_is_not_replaced_without_any(
    two_days: Lakehouse, spark: SparkSession
) -> None:
    with pytest.raises(LakeError, match="is replaced by partitions, and none were named"):
        two_days.write(USER_DAILY_ACTIVITY, activity(spark, (3, THIRD, 1, 0)))

    assert users_by_day(two_days) == [(FIRST, 1), (SECOND, 2)]
