"""The client of dagster-databricks' shipped step launcher, unmodified, against the workspace."""

import io
import logging

import pytest
from dagster_databricks.databricks import DatabricksError, DatabricksJobRunner
from databricks.sdk.errors import PermissionDenied

from churn_assets_tests.workspace.emulator import Workspace

# As the launcher writes them; its own libraries are left out, for the bare interpreter has none.
RUN = {
    "run_name": "step",
    "install_default_libraries": False,
    "cluster": {
        "new": {
            "spark_version": "14.3.x-scala2.12",
            "nodes": {"node_types": {"node_type_id": "i3.xlarge"}},
            "size": {"num_workers": 4},
            "cluster_log_conf": {"dbfs": {"destination": "dbfs:/logs"}},
        }
    },
}
LOG = logging.getLogger("test")


def _runner(workspace: Workspace) -> DatabricksJobRunner:
    return DatabricksJobRunner(workspace.url, workspace.token, poll_interval_sec=0.05, max_wait_time_sec=30)


def _task(*parameters: str) -> dict[str, object]:
    return {"spark_python_task": {"python_file": "dbfs:/stage/main.py", "parameters": list(parameters)}}


def test_a_staged_step_runs_and_its_logs_come_back(workspace: Workspace) -> None:
    runner = _runner(workspace)
    code = b"import sys; print(open(sys.argv[1]).read())"
    runner.client.put_file(io.BytesIO(code), "dbfs:///stage/main.py", overwrite=True)
    runner.client.put_file(io.BytesIO(b"hello"), "/stage/x", overwrite=True)
    assert runner.client.read_file("dbfs:///stage/x") == b"hello"
    run_id = runner.submit_run(RUN, _task("/dbfs/stage/x"))
    runner.client.wait_for_run_to_complete(LOG, run_id, 0.05, 30)
    assert runner.retrieve_logs_for_run_id(LOG, run_id) == ("hello\n", "")
    assert workspace.clusters.alive() == []


def test_a_failed_step_is_an_error_with_its_message(workspace: Workspace) -> None:
    runner = _runner(workspace)
    runner.client.put_file(io.BytesIO(b"raise ValueError"), "/stage/main.py", overwrite=True)
    run_id = runner.submit_run(RUN, _task())
    with pytest.raises(DatabricksError, match="Task dagster-task failed with message: Workload failed"):
        runner.client.wait_for_run_to_complete(LOG, run_id, 0.05, 30)


def test_without_dbfs_it_fails_at_its_first_call(workspace: Workspace) -> None:
    workspace.dbfs.enabled = False
    with pytest.raises(PermissionDenied, match="Public DBFS root is disabled"):
        _runner(workspace).client.put_file(io.BytesIO(b""), "/stage/main.py")
