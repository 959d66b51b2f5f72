"""A night of the job on a dedicated cluster, whose session is classic: Apache Spark and Delta in the driver.

Five processes that each start a JVM: ``make test-all`` runs it. The same night on Spark Connect is
test_workflow.py's, and by launchers test_databricks.py's.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from churn_assets.automation.staleness.plan import BY_MODEL
from churn_assets.databricks.workflow import daily_job
from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.resources import lakehouse
from churn_assets.tables import PREDICTION_OUTCOMES, TABLES, Table
from churn_assets_tests.end_to_end.conftest import DAYS, FIRST_DAY, HORIZON, Frame
from churn_assets_tests.end_to_end.warehouse import assert_same_rows, content
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import classic_spark
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.nights import finished, states

__all__ = ["remote_python"]

pytestmark = pytest.mark.slow

LAST_DAY = FIRST_DAY + (DAYS - 1) * ONE_DAY


class Night(NamedTuple):
    """What the job's first run left, and how its tasks ended."""

    lake: Lakehouse
    states: dict[str, str]


@pytest.fixture(scope="module")
def night(landed: Path, remote_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Over the files that ``expected`` knows."""
    folder = tmp_path_factory.mktemp("classic")
    with Workspace(
        folder / "workspace", python=remote_python, with_spark=True, classic=classic_spark()
    ) as workspace:
        settings = set_up(workspace, folder, FIRST_DAY, HORIZON, databricks_job_compute="cluster")
        shutil.copytree(landed, workspace.local(LANDING), dirs_exist_ok=True)
        client = workspace.client()
        daily_job.create(client, settings)
        run = finished(workspace, daily_job.run(client, settings))
        yield Night(lakehouse(settings), states(run))
    assert workspace.violations == []


def test_each_task_does_its_part_in_a_classic_session(night: Night) -> None:
    assert set(night.states.values()) == {"SUCCESS"}


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_each_table_is_what_a_folder_lake_gets(
    night: Night, expected: Callable[[Table], Frame], table: Table
) -> None:
    rows = expected(table)
    if table in BY_MODEL:
        # Each night scores the last date; the others' labels were known before there was a model.
        rows = rows[rows["feature_date"] == LAST_DAY]
    if table is PREDICTION_OUTCOMES:
        assert night.lake.partition_rows(table) == {}
    else:
        assert_same_rows(content(night.lake, table), rows, table)
