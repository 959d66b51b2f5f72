"""The exported bundle is the job that ``churn workflow create`` makes, and nothing else."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.service.jobs import JobSettings

from churn_assets import settings as settings_module
from churn_assets.databricks.compute.libraries import cluster_requirements, pins
from churn_assets.databricks.workflow import bundle
from churn_assets.databricks.workflow.spec import job_specification
from churn_assets.databricks.workflow.wheel import cluster_wheel
from churn_assets.errors import SettingsError
from churn_assets.settings import Settings
from churn_assets_tests.workspace import job_settings, shapes
from churn_assets_tests.workspace.answers import Violation
from churn_assets_tests.workspace.environment import logical_lines

HOST = "https://example.cloud.databricks.com"
SECRETS = frozenset({"endpoint-token"})


PRINCIPAL = "7f3c1d0a-5b1e-4f3d-9a35-0c7c3a1f2b11"
# Everything that a production job can say, for either compute.
ALL = {
    "alert_emails": "oncall@example.com",
    "databricks_secret_scope": "churn",
    "databricks_run_as": PRINCIPAL,
    "databricks_engineers": "engineers",
    "databricks_owner": "owners",
    "databricks_tags": {"team": "growth"},
}
OF = {
    "serverless": {"databricks_budget_policy_id": "budget-1"},
    "cluster": {
        "databricks_access_mode": "standard",
        "databricks_max_workers": 8,
        "databricks_policy_id": "policy-1",
        "databricks_spot": True,
    },
}
INSTALLS: dict[str, Any] = {"serverless": bundle.DEPENDENCIES, "cluster": bundle.LIBRARIES}


@pytest.fixture(params=["serverless", "cluster"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return settings_module.load(
        _env_file=None,
        deployment="databricks",
        databricks_host=HOST,
        landing_root="s3://landing/events",
        databricks_job_compute=request.param,
        **ALL,
        **OF[request.param],
    )


@pytest.fixture
def exported(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    return yaml.safe_load(bundle.export(settings, tmp_path, SECRETS).read_text())


def job_of(exported: dict[str, Any], target: str) -> dict[str, Any]:
    """The job as the target deploys it: its variables in place of the references, and whom it runs as."""
    values = {name: variable["default"] for name, variable in exported["variables"].items()}
    values |= exported["targets"][target].get("variables", {})
    replaced = {f"${{var.{name}}}": value for name, value in values.items()} | {"${workspace.host}": HOST}

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolved(variable) for key, variable in value.items()}
        if isinstance(value, list):
            return [resolved(variable) for variable in value]
        for reference, text in replaced.items():
            value = value.replace(reference, text) if isinstance(value, str) else value
        return value

    job = resolved(exported["resources"]["jobs"]["churn_prediction_pipeline"])
    identity = exported["targets"][target].get("run_as")
    return {**job, "run_as": identity} if identity else job


def told(job: dict[str, Any]) -> dict[str, str]:
    """The settings that its first task gets."""
    if "job_clusters" in job:
        return job["job_clusters"][0]["new_cluster"]["spark_env_vars"]
    pairs = job["tasks"][0]["python_wheel_task"]["parameters"][1:]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def test_in_prod_it_is_the_job_that_is_created(exported: dict[str, Any], settings: Settings) -> None:
    installs = INSTALLS[settings.databricks_job_compute]

    assert job_of(exported, "prod") == job_specification(settings, installs, SECRETS)


def test_in_dev_it_writes_to_no_catalog_of_production(exported: dict[str, Any]) -> None:
    environment = told(job_of(exported, "dev"))

    assert environment["CHURN_MAIN_CATALOG"] == "dev_main_catalog"
    assert environment["CHURN_RAW_CATALOG"] == "dev_raw_catalog"
    assert environment["CHURN_DATABRICKS_VOLUME"] == "/Volumes/dev_main_catalog/gold/churn"
    assert environment["CHURN_LANDING_ROOT"] == "s3://landing/events"
    assert "/Volumes/main_catalog" not in str(job_of(exported, "dev"))


def test_in_dev_the_endpoint_of_the_workspace_is_left_alone(exported: dict[str, Any]) -> None:
    last = {target: job_of(exported, target)["tasks"][-1] for target in ("dev", "prod")}

    assert [task["task_key"] for task in last.values()] == ["deploy", "deploy"]
    assert last["dev"]["python_wheel_task"]["parameters"][0] == "keep"
    assert last["prod"]["python_wheel_task"]["parameters"][0] == "deploy"


def test_in_prod_alone_it_runs_as_somebody_else_and_others_may_run_it(exported: dict[str, Any]) -> None:
    dev, prod = (exported["targets"][target] for target in ("dev", "prod"))

    assert prod["run_as"] == {"service_principal_name": PRINCIPAL}
    assert prod["resources"]["jobs"]["churn_prediction_pipeline"] == {
        "permissions": [
            {"group_name": "engineers", "level": "CAN_MANAGE_RUN"},
            {"group_name": "owners", "level": "CAN_MANAGE"},
        ]
    }
    assert not {"run_as", "resources"} & set(dev)


@pytest.mark.parametrize("settings", ["cluster"], indirect=True)
def test_spot_machines_are_those_of_the_hosts_cloud(settings: Settings) -> None:
    host = "https://adb-1.2.azuredatabricks.net"
    on_azure = settings.model_copy(update={"databricks_host": host})

    (cluster,) = bundle.bundle(on_azure)["resources"]["jobs"]["churn_prediction_pipeline"]["job_clusters"]

    assert {name for name in cluster["new_cluster"] if name.endswith("_attributes")} == {"azure_attributes"}


def test_each_field_of_the_bundle_is_one_that_bundles_have(exported: dict[str, Any]) -> None:
    check_bundle(exported)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda exported: exported.update(job={}),
        lambda exported: exported["targets"]["prod"].update(owner="me"),
        lambda exported: exported["targets"]["prod"]["resources"]["jobs"].update(other={"level": "CAN_RUN"}),
        lambda exported: exported["variables"]["main_catalog"].update(value="x"),
        lambda exported: exported["resources"]["jobs"]["churn_prediction_pipeline"].update(cluster={}),
    ],
)
def test_a_field_that_bundles_do_not_have_would_be_seen(
    exported: dict[str, Any], spoil: Callable[[Any], None]
) -> None:
    spoil(exported)

    with pytest.raises((AssertionError, Violation)):
        check_bundle(exported)


# docs.databricks.com/aws/en/dev-tools/bundles/reference: what may stand in each mapping that we write.
TOP = {"bundle", "variables", "sync", "artifacts", "resources", "targets"}
FIELDS = {
    "bundle": {"name", "cluster_id", "compute_id", "databricks_cli_version", "deployment", "git", "uuid"},
    "sync": {"include", "exclude", "paths"},
    "artifacts": {"type", "path", "build", "files", "executable", "dynamic_version"},
    "variables": {"description", "default", "type", "lookup"},
    "targets": {"artifacts", "bundle", "default", "mode", "permissions", "presets", "resources", "run_as"}
    | {"sync", "variables", "workspace", "git", "cluster_id", "compute_id"},
}


def check_bundle(exported: dict[str, Any]) -> None:
    """Fail on a field that bundles do not have; those of jobs are the SDK's, and ``permissions``."""
    assert set(exported) <= TOP
    for name in ("bundle", "sync"):
        assert set(exported[name]) <= FIELDS[name]
    for name in ("artifacts", "variables", "targets"):
        for entry in exported[name].values():
            assert set(entry) <= FIELDS[name]
    resources = [
        exported["resources"],
        *(target.get("resources", {}) for target in exported["targets"].values()),
    ]
    for jobs in resources:
        assert set(jobs) <= {"jobs"}
        for job in jobs.get("jobs", {}).values():
            for entry in job.get("permissions", []):
                assert set(entry) <= {"user_name", "group_name", "service_principal_name", "level"}
            own = {field: value for field, value in job.items() if field != "permissions"}
            shapes.check(own, JobSettings, "the job")


def test_the_service_takes_the_job_of_both_targets(exported: dict[str, Any]) -> None:
    for target in ("dev", "prod"):
        job = job_of(exported, target)

        shapes.check(job, JobSettings, "the job")
        job_settings.check(job, job_settings.JOB_FIELDS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda job: job.update(retries=1), "Unknown field 'retries'"),
        (lambda job: job["tasks"][0].pop("task_key"), "Missing required field: task_key"),
        (lambda job: job["tasks"][0].update(env={}), "Unknown field 'env'"),
    ],
)
def test_a_field_too_much_or_too_few_would_be_seen(
    exported: dict[str, Any], spoil: Callable[[Any], None], message: str
) -> None:
    job = job_of(exported, "prod")
    spoil(job)

    with pytest.raises(Violation, match=message):
        shapes.check(job, JobSettings, "the job")


def test_score_follows_the_training_or_the_edge_that_says_there_is_none(exported: dict[str, Any]) -> None:
    tasks = {task["task_key"]: task for task in job_of(exported, "prod")["tasks"]}

    assert tasks["train"]["depends_on"] == [{"task_key": "enough_rows", "outcome": "true"}]
    assert tasks["score"]["depends_on"] == [
        {"task_key": "enough_rows", "outcome": "false"},
        {"task_key": "train"},
    ]
    assert tasks["score"]["run_if"] == "NONE_FAILED"


@pytest.mark.parametrize("settings", ["cluster"], indirect=True)
def test_on_a_cluster_each_task_brings_the_wheel_and_the_file_of_what_it_requires(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    libraries = [task["libraries"] for task in job_of(exported, "prod")["tasks"] if "libraries" in task]

    assert libraries == [[{"whl": "./dist/*.whl"}, {"requirements": "./dist/requirements.txt"}]] * 5
    assert (tmp_path / "dist" / "requirements.txt").read_bytes() == cluster_requirements().content
    assert exported["sync"]["include"] == ["dist/requirements.txt"]


@pytest.mark.parametrize("settings", ["serverless"], indirect=True)
def test_serverless_the_environment_brings_the_wheel_and_every_version_of_the_lock(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    (environment,) = job_of(exported, "prod")["environments"]
    pins = (tmp_path / "dist" / "pins.txt").read_text().splitlines()
    locked = logical_lines(cluster_requirements().content.decode())

    assert environment["spec"]["dependencies"] == ["./dist/*.whl", "-r ./dist/pins.txt"]
    assert exported["sync"]["include"] == ["dist/pins.txt"]
    assert pins == [line.partition(" --hash")[0] for line in locked]
    assert "CHURN_DATABRICKS_NODE_TYPE" not in told(job_of(exported, "prod"))


def test_no_secret_and_no_path_of_this_machine_is_in_it(tmp_path: Path) -> None:
    settings = settings_module.load(
        _env_file=None,
        deployment="databricks",
        databricks_host=HOST,
        databricks_token="dapi-secret",
        landing_root="s3://landing/events",
        lake_root=tmp_path / "lake",
        dagster_home=tmp_path / "dagster",
    )

    text = bundle.export(settings, tmp_path / "bundle").read_text()

    assert "dapi-secret" not in text
    assert str(tmp_path) not in text


def test_a_local_deployment_has_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CHURN_DEPLOYMENT=local has no Databricks job"):
        bundle.export(settings_module.load(_env_file=None, deployment="local"), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_the_build_of_the_bundle_writes_what_the_job_installs(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    for built_before in (tmp_path / "dist").iterdir():
        built_before.unlink()
    python, *build = exported["artifacts"]["churn_assets"]["build"].split()
    assert python == "python"

    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True, timeout=60)

    (wheel,) = tmp_path.glob(bundle.WHEEL)
    assert wheel.read_bytes() == cluster_wheel().content == cluster_wheel().content
    assert (wheel.parent / "requirements.txt").read_bytes() == cluster_requirements().content
    assert (wheel.parent / "pins.txt").read_bytes() == pins()


def test_the_wheel_requires_nothing_and_records_what_it_holds(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    (wheel,) = tmp_path.glob(bundle.WHEEL)

    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert "Requires-Dist" not in archive.read(f"{info}/METADATA").decode()
        assert (
            "churn-task = churn_assets.commands.task:main"
            in archive.read(f"{info}/entry_points.txt").decode()
        )
        recorded = dict(
            line.split(",", 1) for line in archive.read(f"{info}/RECORD").decode().splitlines() if line
        )
        assert set(recorded) == set(archive.namelist())
        content = archive.read("churn_assets/settings.py")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert recorded["churn_assets/settings.py"] == f"sha256={digest},{len(content)}"
