"""Small jobs for tests: a line of Python in the workspace, run on a small cluster."""

import io
from typing import Any

from databricks.sdk.service.compute import ClusterSpec, Environment
from databricks.sdk.service.jobs import JobEnvironment, Run, SparkPythonTask, SubmitTask
from databricks.sdk.service.workspace import ImportFormat

from churn_assets_tests.workspace.emulator import Workspace

CLUSTER = ClusterSpec(spark_version="17.3.x-scala2.13", node_type_id="i3.xlarge", num_workers=1)
VOLUME = "/Volumes/main_catalog/gold/churn"


def python_task(workspace: Workspace, key: str, code: str, *arguments: str) -> SparkPythonTask:
    """A file with this code in the workspace, as a task."""
    path = f"/Workspace/Shared/tests/{key}.py"
    files = workspace.client().workspace
    files.mkdirs("/Workspace/Shared/tests")
    files.upload(path, io.BytesIO(code.encode()), format=ImportFormat.AUTO, overwrite=True)
    return SparkPythonTask(path, parameters=list(arguments))


def submit(
    workspace: Workspace, code: str, *arguments: str, cluster: ClusterSpec = CLUSTER, **task: Any
) -> int:
    """Submit a run with one task, ``main``; its run id."""
    submit_task = SubmitTask(
        task_key="main",
        new_cluster=None if "existing_cluster_id" in task else cluster,
        spark_python_task=python_task(workspace, "main", code, *arguments),
        **task,
    )
    return workspace.client().jobs.submit(run_name="test", tasks=[submit_task]).response.run_id


def submit_serverless(
    workspace: Workspace, code: str, *arguments: str, dependencies: tuple[str, ...] = ()
) -> int:
    """Submit a run with one serverless task, ``main``, in an environment with these; its run id."""
    task = SubmitTask(
        task_key="main",
        environment_key="ours",
        spark_python_task=python_task(workspace, "main", code, *arguments),
    )
    spec = Environment(environment_version="4", dependencies=list(dependencies))
    environments = [JobEnvironment("ours", spec)]
    return (
        workspace.client()
        .jobs.submit(run_name="test", tasks=[task], environments=environments)
        .response.run_id
    )


def finished(workspace: Workspace, run_id: int) -> Run:
    """The run as the API tells it, once it has ended."""
    workspace.jobs.wait(run_id)
    return workspace.client().jobs.get_run(run_id)


def logs(workspace: Workspace, run: Run, key: str = "main") -> str:
    """What a task of the run printed."""
    task = next(candidate for candidate in run.tasks or [] if candidate.task_key == key)
    assert task.run_id is not None
    return workspace.client().jobs.get_run_output(task.run_id).logs or ""
