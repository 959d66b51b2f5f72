"""MLflow's own client, with the URIs ``databricks`` and ``databricks-uc``, against the workspace."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.sklearn import log_model
from mlflow.utils.mlflow_tags import MLFLOW_DATABRICKS_JOB_ID
from sklearn.linear_model import LinearRegression

from churn_assets.model.logged import lineage
from churn_assets.model.registry import registry
from churn_assets.tables import CHURN_LABELS, USER_FEATURES
from churn_assets_tests.conftest import settings_in
from churn_assets_tests.workspace.emulator import Workspace

MODEL = "main_catalog.gold.churn-prediction-model"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as started:
        yield started
    assert started.violations == []


@pytest.fixture
def databricks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks-uc")
    mlflow.set_experiment("/Shared/churn")
    yield workspace
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def log_doubling_model() -> Any:
    rows, twice = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    # Named requirements save MLflow the start of a process that finds them out.
    return log_model(
        LinearRegression().fit(rows, twice),
        name="model",
        signature=infer_signature(rows, twice),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )


def test_a_model_is_logged_registered_found_by_its_alias_and_loaded(databricks: Workspace) -> None:
    with mlflow.start_run() as run:
        mlflow.log_metric("auc", 0.9)
        logged = log_doubling_model()
    client = mlflow.MlflowClient()
    assert client.get_run(run.info.run_id).data.metrics == {"auc": 0.9}
    client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, logged.model_uri, run.info.run_id, model_id=logged.model_id)
    with pytest.raises(MlflowException, match="does not exist"):
        client.get_model_version_by_alias(MODEL, "Production")
    client.set_registered_model_alias(MODEL, "Production", version.version)
    version = client.get_model_version_by_alias(MODEL, "Production")
    assert (version.version, version.run_id, version.status) == ("1", run.info.run_id, "READY")
    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@Production")
    assert loaded.predict(np.array([[5.0]])).tolist() == pytest.approx([10.0])
    assert (databricks.folder / "Models/main_catalog/gold/churn-prediction-model/1/MLmodel").exists()


@pytest.mark.parametrize("source", ["job", "laptop"])
def test_the_tables_that_a_job_trained_on_are_sent_with_its_version(
    databricks: Workspace, tmp_path: Path, source: str
) -> None:
    settings = settings_in(
        tmp_path,
        deployment="databricks",
        mlflow_tracking_uri="databricks",
        databricks_host=databricks.url,
        databricks_token=databricks.token,
        # Contracts say main_catalog; here that is another's name.
        main_catalog="raw_catalog",
    )
    for sql in (
        "CREATE CATALOG IF NOT EXISTS raw_catalog MANAGED LOCATION 's3://bucket/raw'",
        "CREATE SCHEMA IF NOT EXISTS raw_catalog.gold",
        "CREATE TABLE IF NOT EXISTS raw_catalog.gold.user_features (user_id BIGINT)",
    ):
        assert "error" not in databricks.engine.execute(sql)
    # MLflow sets it on a cluster, by the context of the job's task, which this process has not.
    tags = {MLFLOW_DATABRICKS_JOB_ID: "7"} if source == "job" else {}
    with mlflow.start_run(tags=tags) as run:
        # Labels are in no table there: they are left out, and nothing fails.
        lineage.log_tables_read(mlflow, settings, {str(USER_FEATURES): 0, str(CHURN_LABELS): 3})
        logged = log_doubling_model()

    version = registry.register(settings, logged.model_uri, run.info.run_id)

    sent = databricks.models.tables_of[version.name, version.version]
    assert sent == (["raw_catalog.gold.user_features"] if source == "job" else [])
    read = mlflow.MlflowClient().get_run(run.info.run_id)
    assert read.data.tags["delta_version.main_catalog.gold.user_features"] == "0"
    assert read.inputs
    assert len(read.inputs.dataset_inputs) == 2
