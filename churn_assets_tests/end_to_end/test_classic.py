"""The job's night and the graph's steps on dedicated clusters: classic sessions, Apache Spark in the driver.

Auto Loader, merges, time travel, training and scoring, by the job, by the step launcher and by Pipes. Each
takes minutes, and many on a busy machine: ``make test-all`` runs it. Three nights on such a cluster, on which
a model is trained or not, are databricks/test_workflow_whole.py's.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.databricks.workflow import daily_job
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import Table
from churn_assets_tests.end_to_end.clusterhouse import (
    WHOLE,
    Clusterhouse,
    Way,
    assert_endpoint_agrees,
)
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, LAST_DAY, Frame
from churn_assets_tests.end_to_end.warehouse import assert_as_after_the_first_model, assert_same_rows
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import classic_spark
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.nights import finished, production, served, states

__all__ = ["remote_python"]

pytestmark = pytest.mark.slow


@contextmanager
def classic_workspace(
    folder: Path, python: Path, landed: Path, **choice: object
) -> Iterator[tuple[Workspace, Settings]]:
    """An emulated workspace with the files that ``expected`` knows; its dedicated clusters are classic."""
    spark = classic_spark()
    with Workspace(folder / "workspace", python=python, with_spark=True, classic=spark) as workspace:
        settings = set_up(workspace, folder, FIRST_DAY, HORIZON, **choice)
        shutil.copytree(landed, workspace.local(LANDING), dirs_exist_ok=True)
        yield workspace, settings
    assert workspace.violations == []


def test_each_table_that_a_night_of_the_job_makes_is_what_a_folder_lake_gets(
    landed: Path, remote_python: Path, tmp_path: Path, expected: Callable[[Table], Frame]
) -> None:
    with classic_workspace(tmp_path, remote_python, landed, databricks_job_compute="cluster") as (
        workspace,
        settings,
    ):
        client = workspace.client()
        daily_job.create(client, settings)

        run = finished(workspace, daily_job.run(client, settings))

        assert set(states(run).values()) == {"SUCCESS"}
        assert production(settings) == served(workspace) == "1"
        assert_as_after_the_first_model(lakehouse(settings), expected, LAST_DAY)


@pytest.mark.parametrize("launcher", ["step", "pipes"])
def test_each_table_that_a_launchers_steps_make_is_what_a_folder_lake_gets(
    landed: Path, remote_python: Path, tmp_path: Path, expected: Callable[[Table], Frame], launcher: str
) -> None:
    choice = {"databricks_launcher": launcher, "databricks_compute": "run"}
    with (
        classic_workspace(tmp_path, remote_python, landed, **choice) as (workspace, settings),
        dg.DagsterInstance.ephemeral() as instance,
    ):
        house = Clusterhouse(workspace, settings, instance, Way(WHOLE, launcher, "run"))

        house.run()

        for table in house.tables:
            assert_same_rows(house.content(table), expected(table), table)
        assert_endpoint_agrees(house)
        assert workspace.clusters.alive() == []
