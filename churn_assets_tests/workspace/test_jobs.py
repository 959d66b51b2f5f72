"""Jobs: tasks are real processes, in order, with the states that the service has."""

from databricks.sdk.service.compute import ClusterSpec
from databricks.sdk.service.jobs import RunResultState, SparkPythonTask, SubmitTask

from churn_assets_tests.workspace.emulator import Workspace

CLUSTER = ClusterSpec(spark_version="17.3.x-scala2.13", node_type_id="i3.xlarge", num_workers=1)


def test_a_submitted_file_runs_with_its_arguments(workspace: Workspace) -> None:
    import io

    client = workspace.client()
    client.files.upload(
        "/Volumes/main/gold/churn/main.py", io.BytesIO(b"import sys; print('hello', sys.argv[1:])")
    )
    run = client.jobs.submit(
        run_name="r",
        tasks=[
            SubmitTask(
                task_key="one",
                new_cluster=CLUSTER,
                spark_python_task=SparkPythonTask(
                    "/Volumes/main/gold/churn/main.py", parameters=["a", "/Volumes/main/gold/churn/x"]
                ),
            )
        ],
    ).result()
    assert run.state and run.state.result_state == RunResultState.SUCCESS
    out = client.jobs.get_run_output(run.tasks[0].run_id)
    print(out.logs, workspace.requests)
    assert "hello" in out.logs
