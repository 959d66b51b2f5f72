"""What is said of a lake of an earlier release, and what is done to it."""

import datetime as dt
from dataclasses import replace

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.automation.staleness import migration
from churn_assets.automation.staleness.migration import changes, grow, made_by_other_code
from churn_assets.contracts import Column
from churn_assets.dates import DateRange
from churn_assets.errors import ContractError
from churn_assets.graph import build_defs
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import TABLES, TREATMENTS, USER_DAILY_ACTIVITY, USERS
from churn_assets_tests.rows import D, day, frame

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MOOD = Column("mood", "bigint", "How the user felt.")
ACTIVITY = replace(USER_DAILY_ACTIVITY, columns=(*USER_DAILY_ACTIVITY.columns, MOOD))


@pytest.fixture
def older(lake: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    """A lake whose activity knows nothing of moods, which today's contract does."""
    rows = frame(spark, USER_DAILY_ACTIVITY, [(1, D, 2, 0), (1, day(1), 1, 1)])
    lake.write(USER_DAILY_ACTIVITY, rows, DateRange(D, day(1)))
    monkeypatch.setattr(
        migration, "ASSET_TABLES", [ACTIVITY if table is USER_DAILY_ACTIVITY else table for table in TABLES]
    )
    return lake


def test_in_a_new_lake_every_table_is_new_and_no_date_has_anything_before_it(
    lake: Lakehouse, instance: dg.DagsterInstance
) -> None:
    changed = changes(lake, instance, build_defs(lake.settings), NOW)

    assert [(change.table, change.is_new, change.dates) for change in changed] == [
        (table, True, {}) for table in TABLES
    ]


def test_a_column_to_come_is_said_and_nothing_is_changed(
    older: Lakehouse, instance: dg.DagsterInstance
) -> None:
    version = older.version(USER_DAILY_ACTIVITY)

    changed = changes(older, instance, build_defs(older.settings), NOW)

    gaining = [change for change in changed if change.columns]
    assert [(change.table.name, change.columns) for change in gaining] == [("user_daily_activity", [MOOD])]
    assert older.version(USER_DAILY_ACTIVITY) == version


def test_columns_come_at_once_and_a_second_time_there_is_nothing_to_do(older: Lakehouse) -> None:
    assert grow(older) == {ACTIVITY: [MOOD]}
    assert grow(older) == {}


def test_a_table_of_contacts_grows_as_others_do(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = (1, NOW, "email", None, "contacts.csv", NOW)
    lake.write(TREATMENTS, frame(spark, TREATMENTS, [contact]))
    answer = Column("answer", "string", "What the user said.", nullable=True)
    grown = replace(TREATMENTS, columns=(*TREATMENTS.columns, answer))
    monkeypatch.setattr(migration, "ASSET_TABLES", [grown])
    monkeypatch.setattr(migration, "CONTACT_TABLES", [grown])

    assert [change.columns for change in changes(lake, instance, build_defs(lake.settings), NOW)] == [
        [answer]
    ]
    assert grow(lake) == {grown: [answer]}


def test_no_table_gains_anything_where_one_is_refused(
    older: Lakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    older.write(USERS, frame(spark, USERS, [(1, D, D, "DE", None)]))
    renamed = [replace(column, name=f"{column.name}_") for column in USERS.columns]
    monkeypatch.setattr(migration, "ASSET_TABLES", [ACTIVITY, replace(USERS, columns=tuple(renamed))])
    version = older.version(USER_DAILY_ACTIVITY)

    with pytest.raises(ContractError, match="country string instead of none"):
        grow(older)

    assert older.version(USER_DAILY_ACTIVITY) == version


@pytest.mark.parametrize(("now", "is_other"), [("one", False), ("two", True)])
def test_a_table_without_dates_is_of_other_code_if_its_last_run_had_another_version(
    instance: dg.DagsterInstance, now: str, is_other: bool
) -> None:
    @dg.asset(key=asset_key(USERS), code_version="one")
    def users() -> None: ...

    versions = {asset_key(USERS): now}
    assert not made_by_other_code(instance, USERS, versions)
    dg.materialize([users], instance=instance)

    assert made_by_other_code(instance, USERS, versions) == is_other
