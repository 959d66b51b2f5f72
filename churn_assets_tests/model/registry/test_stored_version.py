"""What the registry's file says of the Production version is what MLflow says, or nothing."""

import datetime as dt
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from churn_assets.model.registry import registry
from churn_assets.model.registry.stored_version import (
    ProductionVersion,
    UnknownRevisionError,
    stored_version,
)
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import OpenMlflow

NAME, ALIAS = registry.MODEL_NAME, registry.PRODUCTION_ALIAS


def database(settings: Settings) -> Path:
    path = registry.database(settings)
    assert isinstance(path, Path)
    return path


def two_versions(settings: Settings, open_mlflow: OpenMlflow) -> None:
    """Registered by a run with metrics and a tag; the first is Production."""
    with open_mlflow(settings) as mlflow:
        mlflow.log_metrics({"roc_auc": 0.5, "pr_auc": math.nan})
        mlflow.log_metric("roc_auc", 0.75, step=1)
        mlflow.set_tag("horizon_days", "30")
        run = mlflow.active_run().info
        client = mlflow.MlflowClient()
        client.create_registered_model(NAME)
        for _ in range(2):
            client.create_model_version(NAME, f"{run.artifact_uri}/model", run.run_id)
        mlflow.end_run()
    registry.promote(settings, "1")


def test_a_registry_without_the_alias_has_no_version(settings: Settings) -> None:
    assert stored_version(database(settings), NAME, ALIAS) is None
    assert registry.production_number(settings) is None
    assert registry.production(settings) is None


def test_the_stored_version_is_the_one_that_mlflow_knows(settings: Settings, open_mlflow: OpenMlflow) -> None:
    two_versions(settings, open_mlflow)

    found = stored_version(database(settings), NAME, ALIAS)

    by_mlflow = registry.production_version(settings)
    assert found
    assert by_mlflow
    assert (found.version, found.run_id) == ("1", by_mlflow.run_id)
    assert found.created_at == dt.datetime.fromtimestamp(by_mlflow.creation_timestamp / 1000, dt.UTC)
    assert found.metrics["roc_auc"] == 0.75
    assert math.isnan(found.metrics["pr_auc"])
    assert found.tags["horizon_days"] == "30"


def test_of_another_release_of_mlflow_mlflow_is_asked_and_says_the_same(
    settings: Settings, open_mlflow: OpenMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_versions(settings, open_mlflow)
    stored = registry.production(settings)

    def refuse(*_: object) -> ProductionVersion:
        raise UnknownRevisionError

    monkeypatch.setattr(registry, "stored_version", refuse)
    asked = registry.production(settings)

    assert stored
    assert asked
    assert asked._replace(metrics={}) == stored._replace(metrics={})
    assert repr(sorted(asked.metrics.items())) == repr(sorted(stored.metrics.items()))
    assert registry.production_number(settings) == "1"


def test_a_file_of_another_revision_is_not_read(settings: Settings) -> None:
    with closing(sqlite3.connect(database(settings))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'later'")

    with pytest.raises(UnknownRevisionError, match="later"):
        stored_version(database(settings), NAME, ALIAS)
