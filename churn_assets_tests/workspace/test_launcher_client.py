"""The client of dagster-databricks' shipped step launcher, unmodified, against the workspace."""

import io
import logging

import pytest
from dagster_databricks.databricks import DatabricksError, DatabricksJobRunner
from databricks.sdk.errors import PermissionDenied

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.tasks import finished, logs, python_task

# As the launcher writes them; its own libraries are left out, for the bare interpreter has none.
RUN = {
    "run_name": "step",
    "install_default_libraries": False,
    "cluster": {
        "new": {
            "spark_version": "17.3.x-scala2.13",
            "nodes": {"node_types": {"node_type_id": "i3.xlarge"}},
            "size": {"num_workers": 4},
        }
    },
}
LOG = logging.getLogger("test")


def _runner(workspace: Workspace) -> DatabricksJobRunner:
    return DatabricksJobRunner(workspace.url, workspace.token, poll_interval_sec=0.05, max_wait_time_sec=30)


def _task(workspace: Workspace, code: bytes, *parameters: str) -> dict[str, object]:
    return {"spark_python_task": python_task(workspace, "main", code.decode(), *parameters).as_dict()}


def test_a_submitted_step_runs_to_its_end(workspace: Workspace) -> None:
    runner = _runner(workspace)
    run_id = runner.submit_run(RUN, _task(workspace, b"import sys; print(sys.argv[1])", "hello"))
    runner.client.wait_for_run_to_complete(LOG, run_id, 0.05, 30)
    assert logs(workspace, finished(workspace, run_id), "dagster-task") == "hello\n"
    assert workspace.clusters.alive() == []


def test_a_failed_step_is_an_error_with_its_message(workspace: Workspace) -> None:
    runner = _runner(workspace)
    run_id = runner.submit_run(RUN, _task(workspace, b"raise ValueError"))
    with pytest.raises(DatabricksError, match="Task dagster-task failed with message: Workload failed"):
        runner.client.wait_for_run_to_complete(LOG, run_id, 0.05, 30)


def test_its_own_staging_fails_at_its_first_call(workspace: Workspace) -> None:
    with pytest.raises(PermissionDenied, match="Public DBFS root is disabled"):
        _runner(workspace).client.put_file(io.BytesIO(b""), "/stage/main.py")
