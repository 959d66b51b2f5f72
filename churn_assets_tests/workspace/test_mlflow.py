"""MLflow's own client, with the URIs ``databricks`` and ``databricks-uc``, against the workspace."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.sklearn import log_model
from sklearn.linear_model import LinearRegression

from churn_assets_tests.workspace.emulator import Workspace

MODEL = "main_catalog.gold.churn-prediction-model"


@pytest.fixture
def databricks(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri("databricks")
    mlflow.set_registry_uri("databricks-uc")
    yield workspace
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def test_a_model_is_logged_registered_found_by_its_alias_and_loaded(
    databricks: Workspace, tmp_path: Path
) -> None:
    mlflow.set_experiment("/Shared/churn")
    rows, twice = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
    model = LinearRegression().fit(rows, twice)
    with mlflow.start_run() as run:
        mlflow.log_metric("auc", 0.9)
        # Named requirements save MLflow the start of a process that finds them out.
        logged = log_model(
            model,
            name="model",
            signature=infer_signature(rows, twice),
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
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
