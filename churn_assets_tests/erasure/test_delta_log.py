"""A table keeps its number and its readers, and nothing of its past; a kill at any point is made good."""

import json
import shutil
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.sql import SparkSession

from churn_assets import durable_files
from churn_assets.dates import DateRange
from churn_assets.erasure import tables
from churn_assets.erasure.people import People
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import USER_DAILY_ACTIVITY
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.erasure import two_versions
from churn_assets_tests.erasure.two_versions import COLUMNS, DATES, FIRST, PEOPLE, PERSON


@pytest.fixture(scope="module")
def written(spark: SparkSession, deployment: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of two dates: on the second, two users more."""
    from churn_assets_tests.conftest import settings_in

    folder = tmp_path_factory.mktemp("written")
    lake = FolderLakehouse(settings_in(folder, deployment=deployment), lambda: spark)
    two_versions.write(lake, spark)
    return folder / "lake"


@pytest.fixture
def lake(written: Path, spark: SparkSession, make_settings: MakeSettings) -> FolderLakehouse:
    settings = make_settings()
    shutil.copytree(written, settings.lake_root)
    return FolderLakehouse(settings, lambda: spark)


def erase(lake: FolderLakehouse) -> None:
    known = tables.are_known_to_the_ledger(lake, [USER_DAILY_ACTIVITY])
    assert known == [USER_DAILY_ACTIVITY]
    tables.erase(lake, USER_DAILY_ACTIVITY, PEOPLE, is_known=True)


def assert_erased(lake: FolderLakehouse) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    found = lake.read(USER_DAILY_ACTIVITY).orderBy("event_date").collect()
    assert [(row["user_id"], row["event_date"], row["purchases"]) for row in found] == [
        (1, day, 1) for day in DATES.days()
    ]
    assert DeltaTable(location).to_pyarrow_table()["user_id"].to_pylist() == [1, 1]
    for file in location.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert str(PERSON).encode() not in content, file
        assert PERSON.to_bytes(8, "little") not in content, file
    assert tables.are_known_to_the_ledger(lake, [USER_DAILY_ACTIVITY]) == [USER_DAILY_ACTIVITY]
    noted = lake.ledger.read().dates(USER_DAILY_ACTIVITY)
    assert [row.rows for row in noted.values()] == [1, 1]


def test_the_version_stays_and_its_past_is_gone(lake: FolderLakehouse) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    version, changed = lake.version(USER_DAILY_ACTIVITY), lake.details(USER_DAILY_ACTIVITY).changed_at
    before = lake.ledger.read().dates(USER_DAILY_ACTIVITY)
    assert version > 1

    erase(lake)

    assert_erased(lake)
    assert (lake.version(USER_DAILY_ACTIVITY), lake.details(USER_DAILY_ACTIVITY).changed_at) == (
        version,
        changed,
    )
    after = lake.ledger.read().dates(USER_DAILY_ACTIVITY)
    assert [row.changed for row in after.values()] == [row.changed for row in before.values()]
    with pytest.raises(DeltaError):
        DeltaTable(location, version=version - 1)
    assert len(list(location.rglob("part-*.parquet"))) == 2


def test_the_next_write_goes_on_from_there(lake: FolderLakehouse) -> None:
    erase(lake)
    version = lake.version(USER_DAILY_ACTIVITY)
    rows = lake.spark.createDataFrame([(3, FIRST, 1, 0, None)], COLUMNS)

    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(FIRST, FIRST))

    assert lake.version(USER_DAILY_ACTIVITY) == version + 1
    found = lake.read(USER_DAILY_ACTIVITY).select("user_id", "event_date").collect()
    assert sorted(map(tuple, found)) == [(1, DATES.end), (3, FIRST)]


def test_a_table_with_a_checkpoint_and_without_older_commits_is_erased_too(lake: FolderLakehouse) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    DeltaTable(location).create_checkpoint()
    (location / "_delta_log" / f"{0:020}.json").unlink()

    erase(lake)

    assert_erased(lake)


@pytest.mark.parametrize("death", [1, 2, 3])
def test_whoever_was_killed_while_the_log_changed_places_is_completed(
    lake: FolderLakehouse, monkeypatch: pytest.MonkeyPatch, death: int
) -> None:
    done = 0

    def sync(folder: Path) -> None:
        nonlocal done
        done += 1
        if done == death:
            raise KeyboardInterrupt

    monkeypatch.setattr(durable_files, "sync", sync)
    with pytest.raises(KeyboardInterrupt):
        tables.erase(lake, USER_DAILY_ACTIVITY, PEOPLE, is_known=True)
    monkeypatch.undo()
    assert (lake.location(USER_DAILY_ACTIVITY) / "_delta_log").is_dir() == (death != 2)

    assert tables.there(lake) == [USER_DAILY_ACTIVITY]
    tables.erase(lake, USER_DAILY_ACTIVITY, PEOPLE, is_known=True)

    assert_erased(lake)


def test_a_commit_says_when_it_was_and_no_longer_by_what_it_was_made(lake: FolderLakehouse) -> None:
    location = lake.location(USER_DAILY_ACTIVITY)
    commit = location / "_delta_log" / f"{lake.version(USER_DAILY_ACTIVITY):020}.json"
    before = json.loads(next(line for line in commit.read_text().splitlines() if "commitInfo" in line))

    erase(lake)

    info = json.loads(commit.read_text().splitlines()[0])["commitInfo"]
    assert info == {name: before["commitInfo"][name] for name in info}
    assert "operationParameters" not in info
    assert info["timestamp"]


def test_nobody_is_found_where_nobody_is(lake: FolderLakehouse) -> None:
    assert tables.count(lake, USER_DAILY_ACTIVITY, PEOPLE) == 2
    assert tables.count(lake, USER_DAILY_ACTIVITY, People(frozenset({2}), frozenset())) == 0
