"""The resources of a ``databricks`` deployment, on the orchestrator and on the cluster."""

import subprocess
import sys
from typing import Any

import dagster as dg
import pytest

from churn_assets import settings as settings_module
from churn_assets.databricks.session import ClusterSpark, NoSpark
from churn_assets.errors import SettingsError, WorkspaceError
from churn_assets.graph import build_defs
from churn_assets.lakehouse.unity_lake import UnityLakehouse
from churn_assets.resources import resources
from churn_assets_tests.databricks.tiny import REPOSITORY


def databricks_settings(**overrides: Any) -> Any:
    return settings_module.load(_env_file=None, deployment="databricks", **overrides)


def test_the_definitions_load_without_any_credentials() -> None:
    program = "from churn_assets.definitions import defs; print(len(list(defs.resolve_all_asset_specs())))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"CHURN_DEPLOYMENT": "databricks", "HOME": "/nonexistent"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 9


def test_running_without_credentials_says_in_one_line_what_is_missing(instance: dg.DagsterInstance) -> None:
    settings = databricks_settings(databricks_host=None, databricks_token=None)
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    with pytest.raises(SettingsError) as error:
        job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["main_catalog", "clean", "users"])]
        )
    assert str(error.value) == (
        "CHURN_DEPLOYMENT=databricks needs DATABRICKS_HOST and DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and "
        "DATABRICKS_CLIENT_SECRET, or DATABRICKS_CONFIG_PROFILE, or what else Databricks' SDK finds (OIDC of "
        "a CI, Azure CLI or managed identity). Set it in the environment or in .env."
    )


def test_every_asset_that_is_computed_on_spark_requires_the_launcher() -> None:
    graph = build_defs(databricks_settings())
    without = [
        asset.key
        for asset in graph.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        and "pyspark" in asset.required_resource_keys
        and "pyspark_step_launcher" not in asset.required_resource_keys
    ]
    assert without == []
    assert [
        check for check in graph.asset_checks or [] if "pyspark_step_launcher" in check.required_resource_keys
    ]


def test_the_orchestrator_has_no_spark_and_says_so() -> None:
    spark = resources(databricks_settings())["pyspark"]
    assert isinstance(spark, NoSpark)
    with pytest.raises(WorkspaceError, match="Spark runs on the cluster"):
        _ = spark.spark_session


def test_the_cluster_has_its_own_session_and_launches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    built = resources(databricks_settings())
    assert isinstance(built["pyspark"], ClusterSpark)
    assert isinstance(built["lakehouse"], UnityLakehouse)
    with dg.build_resources({"launcher": built["pyspark_step_launcher"]}) as made:
        assert made.launcher is None


def test_a_laptop_launches_nothing() -> None:
    built = resources(settings_module.load(_env_file=None, deployment="local"))
    with dg.build_resources({"launcher": built["pyspark_step_launcher"]}) as made:
        assert made.launcher is None


def test_mlflow_is_opened_on_the_cluster_alone() -> None:
    # Dagster makes a step's resources on both sides, and this one opens a run.
    with dg.build_resources({"mlflow": resources(databricks_settings())["mlflow"]}) as made:
        assert made.mlflow is None
