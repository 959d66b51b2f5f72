"""Tasks of submitted runs are real processes that see nothing but what a cluster has."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from databricks.sdk.errors import BadRequest, InvalidParameterValue
from databricks.sdk.service.compute import ClusterSpec, Library, PythonPyPiLibrary
from databricks.sdk.service.jobs import (
    PythonWheelTask,
    RunLifeCycleState,
    RunResultState,
    SparkPythonTask,
    SubmitTask,
)

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.tasks import CLUSTER, VOLUME, finished, logs, python_task, submit
from churn_assets_tests.workspace.wheels import make_wheel

JINJA2 = "85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67"


def test_a_file_runs_with_real_paths_in_place_of_volumes(workspace: Workspace) -> None:
    workspace.client().files.create_directory(VOLUME)
    code = "import sys; open(sys.argv[1], 'w').write('done'); print(sys.argv[2:])"
    run = finished(workspace, submit(workspace, code, f"{VOLUME}/out.txt", f"--root=dbfs:{VOLUME}", "plain"))
    assert run.state
    assert run.state.result_state == RunResultState.SUCCESS
    content = workspace.client().files.download(f"{VOLUME}/out.txt").contents
    assert content
    assert content.read() == b"done"
    assert logs(workspace, run).strip() == str([f"--root={workspace.local(VOLUME)}", "plain"])


def test_a_task_cannot_import_the_working_tree(workspace: Workspace) -> None:
    code = "import os, sys; print(os.getcwd(), sys.path); import churn_assets"
    run = finished(workspace, submit(workspace, code))
    assert run.state
    assert run.state.result_state == RunResultState.FAILED
    printed = logs(workspace, run)
    assert "ModuleNotFoundError: No module named 'churn_assets'" in printed
    assert str(Path(__file__).parents[2]) not in printed


def test_a_task_sees_the_environment_of_its_cluster_and_nothing_of_ours(workspace: Workspace) -> None:
    client = workspace.client()
    client.secrets.create_scope("prod")
    client.secrets.put_secret("prod", "password", string_value="s3cret")
    variables = {"GREETING": "hello", "PASSWORD": "{{secrets/prod/password}}"}
    cluster = ClusterSpec.from_dict(CLUSTER.as_dict() | {"spark_env_vars": variables})
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = json.loads(logs(workspace, finished(workspace, submit(workspace, code, cluster=cluster))))
    assert (seen["GREETING"], seen["PASSWORD"]) == ("hello", "s3cret")
    assert seen["DATABRICKS_RUNTIME_VERSION"] == "17.3"
    assert seen["CHURN_EMULATED_ROOT"] == str(workspace.folder)
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "DATABRICKS_TOKEN", "PYTEST_CURRENT_TEST"} & set(seen)


def test_an_exception_fails_the_task_but_is_an_internal_error_of_the_run(workspace: Workspace) -> None:
    run = finished(workspace, submit(workspace, "print('before'); raise KeyError('user_id')"))
    assert run.state
    assert run.tasks
    assert run.tasks[0].state
    assert run.tasks[0].run_id
    assert run.tasks[0].state.life_cycle_state == RunLifeCycleState.TERMINATED
    assert run.state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert (
        run.state.state_message
        == "Task main failed with message: Workload failed, see run output for details."
    )
    assert run.status
    assert run.status.termination_details
    assert str(run.status.termination_details.code) == "TerminationCodeCode.RUN_EXECUTION_ERROR"
    output = workspace.client().jobs.get_run_output(run.tasks[0].run_id)
    assert output.error == "KeyError: 'user_id'"
    assert "in <module>" in (output.error_trace or "")
    assert (output.logs or "").startswith("before\n")


def test_leaving_with_code_zero_is_a_failure_as_on_a_driver(workspace: Workspace) -> None:
    run = finished(workspace, submit(workspace, "import sys; sys.exit(0)"))
    assert run.state
    assert run.state.result_state == RunResultState.FAILED


def test_a_task_ends_with_its_code_whatever_threads_are_left(workspace: Workspace) -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=[600]).start()"
    run = finished(workspace, submit(workspace, code))
    assert run.state
    assert run.state.result_state == RunResultState.SUCCESS


def test_a_task_ends_when_the_emulator_is_killed(tmp_path: Path) -> None:
    script = """
        import sys, time, pathlib
        from churn_assets_tests.workspace.emulator import Workspace
        from churn_assets_tests.workspace.tasks import submit
        with Workspace(pathlib.Path(sys.argv[1])) as workspace:
            run_id = submit(workspace, "import time; time.sleep(600)")
            print(workspace.jobs.wait_for_process(run_id), flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as emulator:
        assert emulator.stdout
        task = psutil.Process(int(emulator.stdout.readline()))
        emulator.kill()
    task.wait(10)
    assert not task.is_running()


def test_a_killed_process_is_a_death_of_the_driver(workspace: Workspace) -> None:
    run_id = submit(workspace, "import time; time.sleep(600)")
    os.kill(workspace.jobs.wait_for_process(run_id), signal.SIGKILL)
    run = finished(workspace, run_id)
    assert run.tasks
    assert run.tasks[0].state
    assert run.tasks[0].state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert "driver died" in (run.tasks[0].state.state_message or "")
    assert workspace.clusters.alive() == []


def test_cancelling_kills_the_process_and_its_children(workspace: Workspace) -> None:
    child = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    code = f"{child}; import time; time.sleep(600)"
    run_id = submit(workspace, code)
    process = workspace.jobs.wait_for_process(run_id)
    task = workspace.jobs.runs[run_id].tasks["main"]
    while not task.logs:
        pass
    workspace.faults.termination_seconds = 0.3
    workspace.client().jobs.cancel_run(run_id)
    now = workspace.client().jobs.get_run(run_id)
    assert now.state
    assert now.state.life_cycle_state == RunLifeCycleState.TERMINATING
    run = finished(workspace, run_id)
    assert run.state
    assert (run.state.life_cycle_state, run.state.result_state) == (
        RunLifeCycleState.TERMINATED,
        RunResultState.CANCELED,
    )
    for pid in (process, int(task.logs)):
        assert _gone(pid)
    assert workspace.jobs.processes() == []
    assert workspace.clusters.alive() == []


def test_a_task_that_exceeds_its_time_is_killed(workspace: Workspace) -> None:
    run = finished(workspace, submit(workspace, "import time; time.sleep(600)", timeout_seconds=1))
    assert run.tasks
    assert run.tasks[0].state
    assert run.tasks[0].state.result_state == RunResultState.TIMEDOUT
    assert workspace.jobs.processes() == []


def test_wheels_are_installed_and_their_entry_point_is_called(workspace: Workspace) -> None:
    source = "import sys, importlib.metadata as m; go = lambda: print(sys.argv[1:], m.version('greeter'))"
    wheel = make_wheel("greeter", "1.2", {"greeter.py": source}, {"hello": "greeter:go"})
    client = workspace.client()
    client.files.upload(f"{VOLUME}/{wheel.name}", io.BytesIO(wheel.content))
    task = SubmitTask(
        task_key="main",
        new_cluster=CLUSTER,
        libraries=[Library(whl=f"{VOLUME}/{wheel.name}")],
        python_wheel_task=PythonWheelTask("greeter", "hello", named_parameters={"from": "2026-01-01"}),
    )
    run = finished(workspace, client.jobs.submit(tasks=[task]).response.run_id)
    assert logs(workspace, run).strip() == "['--from=2026-01-01'] 1.2"


def test_a_pinned_library_that_is_not_there_fails_the_installation(workspace: Workspace) -> None:
    library = Library(pypi=PythonPyPiLibrary("numpy==0.0.1"))
    run = finished(workspace, submit(workspace, "print('never')", libraries=[library]))
    assert run.tasks
    assert run.tasks[0].state
    assert run.tasks[0].status
    assert run.tasks[0].status.termination_details
    assert run.tasks[0].state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert "Library installation failed" in (run.tasks[0].state.state_message or "")
    assert run.tasks[0].status.termination_details.code
    assert run.tasks[0].status.termination_details.code.value == "LIBRARY_INSTALLATION_ERROR"
    assert workspace.jobs.runs[run.run_id or 0].tasks["main"].process is None


@pytest.mark.parametrize(
    ("library", "says"),
    [
        (Library(whl="dbfs:/stage/ours-1-py3-none-any.whl"), "Libraries in the DBFS root are disabled"),
        (Library(requirements="dbfs:/stage/requirements.txt"), "lies in one of /Workspace/, /Volumes/"),
        (Library(requirements="s3://ours/requirements.txt"), "lies in one of /Workspace/, /Volumes/"),
        (Library(requirements=f"{VOLUME}/nowhere.txt"), "Could not find the file"),
    ],
)
def test_a_library_that_lies_where_none_is_taken_from_fails_the_installation(
    workspace: Workspace, library: Library, says: str
) -> None:
    assert says in _refusal(workspace, library)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("six==1.17.0\n", "hash"),
        # It requires markupsafe, which no line pins and the runtime of these tests has not.
        (f"jinja2==3.1.6 --hash=sha256:{JINJA2}\n", "requires markupsafe, which is not installed"),
        (f"six==1.17.0 --hash=sha256:{'0' * 64}\n", "Hash mismatch"),
    ],
    ids=["no hash", "something missing", "another hash"],
)
def test_a_requirements_file_that_pip_would_not_take_fails_the_installation(
    workspace: Workspace, remote_python: Path, text: str, says: str
) -> None:
    file = f"{VOLUME}/requirements.txt"
    workspace.client().files.upload(file, io.BytesIO(text.encode()))
    assert says in _refusal(workspace, Library(requirements=file))


def _refusal(workspace: Workspace, library: Library) -> str:
    run = finished(workspace, submit(workspace, "print('never')", libraries=[library]))
    assert run.tasks
    assert run.tasks[0].state
    assert run.tasks[0].state.life_cycle_state == RunLifeCycleState.INTERNAL_ERROR
    assert workspace.jobs.runs[run.run_id or 0].tasks["main"].process is None
    return run.tasks[0].state.state_message or ""


def test_the_same_idempotency_token_gives_the_same_run(workspace: Workspace) -> None:
    first = _submit_with_token(workspace, "token-1")
    assert _submit_with_token(workspace, "token-1") == first
    assert _submit_with_token(workspace, "token-2") != first
    assert len(workspace.jobs.runs) == 2


def test_the_output_of_a_whole_run_cannot_be_had(workspace: Workspace) -> None:
    run_id = submit(workspace, "print(1)")
    finished(workspace, run_id)
    with pytest.raises(BadRequest, match="retrieve the output of each individual task run"):
        workspace.client().jobs.get_run_output(run_id)


def test_an_existing_cluster_is_started_again_and_stays(workspace: Workspace) -> None:
    cluster_id = workspace.client().clusters.create(**CLUSTER.as_dict()).response.cluster_id
    workspace.client().clusters.delete(cluster_id)
    run = finished(workspace, submit(workspace, "print(1)", existing_cluster_id=cluster_id))
    assert run.state
    assert run.state.result_state == RunResultState.SUCCESS
    assert [cluster.cluster_id for cluster in workspace.clusters.alive()] == [cluster_id]


def test_a_cluster_that_ends_takes_its_task_along(workspace: Workspace) -> None:
    cluster_id = workspace.client().clusters.create(**CLUSTER.as_dict()).response.cluster_id
    run_id = submit(workspace, "import time; time.sleep(600)", existing_cluster_id=cluster_id)
    workspace.jobs.wait_for_process(run_id)
    workspace.client().clusters.permanent_delete(cluster_id)
    run = finished(workspace, run_id)
    assert run.tasks
    assert run.tasks[0].state
    assert "became unusable" in (run.tasks[0].state.state_message or "")
    assert workspace.jobs.processes() == []


def test_logs_are_delivered_where_the_cluster_says(workspace: Workspace) -> None:
    destination = {"cluster_log_conf": {"volumes": {"destination": f"{VOLUME}/logs"}}}
    cluster = ClusterSpec.from_dict(CLUSTER.as_dict() | destination)
    run = finished(workspace, submit(workspace, "print('kept')", cluster=cluster))
    assert run.tasks
    assert run.tasks[0].cluster_instance
    path = f"{VOLUME}/logs/{run.tasks[0].cluster_instance.cluster_id}/driver/stdout"
    log = workspace.client().files.download(path).contents
    assert log
    assert log.read() == b"kept\n"


def test_a_task_knows_its_workspace_without_any_settings(workspace: Workspace, remote_python: Path) -> None:
    code = """
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.runtime import dbutils
        print(WorkspaceClient().current_user.me().user_name, dbutils.secrets.get("prod", "key"))
    """
    client = workspace.client()
    client.secrets.create_scope("prod")
    client.secrets.put_secret("prod", "key", string_value="v")
    workspace.surroundings.python = remote_python
    run = finished(workspace, submit(workspace, textwrap.dedent(code)))
    assert logs(workspace, run) == "engineer@example.com v\n"


def _submit_with_token(workspace: Workspace, token: str) -> int:
    task = SubmitTask(
        task_key="main", new_cluster=CLUSTER, spark_python_task=python_task(workspace, "main", "print(1)")
    )
    return workspace.client().jobs.submit(tasks=[task], idempotency_token=token).response.run_id


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("path", [f"{VOLUME}/main.py", "main.py", "s3://bucket/main.py"])
def test_a_program_lies_in_the_workspace(workspace: Workspace, path: str) -> None:
    task = SubmitTask(task_key="main", new_cluster=CLUSTER, spark_python_task=SparkPythonTask(path))
    with pytest.raises(InvalidParameterValue, match=f"has the python_file {path}"):
        workspace.client().jobs.submit(tasks=[task])
    workspace.violations.clear()
