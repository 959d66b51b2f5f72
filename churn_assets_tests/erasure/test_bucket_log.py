"""A table in a bucket moves on by one version and has no past; kills and other writers are made good."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from pyspark.sql import SparkSession

from churn_assets import bucket
from churn_assets.dates import DateRange
from churn_assets.erasure import bucket_log, tables
from churn_assets.erasure.people import People
from churn_assets.lakehouse import damage
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import USER_DAILY_ACTIVITY
from churn_assets_tests.buckets import BucketServer, Fault
from churn_assets_tests.conftest import bucket_settings
from churn_assets_tests.erasure import two_versions
from churn_assets_tests.erasure.two_versions import COLUMNS, DATES, FIRST, PEOPLE, PERSON


@pytest.fixture(scope="module")
def written(
    bucket_server: BucketServer, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A bucket with two versions of two dates, and the person in all of them."""
    uri = bucket_server.new_bucket()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in bucket_server.environment().items():
            patch.setenv(variable, value)
        lake = FolderLakehouse(bucket_settings(uri, tmp_path_factory.mktemp("written")), lambda: spark)
        two_versions.write(lake, spark)
    return uri


@pytest.fixture
def lake(bucket_lake: FolderLakehouse, written: str, bucket_server: BucketServer) -> FolderLakehouse:
    bucket_server.copy(f"{written}/lake", str(bucket_lake.settings.lake_root))
    return bucket_lake


def erase(lake: FolderLakehouse) -> None:
    tables.erase(lake, USER_DAILY_ACTIVITY, PEOPLE, is_known=True)


def place(lake: FolderLakehouse) -> Path:
    return lake.location(USER_DAILY_ACTIVITY)


def rows(lake: FolderLakehouse) -> list[tuple[int, dt.date, int]]:
    found = (
        DeltaTable(place(lake)).to_pyarrow_table(columns=["user_id", "event_date", "purchases"]).to_pylist()
    )
    return sorted(
        ((row["user_id"], row["event_date"], row["purchases"]) for row in found), key=lambda row: row[1]
    )


def assert_erased(lake: FolderLakehouse, server: BucketServer) -> None:
    assert rows(lake) == [(1, day, 1) for day in DATES.days()]
    for name, content in server.objects(str(place(lake))).items():
        assert str(PERSON).encode() not in content, name
        assert PERSON.to_bytes(8, "little") not in content, name
    assert damage.log_damage(place(lake)) is None
    assert tables.are_known_to_the_ledger(lake, [USER_DAILY_ACTIVITY]) == [USER_DAILY_ACTIVITY]
    assert [row.rows for row in lake.ledger.read().dates(USER_DAILY_ACTIVITY).values()] == [1, 1]


def test_the_table_moves_on_by_one_version_and_no_date_has_changed(
    lake: FolderLakehouse, bucket_server: BucketServer
) -> None:
    version, changed = lake.version(USER_DAILY_ACTIVITY), lake.details(USER_DAILY_ACTIVITY).changed_at
    before = lake.ledger.read().dates(USER_DAILY_ACTIVITY)

    erase(lake)

    assert_erased(lake, bucket_server)
    assert [row["user_id"] for row in lake.read(USER_DAILY_ACTIVITY).collect()] == [1, 1]
    assert lake.version(USER_DAILY_ACTIVITY) == version + 1
    assert lake.details(USER_DAILY_ACTIVITY).changed_at == changed
    after = lake.ledger.read().dates(USER_DAILY_ACTIVITY)
    assert [row.changed for row in after.values()] == [row.changed for row in before.values()]
    with pytest.raises(DeltaError):
        DeltaTable(place(lake), version=version)
    names = bucket_server.objects(str(place(lake)))
    assert len([name for name in names if name.endswith(".zstd.parquet")]) == 2
    assert {names[f"_delta_log/{one:020}.json"] for one in range(version + 1)} == {bucket_log.EMPTIED}

    # Where nothing is left to do, nothing is done.
    erase(lake)
    assert lake.version(USER_DAILY_ACTIVITY) == version + 1


def test_the_next_write_goes_on_from_there_and_so_does_the_next_erasure(
    lake: FolderLakehouse, spark: SparkSession, bucket_server: BucketServer
) -> None:
    erase(lake)
    version = lake.version(USER_DAILY_ACTIVITY)
    came = spark.createDataFrame([(3, FIRST, 1, 0, None)], COLUMNS)
    lake.write(USER_DAILY_ACTIVITY, came, DateRange(FIRST, FIRST))
    assert lake.version(USER_DAILY_ACTIVITY) == version + 1
    assert rows(lake) == [(3, FIRST, 0), (1, DATES.end, 1)]

    tables.erase(lake, USER_DAILY_ACTIVITY, People(frozenset({3}), frozenset()), is_known=True)

    assert lake.version(USER_DAILY_ACTIVITY) == version + 2
    assert rows(lake) == [(1, DATES.end, 1)]


def test_a_writer_that_has_read_a_version_before_is_refused(lake: FolderLakehouse) -> None:
    writer = DeltaTable(place(lake))

    erase(lake)

    file = AddAction("part-late.parquet", 1, {"event_date": str(FIRST)}, 0, True, '{"numRecords": 1}')
    with pytest.raises(CommitFailedError):
        writer.create_write_transaction(
            [file],
            "overwrite",
            writer.schema(),
            partition_by=["event_date"],
            partition_filters=[("event_date", "=", str(FIRST))],
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    # Nor can who has read an even earlier one, and has looked already whether its number is free.
    for number in range(writer.version() + 1):
        assert bucket.create(place(lake) / "_delta_log" / f"{number:020}.json", b"late") is None
    assert lake.partition_rows(USER_DAILY_ACTIVITY) == dict.fromkeys(DATES.days(), 1)


def test_where_another_writer_commits_first_the_erasure_begins_again(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, bucket_server: BucketServer
) -> None:
    commit = bucket_log._commit
    others = [spark.createDataFrame([(user, FIRST, 2, 1, None) for user in (1, PERSON)], COLUMNS)]

    def late(*arguments: Any) -> None:
        if others:
            lake.write(USER_DAILY_ACTIVITY, others.pop(), DateRange(FIRST, FIRST))
        commit(*arguments)

    monkeypatch.setattr(bucket_log, "_commit", late)
    version = lake.version(USER_DAILY_ACTIVITY)

    erase(lake)

    assert_erased(lake, bucket_server)
    assert lake.version(USER_DAILY_ACTIVITY) == version + 2


@pytest.mark.parametrize("status", [412, 500])
def test_a_commit_whose_answer_is_lost_is_made_once(
    lake: FolderLakehouse, bucket_server: BucketServer, status: int
) -> None:
    version = lake.version(USER_DAILY_ACTIVITY)
    commit = f"{USER_DAILY_ACTIVITY.name}/_delta_log/{version + 1:020}.json"
    bucket_server.fail(Fault("PUT", commit, status=status, is_lost=True))

    erase(lake)

    assert bucket_server.happened() == [1]
    assert_erased(lake, bucket_server)
    assert lake.version(USER_DAILY_ACTIVITY) == version + 1


def dying(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def die(*arguments: Any, **named: Any) -> None:
        if after:
            function(*arguments, **named)
        raise KeyboardInterrupt

    return die


@pytest.mark.parametrize(
    ("place_of_death", "after"),
    [
        pytest.param((bucket_log, "_commit"), False, id="before the commit"),
        pytest.param((bucket_log, "_commit"), True, id="before the checkpoint"),
        pytest.param((bucket, "remove_below"), False, id="before the files of the past go"),
        pytest.param((tables, "_note"), False, id="before the ledger is told"),
    ],
)
def test_whoever_was_killed_is_completed_and_the_table_was_whole_in_between(
    lake: FolderLakehouse, bucket_server: BucketServer, place_of_death: tuple[Any, str], after: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*place_of_death, dying(getattr(*place_of_death), after=after))
        with pytest.raises(KeyboardInterrupt):
            erase(lake)
    assert {row for row in rows(lake) if row[0] == 1} == {(1, day, 1) for day in DATES.days()}

    erase(lake)

    assert_erased(lake, bucket_server)


def test_a_commit_says_when_it_was_and_not_by_what_it_was_made(lake: FolderLakehouse) -> None:
    def said() -> dict[str, Any]:
        commit = place(lake) / "_delta_log" / f"{lake.version(USER_DAILY_ACTIVITY):020}.json"
        return json.loads(next(line for line in commit.read_text().splitlines() if "commitInfo" in line))

    before = said()["commitInfo"]
    erase(lake)
    after = said()["commitInfo"]

    assert after.pop("txnId")
    assert after == {name: before[name] for name in after}
    assert "operationParameters" not in after
