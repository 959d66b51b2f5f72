"""What becomes of a step when its run worker is told to stop, is killed, or is killed and started again."""

import signal
from pathlib import Path

import dagster as dg
import pytest

from churn_assets_tests.databricks import tiny
from churn_assets_tests.databricks.tiny import Worker, until
from churn_assets_tests.workspace.emulator import Workspace

pytestmark = pytest.mark.usefixtures("each_launcher")


def wait_until_the_step_runs(workspace: Workspace, marks: Path) -> int:
    """The id of its Databricks run, once the asset's own code runs there."""
    until(lambda: marks.exists() and marks.read_text())
    (run_id,) = workspace.jobs.runs
    return run_id


def test_ctrl_c_cancels_the_databricks_run_ends_its_cluster_and_keeps_what_was_materialised(
    workspace: Workspace, tmp_path: Path
) -> None:
    config = {"waits_for": "/never", "says": "the first half is done"}
    assets = ["first_half", "second_half"]
    with Worker(workspace, tmp_path, "halves", config, selects=assets) as worker:
        dagster_run_id = worker.read_line()
        with dg.DagsterInstance.local_temp(str(worker.home)) as instance:
            # It is said after the materialisation, and so comes after it.
            until(lambda: config["says"] in [e.user_message for e in instance.all_logs(dagster_run_id)])
        worker.process.send_signal(signal.SIGINT)
        worker.process.wait(timeout=30)
    (run_id,) = workspace.jobs.runs
    run = workspace.jobs.wait(run_id)
    assert run.end is not None
    assert run.end.result == "CANCELED"
    with dg.DagsterInstance.local_temp(str(worker.home)) as instance:
        first, second = (instance.get_latest_materialization_event(dg.AssetKey(name)) for name in assets)
        stopped = instance.get_run_by_id(dagster_run_id)
    assert stopped is not None
    assert stopped.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
    assert first is not None
    assert first.asset_materialization is not None
    metadata = first.asset_materialization.metadata
    assert metadata["rows"].value == 7
    assert {"run_url", "run_id"} <= set(metadata)
    assert second is None
    # The fixture looks at the rest: no cluster, no run and no staged file is left.


def test_the_orphan_of_a_killed_worker_ends_itself_and_the_next_run_ends_its_cluster(
    workspace: Workspace, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    config = {"waits_for": "/never", "marks": str(marks)}
    with Worker(workspace, tmp_path, "probe", config, launcher={"missed_heartbeats": 5}) as worker:
        dagster_run_id = worker.read_line()
        run_id = wait_until_the_step_runs(workspace, marks)
        worker.process.kill()
    run = workspace.jobs.wait(run_id, seconds=20)
    assert run.end is not None
    assert run.end.result == "FAILED"
    assert "this orphan ends itself" in run.tasks["dagster-task"].logs
    assert tiny.staged(workspace) == []
    assert len(workspace.clusters.alive()) == 1
    with dg.DagsterInstance.local_temp(str(worker.home)) as instance:
        # What Dagster's run monitoring does, or churn run when it starts.
        killed = instance.get_run_by_id(dagster_run_id)
        assert killed is not None
        instance.report_run_failed(killed, "The process that ran it is gone.")
        launcher = tiny.make_launcher(workspace, tmp_path)
        with launcher.for_run(instance, "the next run"):
            assert workspace.clusters.alive() == []
    assert not workspace.local(f"{tiny.STAGING}/runs/{dagster_run_id}").exists()


def test_a_restarted_worker_follows_the_databricks_run_that_is_there(
    workspace: Workspace, tmp_path: Path, each_launcher: str
) -> None:
    marks = tmp_path / "marks"
    done = tmp_path / "done"
    config = {"waits_for": str(done), "marks": str(marks), "says": "said once"}
    with Worker(workspace, tmp_path, "probe", config) as worker:
        dagster_run_id = worker.read_line()
        run_id = wait_until_the_step_runs(workspace, marks)
        with dg.DagsterInstance.local_temp(str(worker.home)) as instance:
            until(
                lambda: [
                    entry for entry in instance.all_logs(dagster_run_id) if entry.user_message == "said once"
                ]
            )
        worker.process.kill()
    with Worker(workspace, tmp_path, "probe", config, run_id=dagster_run_id) as restarted:
        assert restarted.read_line() == dagster_run_id
        until(lambda: "is followed again" in restarted.log)
        done.touch()
        assert restarted.read_line() == "SUCCESS", restarted.log
    assert list(workspace.jobs.runs) == [run_id]
    assert len(marks.read_text().split()) == 1
    with dg.DagsterInstance.local_temp(str(worker.home)) as instance:
        entries = instance.all_logs(dagster_run_id)
        materialized = instance.get_latest_materialization_event(dg.AssetKey("probe"))
    assert [entry.user_message for entry in entries].count("said once") == 1
    types = [entry.dagster_event.event_type_value for entry in entries if entry.dagster_event]
    # With Pipes the step is this side's, and each worker starts it; what it starts there is one.
    assert types.count("STEP_START") == {"step": 1, "pipes": 2}[each_launcher]
    assert types.count("ASSET_MATERIALIZATION") == 1
    assert materialized is not None
    assert workspace.token not in restarted.log
