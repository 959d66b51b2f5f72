"""On Sail, Arrow writes the files of a table and delta-rs commits them."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyspark.sql import DataFrame, SparkSession

from churn_assets.dates import DateRange
from churn_assets.lakehouse import arrow_writes
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.writes import NewRows, is_commit_conflict
from churn_assets.tables import CHURN_PREDICTIONS, EVENTS, USER_DAILY_ACTIVITY, Table
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import frame, utc

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
AT = utc(2026, 2, 1)


@pytest.fixture
def lake(spark: SparkSession, make_settings: MakeSettings) -> FolderLakehouse:
    lake = FolderLakehouse(make_settings(), lambda: spark)
    lake.read(EVENTS)  # which creates it
    return lake


def event(number: int, day: dt.date, microsecond: int = 0) -> tuple:
    moment = dt.datetime(day.year, day.month, day.day, 1, microsecond=microsecond, tzinfo=dt.UTC)
    return (f"event-{number}", number, moment, day, "page_view", None, AT)


def write(lake: FolderLakehouse, spark: SparkSession, *events: tuple) -> None:
    lake.write(EVENTS, NewRows(frame(spark, EVENTS, events), absent_at=lake.version(EVENTS)))


def files(lake: FolderLakehouse) -> list[Path]:
    return sorted(lake.location(EVENTS).rglob("*.parquet"))


def log_of(lake: FolderLakehouse) -> list[dict]:
    """What the log says of each live file, in the order of the days."""
    last = lake.location(EVENTS) / "_delta_log" / f"{lake.version(EVENTS):020}.json"
    actions = [json.loads(line) for line in last.read_text().splitlines()]
    added = sorted((one["add"] for one in actions if "add" in one), key=lambda add: add["path"])
    return [{**add, "stats": json.loads(add["stats"])} for add in added]


@pytest.mark.parametrize("writers", [1, 3])
def test_rows_of_many_partitions_become_one_file_a_day(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, writers: int
) -> None:
    monkeypatch.setattr(arrow_writes, "WRITERS", writers)
    rows = [event(number, FIRST if number % 2 else SECOND) for number in range(40)]

    lake.write(EVENTS, NewRows(frame(spark, EVENTS, rows).repartition(8), absent_at=lake.version(EVENTS)))

    assert [file.parent.name for file in files(lake)] == [f"event_date={FIRST}", f"event_date={SECOND}"]
    assert sorted(row[0] for row in lake.read(EVENTS).select("user_id").collect()) == list(range(40))


def test_the_log_knows_rows_extremes_and_nulls_of_each_file(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    write(lake, spark, event(7, FIRST, microsecond=123456), event(9, FIRST), event(8, SECOND))

    first, second = log_of(lake)
    assert (first["partitionValues"], second["partitionValues"]) == (
        {"event_date": "2026-01-01"},
        {"event_date": "2026-01-02"},
    )
    assert first["size"] == files(lake)[0].stat().st_size
    stats = first["stats"]
    assert stats["numRecords"] == 2
    assert (stats["minValues"]["user_id"], stats["maxValues"]["user_id"]) == (7, 9)
    assert stats["minValues"]["event_ts"] == "2026-01-01T01:00:00.000000Z"
    assert stats["maxValues"]["event_ts"] == "2026-01-01T01:00:00.123456Z"
    assert stats["nullCount"]["country"] == 2
    assert stats["nullCount"]["event_type"] == 0
    # Text and doubles have no extremes: see _PRUNING.
    assert set(stats["minValues"]) == {"user_id", "event_ts", "_ingested_at"}


def test_delta_rs_and_the_engine_prune_by_these_extremes_and_lose_no_row(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    write(lake, spark, event(7, FIRST, microsecond=123456), event(9, FIRST), event(8, SECOND))

    found = lake.read(EVENTS).where("event_ts >= timestamp'2026-01-01 01:00:00.123456'").collect()
    assert sorted(row["user_id"] for row in found) == [7, 8]
    table = DeltaTable(lake.location(EVENTS)).to_pyarrow_table(filters=[("user_id", ">=", 9)])
    assert table["user_id"].to_pylist() == [9]


def test_a_file_that_has_grown_large_is_followed_by_another(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_writes, "FILE_BYTES", 1)
    monkeypatch.setattr(arrow_writes, "HELD_ROWS", 10)

    lake.write(EVENTS, frame(spark, EVENTS, [event(number, FIRST) for number in range(30)]).repartition(3))

    assert len(files(lake)) > 1
    assert lake.read(EVENTS).count() == 30
    assert lake.details(EVENTS).rows == 30


def test_a_write_that_fails_half_way_leaves_no_file_and_no_version(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_writes, "HELD_ROWS", 1)
    write(lake, spark, event(1, FIRST))
    before, version = files(lake), lake.version(EVENTS)
    rows = frame(spark, EVENTS, [event(2, FIRST), event(3, SECOND)])
    bad = rows.selectExpr(
        "event_id",
        "user_id",
        "event_ts",
        "event_date",
        "event_type",
        "if(user_id = 3, raise_error('no disk'), country) AS country",
        "_ingested_at",
        "source_user_id",
        "amount",
    )

    with pytest.raises(Exception, match="no disk"):
        lake.write(EVENTS, NewRows(rows.unionByName(bad), absent_at=version))

    assert files(lake) == before
    assert lake.version(EVENTS) == version


def test_a_file_that_cannot_be_completed_is_not_left_behind(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_metadata: object) -> dict[str, object]:
        raise OSError("no space left")

    monkeypatch.setattr(arrow_writes, "_stats", full)

    with pytest.raises(Exception, match="no space left"):
        write(lake, spark, event(1, FIRST), event(2, SECOND))

    assert files(lake) == []


def test_booleans_and_probabilities_have_no_extremes(lake: FolderLakehouse, spark: SparkSession) -> None:
    rows = [(1, FIRST, 0.25, False, AT, 1), (2, FIRST, 0.5, True, AT, 1)]
    lake.write(CHURN_PREDICTIONS, frame(spark, CHURN_PREDICTIONS, rows), DateRange(FIRST, FIRST))

    last = lake.location(CHURN_PREDICTIONS) / "_delta_log" / f"{lake.version(CHURN_PREDICTIONS):020}.json"
    (add,) = [one["add"] for one in map(json.loads, last.read_text().splitlines()) if "add" in one]
    assert set(json.loads(add["stats"])["minValues"]) == {"user_id", "scored_at", "model_version"}


def commit_in_between(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, *, times: int
) -> None:
    """Let another writer commit while the rows of the next writes are computed."""
    spread, left = arrow_writes._spread, [times]

    def after_another(table: Table, rows: DataFrame) -> DataFrame:
        if left[0]:
            left[0] -= 1
            other = activity(spark, 99, SECOND) if table is USER_DAILY_ACTIVITY else None
            rows_of_other = other or frame(spark, EVENTS, [event(99, FIRST)])
            rows_of_other.write.format("delta").mode("append").save(str(lake.location(table)))
        return spread(table, rows)

    monkeypatch.setattr(arrow_writes, "_spread", after_another)


def activity(spark: SparkSession, user: int, day: dt.date) -> DataFrame:
    return frame(spark, USER_DAILY_ACTIVITY, [(user, day, 1, 0)])


def test_new_rows_are_refused_where_another_commits_while_they_are_computed(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(lake, spark, event(1, FIRST))
    commit_in_between(lake, spark, monkeypatch, times=1)

    with pytest.raises(CommitFailedError) as refused:
        write(lake, spark, event(2, FIRST))

    assert is_commit_conflict(refused.value)
    assert sorted(row[0] for row in lake.read(EVENTS).select("user_id").collect()) == [1, 99]


def test_a_replacement_is_done_again_where_another_commits_while_it_is_computed(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(USER_DAILY_ACTIVITY, activity(spark, 1, FIRST), DateRange(FIRST, FIRST))
    commit_in_between(lake, spark, monkeypatch, times=1)

    lake.write(USER_DAILY_ACTIVITY, activity(spark, 2, FIRST), DateRange(FIRST, FIRST))

    rows = lake.read(USER_DAILY_ACTIVITY).select("user_id", "event_date").collect()
    assert sorted(map(tuple, rows)) == [(2, FIRST), (99, SECOND)]


def insert(lake: FolderLakehouse, rows: DataFrame, before: Callable[[], None] = lambda: None) -> None:
    """Insert, and do ``before`` whenever the table has been opened and its keys are not yet looked up."""

    def existing() -> DataFrame:
        before()
        return lake.read(EVENTS)

    arrow_writes.insert(EVENTS, lake.location(EVENTS), rows, existing)


def users(lake: FolderLakehouse) -> list[int]:
    return sorted(row[0] for row in lake.read(EVENTS).select("user_id").collect())


def test_only_rows_whose_key_is_not_there_are_inserted(lake: FolderLakehouse, spark: SparkSession) -> None:
    write(lake, spark, event(1, FIRST), event(2, SECOND))
    insert(lake, frame(spark, EVENTS, [event(2, SECOND), event(3, SECOND)]))
    assert users(lake) == [1, 2, 3]
    version = lake.version(EVENTS)
    insert(lake, frame(spark, EVENTS, [event(3, SECOND)]))
    assert lake.version(EVENTS) == version


def test_an_insert_that_another_write_preceded_looks_for_its_keys_again(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    looks = []

    def another_comes_first() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            write(lake, spark, event(2, SECOND))

    insert(lake, frame(spark, EVENTS, [event(2, SECOND), event(3, SECOND)]), another_comes_first)

    assert looks == [0, 1]
    assert users(lake) == [2, 3]
