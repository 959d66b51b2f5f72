"""A cluster of dedicated access mode: its session is classic, and sees what clusters and warehouse share."""

import io
import json
from pathlib import Path

import pytest
from databricks.sdk.service.compute import DataSecurityMode, Library

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


# What it leaves to the next process on the cluster, and what not.
APPLICATION = """
print(json.dumps({
    "application": spark.sparkContext.applicationId,
    "zone": spark.conf.get("spark.sql.session.timeZone"),
    "views": [table.name for table in spark.catalog.listTables() if table.isTemporary],
}))
spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
spark.range(1).createOrReplaceTempView("mine")
"""
NEXT = f"""
import json
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
{APPLICATION}
"""


@pytest.mark.slow
def test_a_dedicated_clusters_processes_share_an_application_and_tables_with_the_warehouse_but_no_session(
    tmp_path: Path, remote_python: Path
) -> None:
    with Workspace(
        tmp_path / "workspace", python=remote_python, with_spark=True, classic=classic_spark()
    ) as workspace:
        for statement in MAKE:
            assert "error" not in workspace.engine.execute(statement)
        client = workspace.client()
        client.files.upload(f"{VOLUME}/landed.txt", io.BytesIO(b"of spark"))
        # The emulation reads Delta's logs with what a cluster of ours installs.
        requirements = f"{VOLUME}/_libraries/requirements.txt"
        client.files.upload(requirements, io.BytesIO(REQUIREMENTS.read_bytes()))
        cluster_id = client.clusters.create(
            spark_version="17.3.x-scala2.13",
            node_type_id="i3.xlarge",
            num_workers=1,
            data_security_mode=DataSecurityMode.SINGLE_USER,
        ).response.cluster_id

        def printed(code: str) -> list[dict[str, object]]:
            libraries = [Library(requirements=requirements)]
            run_id = submit(workspace, code, existing_cluster_id=cluster_id, libraries=libraries)
            run = workspace.jobs.wait(run_id, seconds=900)
            assert run.end is not None
            assert run.end.result == "SUCCESS", run.tasks["main"].logs
            return [json.loads(line) for line in run.tasks["main"].logs.splitlines() if line[:1] == "{"]

        first, more, before = printed(TASK + MORE + APPLICATION)
        (after,) = printed(NEXT)

        assert first["session"] == "ClassicSession"
        assert first["has_content"]
        assert first["operations"] == ["WRITE", "WRITE", "CREATE TABLE"]
        assert more == {"now": [1, 5], "past": [1, 2], "context": "SparkContext"}
        result = workspace.engine.execute("SELECT day, n FROM main_catalog.gold.days ORDER BY day")
        assert result["rows"] == [["2026-01-01", "1"], ["2026-01-02", "5"]]
        assert after == before
        assert after["views"] == []
    assert workspace.violations == []
