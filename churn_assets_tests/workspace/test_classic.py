"""A cluster of dedicated access mode: its session is classic, and sees what clusters and warehouse share."""

import io
import json
from pathlib import Path

import pytest
from databricks.sdk.service.compute import Library

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import REQUIREMENTS, classic_spark
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.tasks import VOLUME, submit
from churn_assets_tests.workspace.test_runtime import MAKE, TASK

__all__ = ["remote_python"]

# More than the other session's task: a merge, and the past.
MORE = """
spark.sql(
    "MERGE INTO main_catalog.gold.days t USING (SELECT date'2026-01-02' AS day, 5L AS n) s ON t.day = s.day "
    "WHEN MATCHED THEN UPDATE SET *"
).collect()
now, past = (
    [row["n"] for row in spark.sql(f"SELECT n FROM main_catalog.gold.days {version} ORDER BY day").collect()]
    for version in ("", "VERSION AS OF 2")
)
print(json.dumps({"now": now, "past": past, "context": type(spark.sparkContext).__name__}))
"""


@pytest.mark.slow
def test_a_classic_session_and_the_warehouse_work_on_the_same_tables(
    tmp_path: Path, remote_python: Path
) -> None:
    with Workspace(
        tmp_path / "workspace", python=remote_python, with_spark=True, classic=classic_spark()
    ) as workspace:
        for statement in MAKE:
            assert "error" not in workspace.engine.execute(statement)
        workspace.client().files.upload(f"{VOLUME}/landed.txt", io.BytesIO(b"of spark"))

        # The emulation reads Delta's logs with what a cluster of ours installs.
        requirements = f"{VOLUME}/_libraries/requirements.txt"
        workspace.client().files.upload(requirements, io.BytesIO(REQUIREMENTS.read_bytes()))

        libraries = [Library(requirements=requirements)]
        run = workspace.jobs.wait(submit(workspace, TASK + MORE, libraries=libraries), seconds=900)

        assert run.end is not None
        assert run.end.result == "SUCCESS", run.tasks["main"].logs
        first, more = (json.loads(line) for line in run.tasks["main"].logs.splitlines() if line[:1] == "{")
        assert first["session"] == "ClassicSession"
        assert first["has_content"]
        assert first["operations"] == ["WRITE", "WRITE", "CREATE TABLE"]
        assert more == {"now": [1, 5], "past": [1, 2], "context": "SparkContext"}
        result = workspace.engine.execute("SELECT day, n FROM main_catalog.gold.days ORDER BY day")
        assert result["rows"] == [["2026-01-01", "1"], ["2026-01-02", "5"]]
    assert workspace.violations == []
