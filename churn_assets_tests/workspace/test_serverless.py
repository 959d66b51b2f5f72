"""Serverless tasks: what their requests may say, what they find, and what their session refuses."""

import hashlib
import io
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.errors import InvalidParameterValue
from databricks.sdk.service.jobs import RunResultState

from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import link_packages
from churn_assets_tests.workspace.tasks import VOLUME, finished, logs, python_task, submit_serverless
from churn_assets_tests.workspace.wheels import make_wheel

ENVIRONMENT = {"environment_key": "ours", "spec": {"environment_version": "4"}}
TASK = {
    "task_key": "main",
    "environment_key": "ours",
    "spark_python_task": {"python_file": "/Workspace/Shared/tests/main.py"},
}
WHEEL = make_wheel("ours", "1.0", {"ours.py": "number = 7"}, {})
# One that pip can have from its index, and the hash of its wheel.
SIX = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274"


def request(**changes: Any) -> dict[str, Any]:
    return {"tasks": [TASK], "environments": [ENVIRONMENT], **changes}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        request(tasks=[{"task_key": "main", "spark_python_task": TASK["spark_python_task"]}]),
        "An environment is required for serverless task main",
    ),
    (
        request(environments=[]),
        "Job environment 'ours' used by task main is not defined in field 'environments'",
    ),
    (
        request(tasks=[TASK | {"libraries": [{"pypi": {"package": "six"}}]}]),
        "Libraries field is not supported for serverless task",
    ),
    (request(tasks=[TASK | {"existing_cluster_id": "1"}]), "it must be one of"),
    (request(environments=[ENVIRONMENT, ENVIRONMENT]), "Environment keys must be unique"),
    (request(environments=[{"environment_key": "ours"}]), "has the environment_version None"),
    (request(environments=[ENVIRONMENT | {"spec": {"client": "4"}}]), "Use environment_version instead"),
    (
        request(environments=[ENVIRONMENT | {"spec": {"environment_version": "1"}}]),
        "Invalid platform channel Client-1",
    ),
    (
        request(environments=[ENVIRONMENT | {"spec": {"environment_version": "5"}}]),
        "has version 5 .* not emulated",
    ),
    (request(environments=[ENVIRONMENT | {"spec": {"environment_version": 4}}]), "expected a str"),
    (
        request(environments=[ENVIRONMENT | {"spec": {"environment_version": "4", "env_vars": {}}}]),
        "Unknown field 'env_vars'",
    ),
    (request(tasks=[TASK | {"spark_env_vars": {"A": "b"}}]), "Unknown field 'spark_env_vars'"),
    (request(environments=[{"spec": {}}]), "Missing required field: environment_key"),
    (request(run_as={}), "run_as names one of user_name and service_principal_name"),
    (request(run_as={"user_name": "nobody@example.com"}), "nobody@example.com to run as does not exist"),
]


@pytest.mark.parametrize("path", ["/api/2.2/jobs/create", "/api/2.2/jobs/reset", "/api/2.2/jobs/runs/submit"])
def test_a_request_that_the_service_refuses_is_refused(workspace: Workspace, path: str) -> None:
    client = workspace.client()
    python_task(workspace, "main", "print(1)")
    job: Any = client.api_client.do("POST", "/api/2.2/jobs/create", body=request())

    for settings, message in REFUSED:
        body = {"job_id": job["job_id"], "new_settings": settings} if path.endswith("reset") else settings
        with pytest.raises(InvalidParameterValue, match=message):
            client.api_client.do("POST", path, body=body)

    workspace.violations.clear()


def test_a_task_is_whom_the_job_runs_as_and_finds_no_variable_of_ours(workspace: Workspace) -> None:
    client = workspace.client()
    code = """
        import dbruntime, json, os, urllib.request
        host, headers = dbruntime.init_runtime_native_auth()
        me = urllib.request.Request(host + "/api/2.0/preview/scim/v2/Me", headers=headers())
        print(json.dumps({"me": json.load(urllib.request.urlopen(me))["userName"], "env": dict(os.environ)}))
    """
    python_task(workspace, "main", textwrap.dedent(code))
    principal = workspace.auth.client_id
    body = request(name="churn", run_as={"service_principal_name": principal})
    made: Any = client.api_client.do("POST", "/api/2.2/jobs/create", body=body)

    run = finished(workspace, client.jobs.run_now(made["job_id"]).response.run_id)

    seen = json.loads(logs(workspace, run))
    assert seen["me"] == principal
    assert client.jobs.get(made["job_id"]).run_as_user_name == principal
    assert seen["env"].keys() == {
        "DATABRICKS_ENV_VERSION",
        "DATABRICKS_RUNTIME_VERSION",
        "HOME",
        "IS_SERVERLESS",
        "LANG",
        "PATH",
    }
    assert seen["env"]["DATABRICKS_RUNTIME_VERSION"].startswith("client.4.")
    (task,) = run.tasks or []
    assert task.cluster_instance is None
    assert workspace.clusters.alive() == []


def test_dependencies_are_there_and_those_of_another_run_are_not(
    workspace: Workspace, remote_python: Path
) -> None:
    workspace.surroundings.python = remote_python
    wheel = staged(workspace, WHEEL.name, WHEEL.content)
    digest = hashlib.sha256(WHEEL.content).hexdigest()
    file = staged(workspace, "requirements.txt", f"# ours\n{wheel} --hash=sha256:{digest}\n{SIX}\n".encode())
    code = "import ours, six; print(ours.number, six.__version__)"

    with_them = finished(workspace, submit_serverless(workspace, code, dependencies=(f"-r {file}",)))
    without = finished(workspace, submit_serverless(workspace, code))

    assert logs(workspace, with_them).split() == ["7", "1.17.0"]
    assert "No module named 'ours'" in logs(workspace, without)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{wheel}", SIX], "Hashes are required in --require-hashes mode"),
        (["{wheel} --hash=sha256:" + "0" * 64], "DO NOT MATCH THE HASHES"),
        (["-r /Volumes/main_catalog/gold/churn/nowhere.txt"], "No such file or directory"),
        (["-r ./requirements.txt"], "Could not open requirements file"),
        (["pyspark==4.0.1"], "stops the session"),
        # The service would take it; here it would be another from day to day.
        (["six>=1"], "'six>=1' is not pinned"),
    ],
)
def test_dependencies_that_pip_does_not_take_fail_the_task(
    workspace: Workspace, lines: list[str], message: str
) -> None:
    wheel = staged(workspace, WHEEL.name, WHEEL.content)
    dependencies = tuple(line.format(wheel=wheel) for line in lines)

    run = finished(workspace, submit_serverless(workspace, "print(1)", dependencies=dependencies))

    (task,) = run.tasks or []
    assert task.state
    assert task.state.result_state == RunResultState.FAILED
    assert message in (task.state.state_message or "")


SESSION = """
    import json
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    frame = spark.range(2)
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    tries = {
        "conf.set": lambda: spark.conf.set("spark.sql.parquet.compression.codec", "gzip"),
        "conf.get": lambda: spark.conf.get("spark.databricks.clusterUsageTags.clusterId", "none"),
        "SET": lambda: spark.sql("SET spark.speculation = true"),
        "cache": frame.cache,
        "persist": frame.persist,
        "catalog": lambda: spark.catalog.cacheTable("t"),
        "CACHE": lambda: spark.sql("CACHE TABLE t"),
        "REFRESH": lambda: spark.sql("refresh table t"),
        "global": lambda: frame.createOrReplaceGlobalTempView("v"),
        "sparkContext": lambda: spark.sparkContext,
        "rdd": lambda: frame.rdd,
        "foreachBatch": lambda: spark.readStream.format("cloudFiles")
        .option("cloudFiles.format", "binaryFile").load("/Volumes/main_catalog/gold/churn")
        .writeStream.foreachBatch(print),
    }
    refused = {}
    for name, attempt in tries.items():
        try:
            attempt()
        except Exception as error:
            refused[name] = str(error)
    frame.createOrReplaceTempView("v")
    print(json.dumps({"rows": spark.sql("SELECT * FROM v").count(), "refused": refused}))
"""


def test_what_serverless_compute_does_not_have_is_refused_by_its_session(with_spark: Workspace) -> None:
    for statement in (
        "CREATE CATALOG main_catalog MANAGED LOCATION 's3://bucket/main'",
        "CREATE SCHEMA main_catalog.gold",
        "CREATE VOLUME main_catalog.gold.churn",
    ):
        assert "error" not in with_spark.engine.execute(statement)

    run = finished(with_spark, submit_serverless(with_spark, textwrap.dedent(SESSION)))

    seen = json.loads(logs(with_spark, run).splitlines()[-1])
    assert seen["rows"] == 2
    assert {name: text.partition("]")[0].strip("[") for name, text in seen["refused"].items()} == {
        **dict.fromkeys(("conf.set", "conf.get", "SET"), "CONFIG_NOT_AVAILABLE"),
        **dict.fromkeys(
            ("cache", "persist", "catalog", "CACHE", "REFRESH", "global"), "NOT_SUPPORTED_WITH_SERVERLESS"
        ),
        "sparkContext": "JVM_ATTRIBUTE_NOT_SUPPORTED",
        "rdd": "NOT_IMPLEMENTED",
        "foreachBatch": "NOT_EMULATED",
    }


def test_a_job_is_told_in_another_order_and_with_defaults(workspace: Workspace) -> None:
    client = workspace.client()
    first, last = TASK | {"task_key": "z"}, TASK | {"task_key": "a", "depends_on": [{"task_key": "z"}]}
    body = request(tasks=[first, last], run_as={"user_name": "engineer@example.com"})
    made: Any = client.api_client.do("POST", "/api/2.2/jobs/create", body=body)

    told: Any = client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": made["job_id"]})

    assert [task["task_key"] for task in told["settings"]["tasks"]] == ["a", "z"]
    assert {task["run_if"] for task in told["settings"]["tasks"]} == {"ALL_SUCCESS"}
    assert "run_as" not in told["settings"]


@pytest.fixture
def with_spark(tmp_path: Path) -> Iterator[Workspace]:
    python = link_packages(tmp_path / "python")
    with Workspace(tmp_path / "workspace", python=python, with_spark=True) as started:
        yield started
    assert started.violations == []


def staged(workspace: Workspace, name: str, content: bytes) -> str:
    workspace.client().files.upload(f"{VOLUME}/{name}", io.BytesIO(content), overwrite=True)
    return f"{VOLUME}/{name}"
