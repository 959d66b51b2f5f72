"""One engine session for the whole test run: Sail, or Apache Spark with CHURN_DEPLOYMENT=spark."""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import hypothesis
import pytest
from pyspark.sql import SparkSession

from churn_assets import settings as settings_module
from churn_assets.identity import VARIABLES
from churn_assets.lakehouse import engines, s3a
from churn_assets.lakehouse.engines import ApacheSpark, EmbeddedSail
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS, QUARANTINED_EVENTS, TABLES
from churn_assets_tests.postgres_server import PostgresServer, running_server

# No example has a deadline: on a busy machine the first, which imports what it needs, is late.
hypothesis.settings.register_profile("busy machines", deadline=None)
hypothesis.settings.load_profile("busy machines")

# Whoever runs the tests may have a server of their own on the usual port.
NOBODY_LISTENS = "http://127.0.0.1:9"

if TYPE_CHECKING:
    from churn_assets_tests.buckets import BucketServer

MakeSettings = Callable[..., Settings]
HERE = Path(__file__).parent

# Tables are given here, or made by what other tests run on both engines, and what is under test reads
# Delta's log, Parquet files, MLflow or Dagster's history: no answer is the engine's. On Apache Spark they
# take minutes.
SAIL_SUFFICES = (
    # What an asset adds to its transform, whose own tests run on both; on Spark test_pipeline.py's run has
    # computed and checked every one of them.
    "assets/test_conservation.py",
    "assets/test_contract_checks.py",
    "assets/test_drift.py",
    "assets/test_outcomes.py",
    "assets/test_promotions.py",
    "assets/test_reasons.py",
    "assets/test_retention.py",
    # Columns that are added: test_lake.py's.
    "automation/staleness/test_migration.py",
    "test_migrate_command.py",
    # Lists that are given, read and handed over.
    "retention/test_deliveries.py",
    "retention/test_targets.py",
    "test_export_command.py",
    # Each is several runs, or commands that would each start a Spark of its own.
    "end_to_end/test_backfill.py",
    "end_to_end/test_bucket.py",
    "end_to_end/test_forget.py",
    "end_to_end/test_barrier.py",
    "end_to_end/test_daily_job.py",
    "end_to_end/test_damage.py",
    "end_to_end/test_databricks.py",
    "end_to_end/test_churn_definition.py",
    "end_to_end/test_kill.py",
    "end_to_end/test_late_data.py",
    "end_to_end/test_online_retail.py",
    "end_to_end/test_outage.py",
    "end_to_end/test_postgres.py",
    "end_to_end/test_releases.py",
    "end_to_end/test_task_pipeline.py",
    "end_to_end/test_unsynced.py",
    "end_to_end/test_workflow.py",
    # What is covered and due, by row counts of the log.
    "automation/triggers/test_date_watch.py",
    "automation/staleness/test_freshness.py",
    "automation/staleness/test_plan.py",
    # What delta-rs commits, removes and merges.
    "lakehouse/test_arrow_writes.py",
    "lakehouse/test_maintenance.py",
    "lakehouse/test_preview.py",
    "test_status.py",
    # What follows once test_dataset.py's rows are in this process, and time travel is test_lake.py's.
    "model/test_reproduce.py",
    "model/test_training.py",
    "test_model_commands.py",
    # How ids are made of rows that the engine has mapped, which test_event_mapping.py looks at.
    "sample/test_import_again.py",
    # Servers. A run on Apache Spark with its endpoint is test_pipeline.py's.
    "serving/test_endpoint_asset.py",
    "serving/test_endpoint_pipeline.py",
)

# Of those modules, these ask the engine to go on with what it finds.
BUT_ON_SPARK_TOO = (
    "test_a_table_without_partitions_is_merged_on_its_key",
    "test_many_small_files_of_a_date_become_one_and_the_table_goes_on",
    "test_readers_find_a_checkpoint_of_the_log",
)

# What each rule of cleaning is, on lines that a reader can follow: each plans the whole of it, ten seconds
# there. That Apache Spark cleans by the same rules, transforms/test_pipeline.py and test_cleaning_writes.py
# show on lines of all kinds, against a second calculation, and the others of these modules what those do not
# have: types, amounts that differ, blank sources, several ingestions at once, a batch again.
RULES_OF_CLEANING = (
    "test_the_rows_without_a_reason_become_events_and_the_others_quarantined",
    "test_an_event_is_typed_and_keeps_its_id_as_it_landed_rows",
    "test_equal_events_are_one_event_however_they_are_spelled",
    "test_an_event_that_silver_holds_is_not_new",
    "test_an_amount_that_is_no_number_costs_the_event_only_its_amount",
    "test_two_amounts_are_two_events_and_however_spelled_one_amount_is_one",
    "test_of_different_events_in_one_ingestion_the_smallest_stays[False]",
    "test_of_different_events_in_one_ingestion_the_smallest_stays[True]",
    "test_an_event_too_early_for_its_first_delivery_counts_from_the_second",
    "test_identical_lines_of_a_file_are_numbered_and_share_their_verdict",
    "test_lines_from_before_the_clock_was_kept_are_judged_by_their_ingestion",
    "test_of_two_in_one_ingestion_the_smaller_stays_in_any_order[True]",
    "test_a_line_delivered_again_with_a_source_id_is_an_exact_duplicate",
    "test_a_line_that_is_refused_for_another_reason_claims_no_user",
    "test_a_refused_line_leaves_its_event_to_another_delivery",
)

# Of all other modules, these: what is large, and what another test shows there.
BUT_NOT_ON_SPARK = (
    *RULES_OF_CLEANING,
    "test_online_retail_lands_whole",
    "test_every_pair_and_triple_of_verdicts_under_one_id_in_every_order[too many to hold]",
    "test_an_id_that_comes_again_with_other_content_is_in_conflict_on_any_date[too many to hold]",
    "test_the_split_into_ingestions_changes_no_row_of_silver_or_gold",
    "test_of_20_000_lines_with_colliding_ids_each_is_an_event_or_quarantined_or_a_duplicate",
    # Bad lines under one id are among the pairs and triples of verdicts.
    "test_bad_lines_that_share_an_id_stop_no_write",
    # One by one and empty; test_pipeline.py looks at all of them, as its run has made them.
    *(f"test_every_table_on_disk_is_as_its_contract_says[{table}-folders]" for table in TABLES),
    # Counts and times of the log, and what is refused before the engine is asked.
    "test_each_ingestion_is_later_than_the_last_even_if_the_clock_steps_back",
    *(
        f"test_without_bronze_nothing_is_taken_in_where_what_was_made_of_it_stands[{table.name}]"
        for table in (EVENTS, QUARANTINED_EVENTS)
    ),
)

# These look at one lake that has run once, or go on with a copy of it: the first at what other processes make
# of the same files, the others at what it does next. The last of them changes it. In one process it is made
# once; all of them together would be more than half of the whole suite.
SHARE_A_HOUSE = (
    tuple(f"end_to_end/test_{name}.py" for name in ("kill", "workflow", "databricks", "damage")),
    tuple(
        f"end_to_end/test_{name}.py"
        for name in ("backfill", "pipeline", "late_data", "postgres", "daily_job")
    ),
)

# Whole runs of the graph that take half of all time together. What each shows at full size, others show on
# few rows: they are for make test-all, before a release and every night.
AT_FULL_SIZE = (
    # Every step or task on emulated clusters: databricks/ and workspace/ have them one by one.
    "end_to_end/test_databricks.py",
    "end_to_end/test_workflow.py",
    # Late events, outages, deaths and other definitions of churn, through many runs each: test_pipeline.py
    # has late events and a death, automation/ what is stale, lakehouse/ and transforms/ days and labels.
    "end_to_end/test_churn_definition.py",
    "end_to_end/test_daily_job.py",
    "end_to_end/test_late_data.py",
    "end_to_end/test_outage.py",
    "end_to_end/test_unsynced.py",
    # lakehouse/test_bucket_lake.py has each kind of write.
    "end_to_end/test_bucket.py",
    "end_to_end/test_spark_in_bucket.py",
    # Programs that bench.pipeline compares with: no part of the platform.
    "bench/test_pipeline.py",
)

# Of all other modules, these.
TESTS_AT_FULL_SIZE = (
    # faults/test_kills.py kills at any moment.
    "test_killed_at_many_moments_the_lake_ends_as_if_nothing_had_happened",
    # Each is repaired as others are of which this file has one.
    "test_what_was_made_of_something_else_is_made_again_and_nothing_is_computed_twice",
    "test_models_that_are_lost_are_given_up_by_name_and_the_next_run_trains_one",
    "test_the_commands_of_the_page_on_backups_bring_a_lake_back",
    "test_bronze_is_made_of_the_landing_zone_and_no_quarantined_line_is_doubled",
    "test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run[main_catalog.clean.users]",
    "test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run[main_catalog.gold.user_daily_activity]",
    # Ways to log in, through every client: the rest of the file has which of several is taken.
    "test_a_service_principal_is_used_alone[alone]",
    "test_a_service_principal_is_used_alone[beside a token]",
    "test_a_ci_that_is_trusted_needs_no_secret",
    "test_a_profile_of_the_command_line_tool_names_host_and_token",
)

# By Pipes as by the step launcher: which of both starts a step, test_happy_path.py and test_launcher.py show.
BY_ONE_LAUNCHER = ("databricks/test_failures.py", "databricks/test_workers.py")

# Begun first: the others would wait for a process that begins one of them last.
LONGEST = (
    *chain(*SHARE_A_HOUSE),
    "end_to_end/test_online_retail.py",
    "end_to_end/test_releases.py",
    "end_to_end/test_barrier.py",
    "end_to_end/test_task_pipeline.py",
    "end_to_end/test_churn_definition.py",
)

# For tables of ten rows.
TINY_TABLES = {
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.shuffle.partitions": "2",
}

# The JVM lives for minutes and meets each plan once: in test_lake.py its optimizing compiler took 80 of 188
# CPU seconds. With the other one alone it would keep 48 MB of code, which the classes that Spark generates
# fill: it then sweeps out code that it compiles again.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"


# First, as pytest leaves out what is slow where all of these have had their say.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first. On Apache Spark only what touches the engine: the rest has nothing new to show."""
    for item in items:
        if _is_at_full_size(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=_place)
    if settings_module.load().deployment != "spark":
        return
    engine_tests = [item for item in items if _shows_something_on_spark(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in engine_tests])
    items[:] = engine_tests


def _place(item: pytest.Item) -> int:
    """Of its module among the longest, which are before all others; those stay as they were collected."""
    module = item.path.relative_to(HERE).as_posix()
    return LONGEST.index(module) if module in LONGEST else len(LONGEST)


def _is_at_full_size(item: pytest.Item) -> bool:
    module = item.path.relative_to(HERE).as_posix()
    by_pipes = module in BY_ONE_LAUNCHER and "[pipes" in item.name
    return by_pipes or module in AT_FULL_SIZE or item.name in TESTS_AT_FULL_SIZE


def _shows_something_on_spark(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    # Not left to the fixture on_sail: a lake of wider scope would be made before it skips.
    if "spark" not in fixtures or "on_sail" in fixtures:
        return False
    if item.name in BUT_NOT_ON_SPARK:
        return False
    return item.path.relative_to(HERE).as_posix() not in SAIL_SUFFICES or item.name in BUT_ON_SPARK_TOO


def _nobody_is_logged_in() -> None:
    # Whoever opened a workspace, in this test or in a fixture of many, told MLflow who it is.
    for variable in VARIABLES.values():
        os.environ.pop(variable, None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole modules a process, and in one those that share a house; in the order of collection."""
    if config.getoption("dist") != "loadscope":
        return None
    # By how many tests they have: a module of one test that takes minutes would be begun last.
    config.option.loadscopereorder = False
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            houses = (f"house {n}" for n, modules in enumerate(SHARE_A_HOUSE) if module.endswith(modules))
            return next(houses, module)

    return ByModule(config, log)


@pytest.fixture(autouse=True)
def _mlflow_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # dagster-mlflow's resource exports the tracking URI, which the next settings would read.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _nobody_is_logged_in()
    yield
    _nobody_is_logged_in()
    # MLflow puts a mock there while it loads a model; of several threads, as Sail has, one may leave it,
    # and hypothesis stumbles over a module whose every attribute is a mock.
    sys.modules.pop("dbutils", None)


@pytest.fixture(scope="session")
def deployment() -> str:
    return settings_module.load().deployment


@pytest.fixture(scope="session")
def spark(deployment: str) -> SparkSession:
    if deployment == "spark":
        os.environ.setdefault("SPARK_SUBMIT_OPTS", QUICK_JVM)
        # Not as the session's own: what is under test asks for the session again, with the platform's.
        engines.SPARK_CONFIG.update(TINY_TABLES)
        # A session is given its jars when it starts, and some tests have their lake in a bucket.
        return ApacheSpark(master="local[2]", reaches_s3=True).spark_session
    return EmbeddedSail(catalogs=["main_catalog", "raw_catalog"]).spark_session


@pytest.fixture
def make_settings(tmp_path: Path, deployment: str) -> MakeSettings:
    """Settings of a lake in a new folder, whatever the environment or a ``.env`` says."""

    def make(**overrides: Any) -> Settings:
        return settings_in(tmp_path, **{"deployment": deployment, **overrides})

    return make


def settings_in(folder: Path, **overrides: Any) -> Settings:
    lake_root = folder / "lake"
    ours = {
        "_env_file": None,
        "lake_root": lake_root,
        "landing_root": str(folder / "landing"),
        "mlflow_tracking_uri": f"sqlite:///{lake_root}/mlflow/mlflow.db",
        "dagster_home": folder / "dagster",
        "spark_master": "local[2]",
        "endpoint_url": NOBODY_LISTENS,
    }
    return settings_module.load(**{**ours, **overrides})


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server; where none is installed, its tests are skipped and say so."""
    with running_server() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database, which the test's lake alone uses."""
    # Who opens a history in it sets it for the process.
    monkeypatch.setenv("CHURN_DATABASE_URL", "")
    return postgres_server.new_database()


@pytest.fixture
def lake(make_settings: MakeSettings, spark: SparkSession) -> FolderLakehouse:
    """A lake with no table yet."""
    return FolderLakehouse(make_settings(), lambda: spark)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that forgets everything."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def bucket_server() -> "Iterator[BucketServer]":
    """One server for the whole run: engines keep a bucket's address for as long as they live."""
    from churn_assets_tests.buckets import BucketServer

    server = BucketServer()
    yield server
    server.stop()


@pytest.fixture
def bucket_uri(bucket_server: "BucketServer", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a new bucket, which the environment says how to reach."""
    for variable, value in bucket_server.environment().items():
        monkeypatch.setenv(variable, value)
    yield bucket_server.new_bucket()
    bucket_server.fail()


@pytest.fixture
def bucket_lake(bucket_uri: str, spark: SparkSession, tmp_path: Path, deployment: str) -> FolderLakehouse:
    """A lake in a new bucket, with no table yet."""
    if deployment == "spark":
        # The session of all tests is older than the server.
        s3a.introduce(spark)
    return FolderLakehouse(bucket_settings(bucket_uri, tmp_path, deployment=deployment), lambda: spark)


def bucket_settings(uri: str, folder: Path, **overrides: Any) -> Settings:
    ours = {
        "deployment": "local",
        "lake_root": f"{uri}/lake",
        "landing_root": f"{uri}/lake/landing/events",
        "state_root": folder / "state",
        "mlflow_tracking_uri": "",
    }
    return settings_in(folder, **{**ours, **overrides})
