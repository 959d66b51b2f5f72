"""A serverless night of the Databricks job: the package's own wheel, on another Python and Spark."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from churn_assets.databricks.workflow import daily_job
from churn_assets.databricks.workflow.status import RunStatus
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import Table
from churn_assets_tests.end_to_end.conftest import FIRST_DAY, HORIZON, LAST_DAY, Frame
from churn_assets_tests.end_to_end.warehouse import assert_as_after_the_first_model
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.nights import finished, production, served, states

__all__ = ["remote_python"]


SECRET = "told-to-each-task"


class Night(NamedTuple):
    """The job's first run, and what it left."""

    workspace: Workspace
    settings: Settings
    run: RunStatus
    lake: Lakehouse


@pytest.fixture(scope="module")
def night(landed: Path, remote_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Over the files that ``expected`` knows."""
    folder = tmp_path_factory.mktemp("night")
    with Workspace(folder / "workspace", python=remote_python, with_spark=True) as workspace:
        settings = set_up(workspace, folder, FIRST_DAY, HORIZON, databricks_secret_scope="ours")
        shutil.copytree(landed, workspace.local(LANDING), dirs_exist_ok=True)
        client = workspace.client()
        client.secrets.create_scope("ours")
        client.secrets.put_secret("ours", "endpoint-token", string_value=SECRET)
        daily_job.create(client, settings)
        run = finished(workspace, daily_job.run(client, settings))
        yield Night(workspace, settings, run, lakehouse(settings))
    assert workspace.violations == []


def test_every_task_does_its_part_and_the_first_model_is_served(night: Night) -> None:
    assert set(states(night.run).values()) == {"SUCCESS"}
    # None was tried twice, and there was no cluster.
    assert night.workspace.jobs.runs[night.run.run_id].earlier == []
    assert night.workspace.calls("GET", "/clusters/get") == night.workspace.clusters.alive() == []
    assert production(night.settings) == served(night.workspace) == "1"


def test_each_task_reads_its_secret_itself_and_it_lies_nowhere(night: Night) -> None:
    workspace = night.workspace
    tasks = [task for task in workspace.jobs.runs[night.run.run_id].tasks.values() if task.process]
    files = [file for file in workspace.folder.joinpath("Volumes").rglob("*") if file.is_file()]

    assert len(workspace.calls("GET", "/secrets/get")) == len(tasks) == 5
    assert SECRET not in str(workspace.jobs.jobs)
    assert [task.key for task in tasks if SECRET in task.logs] == []
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []


def test_every_table_is_what_a_folder_lake_gets(night: Night, expected: Callable[[Table], Frame]) -> None:
    assert_as_after_the_first_model(night.lake, expected, LAST_DAY)
