"""Unity Catalog's tables: the same rows, versions and reports as in folders, and what only they have."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from churn_assets.dates import DateRange
from churn_assets.errors import ContractError, LakeError
from churn_assets.lakehouse.ddl import create_managed_table
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.tables import CHURN_PREDICTIONS, EVENTS, TABLES, USER_DAILY_ACTIVITY, USERS, Table
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.lakehouse.conftest import Cluster, made_old
from churn_assets_tests.rows import NOON, frame, rows_of

FIRST, SECOND, THIRD = (dt.date(2026, 1, day) for day in (1, 2, 3))

Writes = list[tuple[Table, list[tuple[Any, ...]], DateRange | None]]

OVERWRITES: Writes = [
    (USER_DAILY_ACTIVITY, [(1, FIRST, 4, 1), (2, SECOND, 2, 0)], DateRange(FIRST, SECOND)),
    (USER_DAILY_ACTIVITY, [(3, THIRD, 1, 0), (4, THIRD, 1, 0)], DateRange(SECOND, THIRD)),
    (USER_DAILY_ACTIVITY, [], DateRange(FIRST, FIRST)),
]
MERGES: Writes = [
    (EVENTS, [("a", 1, NOON, NOON.date(), "view", "DE", NOON)], None),
    (
        EVENTS,
        [
            ("a", 2, NOON, NOON.date(), "view", "DE", NOON),
            ("b", 1, NOON - dt.timedelta(days=1), NOON.date() - dt.timedelta(days=1), None, None, NOON),
        ],
        None,
    ),
    (EVENTS, [("a", 3, NOON, NOON.date(), "view", "DE", NOON)], None),
    (EVENTS, [], None),
]
WHOLE: Writes = [
    (USERS, [(1, FIRST, SECOND, "DE")], None),
    (USERS, [(1, FIRST, THIRD, "DE"), (2, THIRD, THIRD, None)], None),
]


@pytest.fixture
def unity(cluster: Cluster, make_settings: MakeSettings) -> UnityLakehouse:
    return UnityLakehouse(make_settings(deployment="databricks"), lambda: cluster.session)


def done(lake: Lakehouse, writes: Writes) -> list[tuple[Any, ...]]:
    """What each write says of itself, seconds and bytes aside."""
    reports = []
    for table, rows, dates in writes:
        written = lake.write(table, frame(lake.spark, table, rows), dates)
        assert (written.bytes > 0) is (written.rows > 0)
        reports.append((written.version, written.rows, written.committed, written.rows_by_partition))
    return reports


@pytest.mark.parametrize("writes", [OVERWRITES, MERGES, WHOLE], ids=["dates", "merge", "whole table"])
def test_the_same_writes_give_the_same_rows_versions_and_reports_as_in_folders(
    unity: UnityLakehouse, lake: FolderLakehouse, writes: Writes
) -> None:
    table = writes[0][0]

    assert done(unity, writes) == done(lake, writes)

    assert rows_of(unity.read(table)) == rows_of(lake.read(table))
    assert unity.version(table) == lake.version(table)
    ours, theirs = unity.details(table), lake.details(table)
    assert (ours.rows, ours.first_date, ours.last_date, ours.version) == (
        *(theirs.rows, theirs.first_date, theirs.last_date),
        theirs.version,
    )
    # Files of the same rows differ: Sail wrote these, Arrow those.
    live = DeltaTable(lake.location(table)).file_uris()
    assert theirs.bytes == sum(Path(file).stat().st_size for file in live)
    assert ours.bytes > 0
    assert abs(ours.changed_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    if table.partition_column:
        assert unity.partition_rows(table) == lake.partition_rows(table)


def test_totals_of_a_date_are_its_rows_and_sums_in_both(unity: UnityLakehouse, lake: Lakehouse) -> None:
    rows = [
        (1, FIRST, 0.25, False, NOON, 1),
        (2, FIRST, 0.5, True, NOON, 1),
        (1, SECOND, 0.75, True, NOON, 1),
    ]
    columns = ["churn_probability", "predicted_churn"]
    for one in (unity, lake):
        one.write(CHURN_PREDICTIONS, frame(one.spark, CHURN_PREDICTIONS, rows), DateRange(FIRST, SECOND))

        assert one.totals(CHURN_PREDICTIONS, FIRST, columns) == (
            2,
            {"churn_probability": 0.75, "predicted_churn": 1.0},
        )
        # Exactly so much is enough.
        assert [
            one.count_at_least(CHURN_PREDICTIONS, FIRST, "churn_probability", p) for p in (0.25, 0.3, 1)
        ] == [
            2,
            1,
            0,
        ]


def test_a_query_names_tables_by_their_placeholders_in_both(unity: UnityLakehouse, lake: Lakehouse) -> None:
    for one in (unity, lake):
        done(one, WHOLE)

        found = one.query("SELECT count(*) AS n, max(last_seen_date) AS last FROM {users}", users=USERS)

        assert found == [{"n": 2, "last": THIRD}]


def test_a_new_table_has_what_its_contract_and_the_platform_say(
    unity: UnityLakehouse, cluster: Cluster
) -> None:
    for table in TABLES:
        assert unity.version(table) == -1
        assert unity.read(table).count() == 0

        name = unity.table_name(table)
        detail = cluster.session.sql(f"DESCRIBE DETAIL {name}").first()
        assert detail is not None
        by = [] if table.partition_column is None else [table.partition_column]
        assert (detail["description"], detail["partitionColumns"]) == (table.comment, by)
        assert detail["clusteringColumns"] == ([] if by else list(table.key))
        assert detail["properties"]["delta.enableDeletionVectors"] == "true"
        assert detail["properties"]["delta.autoOptimize.optimizeWrite"] == "true"
        assert detail["properties"]["delta.autoOptimize.autoCompact"] == "true"
        described = cluster.session.sql(f"DESCRIBE TABLE {name}").collect()[: len(table.columns)]
        assert [tuple(row) for row in described] == [
            (column.name, column.type, column.comment) for column in table.columns
        ]
        assert [field.nullable for field in unity.read(table).schema] == [c.nullable for c in table.columns]


def test_a_table_of_other_columns_is_named_and_left_alone(unity: UnityLakehouse, cluster: Cluster) -> None:
    name = unity.table_name(USERS)
    cluster.session.sql(f"CREATE TABLE {name} (user_id BIGINT, nickname STRING) PARTITIONED BY (nickname)")

    with pytest.raises(ContractError) as refused:
        unity.read(USERS)

    assert "first_seen_date missing instead of date" in str(refused.value)
    assert "nickname string instead of none" in str(refused.value)
    assert "partitioned by ['nickname'] instead of None" in str(refused.value)
    assert unity.version(USERS) == 0


def test_a_table_that_another_session_made_is_known_as_its_contract_says(
    cluster: Cluster, make_settings: MakeSettings
) -> None:
    for table in TABLES:
        made = cluster.engine.execute(create_managed_table(table, str(table)))
        assert "error" not in made

    lake = UnityLakehouse(make_settings(deployment="databricks"), lambda: cluster.session)

    assert [lake.read(table).count() for table in TABLES] == [0] * len(TABLES)


def test_a_missing_schema_says_what_makes_it(cluster: Cluster, make_settings: MakeSettings) -> None:
    cluster.engine.unity.drop("schema", "main_catalog.clean")
    lake = UnityLakehouse(make_settings(deployment="databricks"), lambda: cluster.session)
    try:
        assert lake.version(USERS) == -1
        with pytest.raises(LakeError, match=r"SCHEMA_NOT_FOUND.*churn setup --databricks"):
            lake.read(USERS)
        with pytest.raises(LakeError, match=r"main_catalog.clean: .*churn setup --databricks"):
            lake.require_writable()
    finally:
        cluster.session.sql("CREATE SCHEMA main_catalog.clean")


def test_a_lake_that_is_whole_says_what_it_uses(unity: UnityLakehouse) -> None:
    assert (
        unity.require_writable()
        == "raw_catalog.landing, main_catalog.clean, main_catalog.gold, main_catalog.ops can be used"
    )


def test_a_managed_table_has_no_folder(unity: UnityLakehouse) -> None:
    assert not hasattr(unity, "location")


def test_a_compaction_after_the_write_is_not_counted(unity: UnityLakehouse) -> None:
    done(unity, OVERWRITES[:1])
    real = unity._run_sql

    def with_compaction(statement: str) -> list[dict[str, Any]]:
        rows = real(statement)
        if statement.startswith("DESCRIBE HISTORY") and not statement.endswith("LIMIT 1"):
            # Of a version that exists: Sail waits for one that does not.
            compaction = {
                "version": 2,
                "operation": "OPTIMIZE",
                "timestamp": NOON,
                "operationMetrics": {"numOutputRows": "2"},
            }
            rows.insert(0, compaction)
        return rows

    lake = UnityLakehouse(unity.settings, lambda: unity.spark, with_compaction)

    assert done(lake, [(USER_DAILY_ACTIVITY, [(3, THIRD, 1, 0)], DateRange(THIRD, THIRD))]) == [
        (2, 1, True, {THIRD: 1})
    ]


def test_after_a_pause_of_weeks_a_write_still_says_what_it_changed(
    unity: UnityLakehouse, cluster: Cluster
) -> None:
    done(unity, MERGES[:1])
    done(unity, WHOLE[:1])
    for table in (EVENTS, USERS):
        made_old(cluster, unity.table_name(table), days=8)
    users = unity.version(USERS)

    [(_, rows, _, gained)] = done(unity, MERGES[1:2])
    done(unity, WHOLE[1:])

    assert (rows, gained) == (1, {NOON.date() - dt.timedelta(days=1): 1})
    assert rows_of(unity.read(USERS, version=users)) == [(1, FIRST, SECOND, "DE", None)]
    with pytest.raises(Exception, match="Cannot time travel beyond"):
        cluster.session.sql(f"SELECT * FROM main_catalog.clean.users VERSION AS OF {users}")
    # One commit for the pause, not one a write.
    operations = [row["operation"] for row in unity._sql("DESCRIBE HISTORY main_catalog.clean.events")]
    assert operations.count("SET TBLPROPERTIES") == 1


def test_a_merge_that_commits_no_row_is_no_write(unity: UnityLakehouse) -> None:
    done(unity, MERGES[:1])
    real = unity._run_sql

    def with_empty_merge(statement: str) -> list[dict[str, Any]]:
        rows = real(statement)
        if statement.startswith("DESCRIBE HISTORY") and not statement.endswith("LIMIT 1"):
            rows.insert(
                0,
                {
                    "version": 2,
                    "operation": "MERGE",
                    "timestamp": NOON,
                    "operationMetrics": {"numTargetRowsInserted": "0"},
                },
            )
        return rows

    lake = UnityLakehouse(unity.settings, lambda: unity.spark, with_empty_merge)

    assert done(lake, [(EVENTS, [("a", 3, NOON, NOON.date(), None, None, NOON)], None)]) == [
        (1, 0, False, {})
    ]


def test_other_sessions_of_the_process_stay_what_they_were(
    cluster: Cluster, spark: SparkSession, unity: UnityLakehouse
) -> None:
    unity.read(USERS)

    assert type(spark) is not type(cluster.session)
    assert not spark.catalog.tableExists("main_catalog.clean.users_of_nobody")
    with pytest.raises(Exception, match="CATALOG"):
        spark.sql("CREATE CATALOG elsewhere")


def test_a_column_that_another_process_adds_first_is_there_and_no_failure(unity: UnityLakehouse) -> None:
    unity._sql(create_managed_table(replace(USERS, columns=USERS.columns[:-1]), unity.table_name(USERS)))
    real, added = unity._run_sql, []

    def by_a_slower_process(statement: str) -> list[dict[str, Any]]:
        if statement.startswith("ALTER TABLE"):
            added.append(statement)
            real(statement)
        return real(statement)

    lake = UnityLakehouse(unity.settings, lambda: unity.spark, by_a_slower_process)

    assert [column.name for column in lake.add_missing_columns(USERS)] == ["source_user_id"]
    (statement,) = added
    assert statement.startswith("ALTER TABLE main_catalog.clean.users ADD COLUMNS (")
    assert "`source_user_id` STRING COMMENT 'The user\\'s id as its owner knows it" in statement
    assert lake.missing_columns(USERS) == []


def test_a_column_that_a_release_lets_be_null_may_be_null_in_the_table_that_is_there(
    unity: UnityLakehouse, spark: SparkSession
) -> None:
    strict = [replace(column, nullable=False) for column in USERS.columns]
    unity._sql(create_managed_table(replace(USERS, columns=tuple(strict)), unity.table_name(USERS)))
    real, said = unity._run_sql, []

    def listening(statement: str) -> list[dict[str, Any]]:
        said.append(statement)
        return real(statement)

    for _ in range(2):
        UnityLakehouse(unity.settings, lambda: unity.spark, listening).add_missing_columns(USERS)

    # A commit for each column, and none the next time.
    table = "ALTER TABLE main_catalog.clean.users ALTER COLUMN"
    assert [one for one in said if one.startswith("ALTER")] == [
        f"{table} `{column.name}` DROP NOT NULL" for column in USERS.columns if column.nullable
    ]
    unity.write(USERS, frame(unity.spark, USERS, [(1, FIRST, FIRST, None)]))
    assert [row["country"] for row in unity.read(USERS).collect()] == [None]
