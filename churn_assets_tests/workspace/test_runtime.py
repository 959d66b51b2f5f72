"""A process on the emulated cluster finds its session; clusters and warehouse share one metastore."""

import io
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import link_packages
from churn_assets_tests.workspace.runtime import Engine
from churn_assets_tests.workspace.runtime.emulated_databricks.grammar import parse
from churn_assets_tests.workspace.runtime.emulated_databricks.unity import UnityError
from churn_assets_tests.workspace.tasks import VOLUME, finished, logs, submit

DAYS = """
    CREATE TABLE main_catalog.gold.days (day DATE NOT NULL COMMENT 'UTC (day)', n BIGINT) USING delta
    PARTITIONED BY (day) COMMENT 'it\\'s (new)' TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')
"""
MAKE = (
    "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
    "CREATE SCHEMA main_catalog.gold COMMENT 'Gold'",
    "CREATE VOLUME main_catalog.gold.churn",
    DAYS,
    "INSERT INTO main_catalog.gold.days SELECT date'2026-01-01', 1",
)

TASK = """
import json
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.getOrCreate()

def doubled(batches):
    import pyarrow as pa
    import pyarrow.compute as pc
    for batch in batches:
        yield pa.RecordBatch.from_arrays([batch.column(0), pc.multiply(batch.column(1), 2)], ["day", "n"])

days = spark.table("main_catalog.gold.days").mapInArrow(doubled, "day date, n bigint")
days.withColumn("day", F.lit("2026-01-02").cast("date")).writeTo("main_catalog.gold.days").append()
spark.sql("CREATE TABLE main_catalog.gold.seen (path STRING, content BINARY)")
(
    spark.readStream.format("cloudFiles").option("cloudFiles.format", "binaryFile")
    .load("/Volumes/main_catalog/gold/churn")
    .select("path", "content").writeStream
    .option("checkpointLocation", "/Volumes/main_catalog/gold/churn/_checkpoint")
    .trigger(availableNow=True).toTable("main_catalog.gold.seen").awaitTermination()
)
seen = spark.table("main_catalog.gold.seen").collect()
history = spark.sql("DESCRIBE HISTORY main_catalog.gold.days").collect()
print(json.dumps({
    "files": [row["path"] for row in seen],
    "has_content": all(b"spark" in row["content"] for row in seen),
    "operations": [row["operation"] for row in history],
    "rows_written": history[0]["operationMetrics"]["numOutputRows"],
    "session": type(spark).__name__,
}))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    python = link_packages(tmp_path / "python")
    with Workspace(tmp_path / "workspace", python=python, with_spark=True) as started:
        yield started
    assert started.violations == []


def test_a_task_and_the_warehouse_work_on_the_same_tables(workspace: Workspace) -> None:
    engine = workspace.engine
    for statement in MAKE:
        assert "error" not in engine.execute(statement)

    workspace.client().files.upload(f"{VOLUME}/landed.txt", io.BytesIO(b"of spark"))

    run = finished(workspace, submit(workspace, TASK))

    assert json.loads(logs(workspace, run).splitlines()[-1]) == {
        "files": ["dbfs:/Volumes/main_catalog/gold/churn/landed.txt"],
        "has_content": True,
        "operations": ["WRITE", "WRITE", "CREATE TABLE"],
        "rows_written": "1",
        "session": "ClusterSession",
    }
    result = engine.execute("SELECT day, n FROM main_catalog.gold.days ORDER BY day")
    assert result["rows"] == [["2026-01-01", "1"], ["2026-01-02", "2"]]
    table = workspace.client().tables.get("main_catalog.gold.days")
    assert (table.comment, table.properties) == ("it's (new)", {"delta.enableDeletionVectors": "true"})
    assert [(column.name, column.comment) for column in table.columns or []] == [
        ("day", "UTC (day)"),
        ("n", ""),
    ]


def test_a_file_needs_a_volume_that_exists(workspace: Workspace) -> None:
    _ = workspace.engine

    with pytest.raises(Exception, match=r"Volume 'main_catalog.gold.churn' does not exist"):
        workspace.client().files.upload(f"{VOLUME}/landed.txt", io.BytesIO(b""))


def test_the_engine_ends_with_its_workspace(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with Workspace(tmp_path) as workspace:
        _ = workspace.engine
        [server] = set(psutil.Process().children()) - before
        assert "emulated_databricks.server" in server.cmdline()

    assert not server.is_running()


def test_the_engine_ends_when_the_tests_are_killed(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from churn_assets_tests.workspace.runtime import Engine
        engine = Engine(Path(sys.argv[1]))
        print(engine._process.pid, flush=True)
        time.sleep(60)
    """
    script = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        server = psutil.Process(int(tests.stdout.readline()))
        tests.send_signal(signal.SIGKILL)

    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()


def test_what_a_catalog_lies_in_has_to_be_there(tmp_path: Path) -> None:
    with Engine(tmp_path) as engine:
        errors = [
            engine.execute(statement).get("error", "").partition(" ")[0]
            for statement in (
                "CREATE SCHEMA main_catalog.gold",
                "CREATE CATALOG main_catalog",
                "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
                "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
                "CREATE CATALOG IF NOT EXISTS main_catalog",
                "CREATE TABLE main_catalog.gold.t (n INT)",
                "CREATE SCHEMA IF NOT EXISTS main_catalog.gold",
                "CREATE TABLE main_catalog.gold.t (n INT) CLUSTER BY (n)",
                "CREATE TABLE main_catalog.gold.t (n INT)",
                "DESCRIBE HISTORY main_catalog.gold.u",
                "GRANT SELECT ON VOLUME main_catalog.gold.v TO a",
                "GRANT READ VOLUME ON SCHEMA main_catalog.gold TO a",
                "GRANT FLY ON SCHEMA main_catalog.gold TO a",
            )
        ]

    assert errors == [
        "[NO_SUCH_CATALOG_EXCEPTION]",
        "[INVALID_STATE]",
        "",
        "[CATALOG_ALREADY_EXISTS]",
        "[INVALID_STATE]",
        "[SCHEMA_NOT_FOUND]",
        "",
        "",
        "[TABLE_ALREADY_EXISTS]",
        "[TABLE_OR_VIEW_NOT_FOUND]",
        "[VOLUME_NOT_FOUND]",
        "",
        "[INVALID_PARAMETER_VALUE]",
    ]


def test_which_columns_are_not_null_is_in_the_information_schema(tmp_path: Path) -> None:
    query = (
        "SELECT column_name FROM main_catalog.information_schema.columns "
        "WHERE table_schema = 'gold' AND table_name = 't' AND is_nullable = 'NO' ORDER BY ordinal_position"
    )
    with Engine(tmp_path) as engine:
        for statement in (
            "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
            "CREATE SCHEMA main_catalog.gold",
            "CREATE TABLE main_catalog.gold.t (n INT NOT NULL, day DATE NOT NULL, m INT)",
        ):
            assert "error" not in engine.execute(statement)
        before = engine.execute(query)["rows"]
        dropped = [
            engine.execute(f"ALTER TABLE main_catalog.gold.t ALTER COLUMN {name} DROP NOT NULL").get(
                "error", ""
            )
            for name in ("`day`", "`day`", "elsewhere")
        ]
        after = engine.execute(query)["rows"]

    assert (before, after) == ([["n"], ["day"]], [["n"]])
    # Databricks takes it for a column that may be NULL already.
    assert [bool(error) for error in dropped] == [False, False, True]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE CATALOG a LIKE b",
        "CREATE CATALOG a COMMENT 'x' COMMENT 'y'",
        "CREATE VOLUME a.b.c PARTITIONED BY (x)",
        "CREATE TABLE a.b.c (n INT) PARTITIONED BY (n) CLUSTER BY (n)",
        "CREATE TABLE a.b.c (n INT",
        "CREATE TABLE a.b.c (n INT) TBLPROPERTIES ('a' = b)",
        "GRANT SELECT ON a TO b",
    ],
)
def test_a_statement_that_goes_wrong_after_its_first_words_is_refused(statement: str) -> None:
    with pytest.raises(UnityError):
        parse(statement)


def test_what_is_not_unity_catalogs_is_left_to_the_engine() -> None:
    assert parse("SELECT * FROM main_catalog.gold.t") is None
    assert parse("MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED THEN INSERT *") is None
