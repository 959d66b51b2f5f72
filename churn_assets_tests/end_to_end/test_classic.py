"""The first task of the job on a dedicated cluster: its session is classic, Apache Spark in the driver.

Bronze, Silver and users, by Auto Loader, merges and time travel. It takes minutes, and many on a busy machine
(18 at a load of 20 on two cores): ``make test-all`` runs it. The whole night is on Spark Connect only.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from churn_assets.databricks.workflow import daily_job
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, USERS, Table
from churn_assets_tests.databricks.tiny import until
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, Frame
from churn_assets_tests.end_to_end.warehouse import assert_same_rows, content
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import classic_spark
from churn_assets_tests.workspace.fixtures import remote_python

__all__ = ["remote_python"]

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 45 * 60.0


@pytest.fixture(scope="module")
def ingested(
    landed: Path, remote_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lakehouse]:
    """What the job's task ``ingest`` has made of the files that ``expected`` knows."""
    folder = tmp_path_factory.mktemp("classic")
    with Workspace(
        folder / "workspace", python=remote_python, with_spark=True, classic=classic_spark()
    ) as workspace:
        settings = set_up(workspace, folder, FIRST_DAY, HORIZON, databricks_job_compute="cluster")
        shutil.copytree(landed, workspace.local(LANDING), dirs_exist_ok=True)
        client = workspace.client()
        daily_job.create(client, settings)
        run_id = daily_job.run(client, settings, wait=False).run_id
        task = workspace.jobs.runs[run_id].tasks["ingest"]
        until(lambda: task.end, PATIENCE_SECONDS)
        client.jobs.cancel_run(run_id)
        workspace.jobs.wait(run_id)
        assert task.end is not None
        assert task.end.result == "SUCCESS", task.logs
        yield lakehouse(settings)
    assert workspace.violations == []


@pytest.mark.parametrize("table", [LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS, USERS], ids=str)
def test_each_table_is_what_a_folder_lake_gets(
    ingested: Lakehouse, expected: Callable[[Table], Frame], table: Table
) -> None:
    assert_same_rows(content(ingested, table), expected(table), table)
