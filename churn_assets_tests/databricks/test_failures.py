"""How a step ends when something goes wrong: its own error, a machine, the service, or what it was given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from churn_assets.databricks.compute.libraries import Requirements
from churn_assets.databricks.steps.launch import Launch
from churn_assets.databricks.steps.step_runs import StepRuns
from churn_assets_tests.databricks import tiny
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.faults import LostResponse, Refused, UnknownState

Make = Callable[..., Any]
# What both launchers share is seen once: with the step launcher.
with_each_launcher = pytest.mark.usefixtures("each_launcher")
KEY = "dagster-task"


def retries(result: dg.ExecuteInProcessResult) -> int:
    return len([event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"])


def outcomes(workspace: Workspace) -> list[str]:
    return [run.end.result for run in workspace.jobs.runs.values() if run.end]


@with_each_launcher
def test_an_asset_that_raises_fails_with_its_own_error_and_so_does_its_databricks_run(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    result = materialize(make_launcher(), "probe", config={"fails": True, "says": "before it fails"})
    error = tiny.failure(result, "probe")
    assert error.cause.message.strip().endswith("ValueError: the asset's own error")
    assert outcomes(workspace) == ["FAILED"]
    (run,) = workspace.jobs.runs.values()
    output = run.tasks[KEY].logs
    # context.log, a logger and print: all of them where Databricks shows what a task writes.
    for line in ("before it fails", "a logger says before it fails", "print says before it fails"):
        assert line in output


@with_each_launcher
def test_an_asset_that_raises_is_tried_again_as_its_policy_says(
    workspace: Workspace, make_launcher: Make, materialize: Make, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    result = materialize(make_launcher(), "retried_probe", config={"fails": True, "marks": str(marks)})
    assert not result.success
    assert retries(result) == 1
    assert len(marks.read_text().split()) == 2
    assert outcomes(workspace) == ["FAILED", "FAILED"]


@with_each_launcher
def test_what_was_materialised_before_a_failure_stays(
    make_launcher: Make, materialize: Make, instance: dg.DagsterInstance
) -> None:
    result = materialize(make_launcher(), "first_half", "second_half")
    assert "nothing came of the second half" in tiny.failure(result, "halves").cause.message
    first, second = (
        instance.get_latest_materialization_event(dg.AssetKey(name)) for name in ("first_half", "second_half")
    )
    assert first
    assert first.asset_materialization
    assert {"rows", "run_url"} <= set(first.asset_materialization.metadata)
    assert second is None


@with_each_launcher
def test_a_driver_that_dies_is_tried_again_as_the_assets_policy_says(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    workspace.faults.kill_driver(KEY)
    result = materialize(make_launcher(), "retried_probe", config={})
    assert result.success
    assert retries(result) == 1
    assert len(outcomes(workspace)) == 2


@with_each_launcher
def test_a_driver_that_dies_fails_an_asset_without_a_policy_and_says_why(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    workspace.faults.kill_driver(KEY)
    result = materialize(make_launcher(), "probe", config={})
    message = tiny.failure(result, "probe").message
    assert "InfrastructureError: The Databricks run of probe ended without a result" in message
    assert "driver died" in message
    assert "/run/" in message


@with_each_launcher
def test_a_run_that_somebody_cancels_is_not_tried_again(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    import threading

    def cancel() -> None:
        run_id = tiny.until(lambda: next(iter(workspace.jobs.runs), None))
        workspace.jobs.wait_for_process(run_id)
        workspace.client().jobs.cancel_run(run_id)

    somebody = threading.Thread(target=cancel)
    somebody.start()
    result = materialize(make_launcher(), "retried_probe", config={"waits_for": "/never"})
    somebody.join()
    assert retries(result) == 0
    assert "CANCELED" in tiny.failure(result, "retried_probe").message
    assert outcomes(workspace) == ["CANCELED"]


@with_each_launcher
def test_a_workspace_that_stumbles_everywhere_still_runs_the_step_once(
    workspace: Workspace, make_launcher: Make, materialize: Make, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    workspace.faults.add("POST", r"/clusters/create$", LostResponse())
    workspace.faults.add("POST", r"/runs/submit$", LostResponse())
    workspace.faults.add("POST", r"/runs/submit$", Refused(500))
    workspace.faults.add("PUT", r"/config\.json$", Refused(429, retry_after=0))
    workspace.faults.add("GET", r"/runs/get$", Refused(500), times=2)
    workspace.faults.add("GET", r"/runs/get$", Refused(503, retry_after=0))
    workspace.faults.add("GET", r"/events-", Refused(500))
    workspace.faults.add("GET", r"/runs/get$", UnknownState(), times=3)
    workspace.faults.add("DELETE", r"/fs/", Refused(500))
    result = materialize(make_launcher(patience_seconds=20), "probe", config={"marks": str(marks)})
    assert result.success
    assert len(marks.read_text().split()) == 1
    assert outcomes(workspace) == ["SUCCESS"]
    # The cluster whose making was not answered was made; it ended before the step began.
    assert len(workspace.calls("POST", "/clusters/create")) == 2
    posts = [request.path.rsplit("/", 1)[1] for request in workspace.requests if request.method == "POST"]
    assert posts.index("permanent-delete") < posts.index("submit")
    assert dict(workspace.faults.happened) == {"LostResponse": 2, "Refused": 7, "UnknownState": 3}


@with_each_launcher
def test_a_workspace_that_stays_away_fails_the_step_and_leaves_no_run_behind(
    workspace: Workspace, make_launcher: Make, materialize: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = StepRuns.cancel

    def cancel_when_it_is_back(runs: StepRuns, launch: Launch) -> None:
        workspace.faults.clear()
        cancel(runs, launch)

    monkeypatch.setattr(StepRuns, "cancel", cancel_when_it_is_back)
    workspace.faults.add("GET", r"/runs/get$", Refused(500), times=1000)
    result = materialize(make_launcher(patience_seconds=1), "probe", config={"waits_for": "/never"})
    assert "Databricks did not answer for 1 s" in tiny.failure(result, "probe").message
    assert outcomes(workspace) == ["CANCELED"]


@with_each_launcher
def test_a_token_that_expires_fails_the_step_in_one_line_and_its_orphan_ends_itself(
    workspace: Workspace, make_launcher: Make, materialize: Make
) -> None:
    workspace.faults.add("GET", r"/runs/get$", Refused(401, message="Access token expired."), times=99)
    workspace.faults.add("POST", r"/runs/cancel$", Refused(401, message="Access token expired."), times=99)
    launcher = make_launcher(databricks_compute="step", heartbeat_seconds=0.2, missed_heartbeats=5)
    result = materialize(launcher, "retried_probe", config={"waits_for": "/never"})
    assert retries(result) == 0
    assert "Access token expired" in tiny.failure(result, "retried_probe").message
    (run_id,) = workspace.jobs.runs
    assert workspace.jobs.wait(run_id).end is not None
    assert outcomes(workspace) == ["FAILED"]


@with_each_launcher
def test_a_folder_that_is_not_the_package_fails_on_the_cluster_which_cannot_see_the_working_tree(
    workspace: Workspace, make_launcher: Make, materialize: Make, tmp_path: Path
) -> None:
    wrong = tmp_path / "something_else"
    wrong.mkdir()
    (wrong / "__init__.py").touch()
    result = materialize(make_launcher(package=wrong), "probe", config={})
    message = tiny.failure(result, "probe").message
    assert (
        "PackageNotStagedError: The archive code.zip holds churn_remote, dagster_pyspark, something_else, "
        "not tiny_churn." in message
    )
    assert outcomes(workspace) == ["FAILED"]


@with_each_launcher
def test_a_library_that_cannot_be_had_is_not_tried_again_nor_is_code_uploaded_again(
    workspace: Workspace, make_launcher: Make, materialize: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    unhashed = Requirements(b"dagster==0.1\n", "unhashed")
    monkeypatch.setattr("churn_assets.databricks.steps.staged_code.cluster_requirements", lambda: unhashed)
    for _worker in range(2):
        result = materialize(make_launcher(databricks_compute="step"), "retried_probe", config={})
        assert retries(result) == 0
        assert "LIBRARY_INSTALLATION_ERROR" in tiny.failure(result, "retried_probe").message
    assert len(workspace.jobs.runs) == 2
    # The second worker found the code of the first.
    assert len(workspace.calls("PUT", "/code.zip")) == 1
