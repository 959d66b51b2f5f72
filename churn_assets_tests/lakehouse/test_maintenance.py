"""What a clean-up removes, what it keeps, and that nobody takes it for new data."""

import datetime as dt
import os
import shutil
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import SettingsError
from churn_assets.lakehouse import ddl, maintenance
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.maintenance import maintain
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    EVENTS,
    LANDED_EVENTS,
    MODEL_PROMOTIONS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets_tests.conftest import MakeSettings, settings_in
from churn_assets_tests.lakehouse.conftest import Cluster, made_old
from churn_assets_tests.rows import frame

DAY = dt.date(2026, 3, 1)
ONLY_DAY = DateRange(DAY, DAY)


def features(spark: SparkSession, events: int, day: dt.date = DAY) -> DataFrame:
    """User 1 had so many events."""
    return frame(spark, USER_FEATURES, [(1, day, events, 1, 0, 0, 9, 1)])


def event(spark: SparkSession, event_id: str, day: dt.date = DAY) -> DataFrame:
    return spark.sql(
        f"SELECT '{event_id}' AS event_id, 1L AS user_id, timestamp'{day} 01:00:00' AS event_ts, "
        f"date'{day}' AS event_date, 'page_view' AS event_type, CAST(NULL AS STRING) AS country, "
        "timestamp'2026-04-01 00:00:00' AS _ingested_at, CAST(NULL AS STRING) AS source_user_id, "
        "CAST(NULL AS DECIMAL(18,2)) AS amount"
    )


def line(spark: SparkSession, event_id: str) -> DataFrame:
    nothing = [F.lit(None).cast("string").alias(name) for name in ("_rescued_data", "_corrupt_record")]
    return event(spark, event_id).select(
        "event_id",
        *[F.col(name).cast("string") for name in ("user_id", "event_ts", "event_type", "country")],
        F.lit("{}").alias("_raw"),
        *nothing,
        "_ingested_at",
        F.lit(f"{event_id}.jsonl").alias("_source_file"),
        F.lit(DAY).alias("_processing_date"),
        "source_user_id",
        F.col("_ingested_at").alias("_clock_at"),
        F.col("amount").cast("string").alias("amount"),
    )


def promotion(spark: SparkSession, number: int) -> DataFrame:
    return spark.sql(
        f"SELECT {number} AS promotion, {number} AS version, CAST(NULL AS INT) AS previous_version, "
        "timestamp'2026-04-01 00:00:00' AS promoted_at, 'gate' AS cause, 'It won.' AS reason, "
        "0.9D AS roc_auc, 0.1D AS brier"
    )


def data_files(lake: FolderLakehouse, table: Table) -> set[str]:
    return {str(path) for path in lake.location(table).glob("*/*.parquet") if "_delta_log" not in path.parts}


def events_of(lake: FolderLakehouse, version: int | None = None) -> list[int]:
    rows = lake.read(USER_FEATURES, version=version).select("event_count_30d").collect()
    return [row[0] for row in rows]


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession, deployment: str) -> Path:
    """The folder of a lake that nobody changes: on Apache Spark, six writes take seconds."""
    lake = FolderLakehouse(
        settings_in(tmp_path_factory.mktemp("rewritten"), deployment=deployment), lambda: spark
    )
    for events in range(1, 7):
        lake.write(USER_FEATURES, features(spark, events), ONLY_DAY)
    return lake.settings.lake_root


@pytest.fixture
def rewritten(lake: FolderLakehouse, written_once: Path) -> FolderLakehouse:
    """user_features in versions 1 to 6, in each of which user 1 had as many events."""
    shutil.copytree(written_once, lake.settings.lake_root)
    return lake


def test_the_files_of_a_version_that_a_model_needs_stay_and_the_others_go(rewritten: FolderLakehouse) -> None:
    done = maintain(rewritten, USER_FEATURES, {2, 5}, retention_hours=0)

    assert done
    assert (done.kept_versions, done.lost_versions, done.removed_files) == ((2, 5), (), 3)
    assert [events_of(rewritten, version) for version in (2, 5, None)] == [[2], [5], [6]]
    with pytest.raises(FileNotFoundError):
        events_of(rewritten, 3)


def test_what_is_not_old_enough_stays(rewritten: FolderLakehouse) -> None:
    done = maintain(rewritten, USER_FEATURES, set(), retention_hours=168)

    assert done
    assert (done.removed_files, len(data_files(rewritten, USER_FEATURES))) == (0, 6)


def test_a_clean_up_is_no_new_version(rewritten: FolderLakehouse) -> None:
    maintain(rewritten, USER_FEATURES, set(), retention_hours=0)

    assert rewritten.version(USER_FEATURES) == 6
    assert len(data_files(rewritten, USER_FEATURES)) == 1


def test_a_second_clean_up_finds_nothing(rewritten: FolderLakehouse) -> None:
    maintain(rewritten, USER_FEATURES, {2}, retention_hours=0)
    again = maintain(rewritten, USER_FEATURES, {2}, retention_hours=0)

    assert again
    assert (again.removed_files, again.removed_bytes) == (0, 0)


def test_a_dry_run_says_the_same_and_does_nothing(rewritten: FolderLakehouse) -> None:
    before = data_files(rewritten, USER_FEATURES)

    said = maintain(rewritten, USER_FEATURES, {2}, retention_hours=0, dry_run=True)
    assert data_files(rewritten, USER_FEATURES) == before
    assert maintain(rewritten, USER_FEATURES, {2}, retention_hours=0) == said
    assert said
    assert said.removed_bytes > 0


def test_a_version_that_the_log_does_not_know_is_named_and_stops_nothing(rewritten: FolderLakehouse) -> None:
    done = maintain(rewritten, USER_FEATURES, {2, 99}, retention_hours=0)

    assert done
    assert (done.kept_versions, done.lost_versions, done.removed_files) == ((2,), (99,), 4)


def test_a_file_that_a_killed_writer_left_goes_once_it_is_old(rewritten: FolderLakehouse) -> None:
    orphan = rewritten.location(USER_FEATURES) / f"feature_date={DAY}" / "part-orphan.parquet"
    orphan.write_bytes(b"half a file")
    maintain(rewritten, USER_FEATURES, set(), retention_hours=168)
    assert orphan.exists()

    long_ago = time.time() - 169 * 3600
    os.utime(orphan, (long_ago, long_ago))
    maintain(rewritten, USER_FEATURES, set(), retention_hours=168)
    assert not orphan.exists()


def test_versions_stay_readable_when_their_log_is_older_than_what_engines_keep(
    rewritten: FolderLakehouse, spark: SparkSession
) -> None:
    for events in range(7, 12):
        rewritten.write(USER_FEATURES, features(spark, events), ONLY_DAY)
    # A log may be cut before a checkpoint that is old itself; who writes the next one looks.
    DeltaTable(rewritten.location(USER_FEATURES)).create_checkpoint()
    log = rewritten.location(USER_FEATURES) / "_delta_log"
    assert list(log.glob("*.checkpoint*"))
    for file in log.iterdir():
        version = int(file.name[:20]) if file.name[0].isdigit() else 0
        hundred_days_ago = time.time() - (100 * 24 - version) * 3600
        os.utime(file, (hundred_days_ago, hundred_days_ago))
    for events in range(12, 22):
        rewritten.write(USER_FEATURES, features(spark, events), ONLY_DAY)
    DeltaTable(rewritten.location(USER_FEATURES)).create_checkpoint()
    maintain(rewritten, USER_FEATURES, {2}, retention_hours=0)
    DeltaTable(rewritten.location(USER_FEATURES)).cleanup_metadata()

    assert events_of(rewritten, 2) == [2]


def test_a_table_from_before_gets_its_log_kept(
    lake: FolderLakehouse, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(ddl, "TRAINED_ON", ())
        lake.write(USER_FEATURES, features(spark, 1), ONLY_DAY)
    assert DeltaTable(lake.location(USER_FEATURES)).metadata().configuration == {}

    maintain(lake, USER_FEATURES, set(), retention_hours=168)
    maintain(lake, USER_FEATURES, set(), retention_hours=168)

    assert DeltaTable(lake.location(USER_FEATURES)).metadata().configuration == ddl.LOG_KEPT
    assert (lake.version(USER_FEATURES), events_of(lake)) == (2, [1])


def test_many_small_files_of_a_date_become_one_and_the_table_goes_on(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    for number in range(maintenance.MANY_FILES):
        lake.write(EVENTS, event(spark, f"e{number}"))
    lake.write(EVENTS, event(spark, "next day", DAY + ONE_DAY))
    rows = sorted(lake.read(EVENTS).collect())

    done = maintain(lake, EVENTS, set(), retention_hours=0)

    assert done
    assert done.merged_files == maintenance.MANY_FILES
    assert len(data_files(lake, EVENTS)) == 2
    assert sorted(lake.read(EVENTS).collect()) == rows
    assert lake.partition_rows(EVENTS) == {DAY: maintenance.MANY_FILES, DAY + ONE_DAY: 1}
    assert not lake.write(EVENTS, event(spark, "e3")).committed
    assert lake.write(EVENTS, event(spark, "new")).rows == 1


def test_few_files_are_left_alone(lake: FolderLakehouse, spark: SparkSession) -> None:
    for number in range(2):
        lake.write(EVENTS, event(spark, f"e{number}"))
    version = lake.version(EVENTS)

    done = maintain(lake, EVENTS, set(), retention_hours=0)

    assert done
    assert (done.merged_files, lake.version(EVENTS)) == (0, version)


def test_bronze_keeps_every_line_and_the_files_that_it_has_taken_in(
    lake: FolderLakehouse, spark: SparkSession
) -> None:
    for number in range(maintenance.MANY_FILES):
        lake.write(LANDED_EVENTS, line(spark, f"e{number}"))
    rows = sorted(lake.read(LANDED_EVENTS).drop("_ingested_at", "_clock_at").collect(), key=str)

    maintain(lake, LANDED_EVENTS, set(), retention_hours=0)

    assert len(data_files(lake, LANDED_EVENTS)) == 1
    assert sorted(lake.read(LANDED_EVENTS).drop("_ingested_at", "_clock_at").collect(), key=str) == rows


def test_a_table_without_partitions_is_merged_on_its_key(lake: FolderLakehouse, spark: SparkSession) -> None:
    first = lake.write(MODEL_PROMOTIONS, promotion(spark, 1))
    both = lake.write(MODEL_PROMOTIONS, promotion(spark, 1).union(promotion(spark, 2)))
    again = lake.write(MODEL_PROMOTIONS, promotion(spark, 2))
    nothing = lake.write(MODEL_PROMOTIONS, promotion(spark, 3).limit(0))

    assert [(one.rows, one.committed) for one in (first, both, again, nothing)] == [
        (1, True),
        (1, True),
        (0, False),
        (0, False),
    ]
    assert sorted(row["promotion"] for row in lake.read(MODEL_PROMOTIONS).collect()) == [1, 2]


def test_a_table_that_nobody_wrote_is_left_alone(lake: FolderLakehouse, spark: SparkSession) -> None:
    assert lake.read(USER_DAILY_ACTIVITY).count() == 0

    assert maintain(lake, USER_DAILY_ACTIVITY, set(), retention_hours=0) is None
    assert maintain(lake, EVENTS, set(), retention_hours=0) is None
    assert lake.version(EVENTS) == -1


def test_readers_find_a_checkpoint_of_the_log(rewritten: FolderLakehouse) -> None:
    maintain(rewritten, USER_FEATURES, set(), retention_hours=168)
    maintain(rewritten, USER_FEATURES, set(), retention_hours=168)

    log = rewritten.location(USER_FEATURES) / "_delta_log"
    assert [path.name for path in log.glob("*.checkpoint*.parquet")] == [f"{6:020}.checkpoint.parquet"]
    assert events_of(rewritten) == [6]


def test_the_features_that_the_last_scores_were_made_of_are_needed(
    rewritten: FolderLakehouse, spark: SparkSession
) -> None:
    assert maintenance.needed_by_scores(rewritten) == {}
    scores = spark.createDataFrame(
        [(1, DAY, 0.5, True, dt.datetime.now(dt.UTC), 1)],
        "user_id bigint, feature_date date, churn_probability double, predicted_churn boolean, "
        "scored_at timestamp, model_version int",
    )
    rewritten.write(CHURN_PREDICTIONS, scores, ONLY_DAY)
    rewritten.write(USER_FEATURES, features(spark, 7), ONLY_DAY)

    assert maintenance.needed_by_scores(rewritten) == {USER_FEATURES: {6}}


def test_managed_tables_that_models_read_keep_their_past_by_their_properties(lake: FolderLakehouse) -> None:
    sql = list(maintenance.statements(lake, retention_hours=1000))

    assert [one for one in sql if ".events" in one and "clean" in one] == [
        "OPTIMIZE main_catalog.clean.events",
        (
            "ALTER TABLE main_catalog.clean.events SET TBLPROPERTIES ("
            "'delta.deletedFileRetentionDuration' = 'interval 1000 hours', "
            "'delta.logRetentionDuration' = 'interval 1000 hours')"
        ),
        # Newer runtimes ignore a RETAIN, older ones take it for more than the property.
        "VACUUM main_catalog.clean.events",
    ]
    assert any(
        one.startswith("ALTER TABLE main_catalog.gold.churn_labels SET TBLPROPERTIES ('delta.deletedFile")
        and "365 days" in one
        for one in sql
    )


def test_managed_tables_keep_what_a_write_is_compared_with(lake: FolderLakehouse) -> None:
    with pytest.raises(SettingsError, match=r"--retention-hours 167 .* Use 168 or more"):
        list(maintenance.statements(lake, retention_hours=167))


def test_a_workspace_takes_what_is_printed_and_vacuum_goes_by_the_property(
    cluster: Cluster, make_settings: MakeSettings
) -> None:
    unity = UnityLakehouse(make_settings(deployment="databricks"), lambda: cluster.session)
    for number in (1, 2):
        unity.write(USERS, frame(unity.spark, USERS, [(number, DAY, DAY, None)]))
    made_old(cluster, unity.table_name(USERS), days=10)

    def files() -> int:
        return len(list(cluster.engine.unity.managed_location("main_catalog.clean.users").glob("*.parquet")))

    for hours, left in ((300, 2), (168, 1)):
        for statement in maintenance.statements(unity, hours):
            if statement.endswith("clean.users") or "clean.users SET" in statement:
                cluster.session.sql(statement)
        # A RETAIN that would delete more changes nothing.
        cluster.session.sql("VACUUM main_catalog.clean.users RETAIN 169 HOURS")
        assert files() == left
