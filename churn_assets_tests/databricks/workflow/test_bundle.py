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
from churn_assets.databricks.compute.libraries import cluster_requirements
from churn_assets.databricks.workflow import bundle
from churn_assets.databricks.workflow.spec import job_specification
from churn_assets.databricks.workflow.wheel import cluster_wheel
from churn_assets.errors import SettingsError
from churn_assets.settings import Settings
from churn_assets_tests.workspace import job_settings, shapes
from churn_assets_tests.workspace.answers import Violation

HOST = "https://example.cloud.databricks.com"
SECRETS = frozenset({"endpoint-token"})


@pytest.fixture
def settings() -> Settings:
    return settings_module.load(
        _env_file=None,
        deployment="databricks",
        databricks_host=HOST,
        landing_root="s3://landing/events",
        databricks_secret_scope="churn",
        alert_emails="oncall@example.com",
    )


@pytest.fixture
def exported(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    return yaml.safe_load(bundle.export(settings, tmp_path, SECRETS).read_text())


def job_of(exported: dict[str, Any], target: str) -> dict[str, Any]:
    """The job as the target deploys it: its variables in place of the references."""
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

    return resolved(exported["resources"]["jobs"]["churn_prediction_pipeline"])


def test_in_prod_it_is_the_job_that_is_created(exported: dict[str, Any], settings: Settings) -> None:
    assert job_of(exported, "prod") == job_specification(settings, bundle.LIBRARIES, SECRETS)


def test_in_dev_it_writes_to_no_catalog_of_production(exported: dict[str, Any]) -> None:
    environment = job_of(exported, "dev")["job_clusters"][0]["new_cluster"]["spark_env_vars"]

    assert environment["CHURN_MAIN_CATALOG"] == "dev_main_catalog"
    assert environment["CHURN_RAW_CATALOG"] == "dev_raw_catalog"
    assert environment["CHURN_DATABRICKS_VOLUME"] == "/Volumes/dev_main_catalog/gold/churn"
    assert environment["CHURN_LANDING_ROOT"] == "s3://landing/events"
    assert "/Volumes/main_catalog" not in str(job_of(exported, "dev"))


def test_in_dev_the_endpoint_of_the_workspace_is_left_alone(exported: dict[str, Any]) -> None:
    last = {target: job_of(exported, target)["tasks"][-1] for target in ("dev", "prod")}

    assert [task["task_key"] for task in last.values()] == ["deploy", "deploy"]
    assert last["dev"]["python_wheel_task"]["parameters"] == ["keep"]
    assert last["prod"]["python_wheel_task"]["parameters"] == ["deploy"]


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
        (lambda job: job["job_clusters"][0]["new_cluster"].update(nodes=1), "Unknown field 'nodes'"),
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


def test_each_task_brings_the_wheel_and_the_file_of_what_it_requires(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    libraries = [task["libraries"] for task in job_of(exported, "prod")["tasks"] if "libraries" in task]

    assert libraries == [[{"whl": "./dist/*.whl"}, {"requirements": "./dist/requirements.txt"}]] * 5
    assert (tmp_path / "dist" / "requirements.txt").read_bytes() == cluster_requirements().content
    assert exported["sync"]["include"] == ["dist/requirements.txt"]


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
