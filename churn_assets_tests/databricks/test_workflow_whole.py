"""Three nights of the job on a cluster: too few rows for a model, enough of them, and a training that fails.

On a dedicated cluster as it is, whose session is classic, and on one whose Spark is Connect, as that of a
standard cluster. Fifteen processes each that do what a laptop does in a minute: ``make test-all`` runs it.
Which tasks follow on how many rows is also databricks/workflow/test_daily_job.py's, with tasks of its own.
"""

import datetime as dt
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_assets.databricks.workflow import daily_job
from churn_assets.databricks.workflow.spec import ENOUGH_ROWS
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.model.candidates import estimators
from churn_assets.model.logged import packaging
from churn_assets.model.registry import registry
from churn_assets.resources import lakehouse
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_LABELS, CHURN_PREDICTIONS, WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame
from churn_assets_tests.workspace.deployment import LANDING, set_up
from churn_assets_tests.workspace.emulator import Workspace
from churn_assets_tests.workspace.environment import classic_spark
from churn_assets_tests.workspace.fixtures import remote_python
from churn_assets_tests.workspace.nights import finished, production, served, states

__all__ = ["remote_python"]

FIRST_DAY = dt.date(2026, 1, 1)
LAST_DAY = dt.date(2026, 1, 14)
HORIZON = 5
# Each has features on the nine dates whose horizon is complete by the 14th: 9,999 labelled rows.
USERS = 1_111


@pytest.mark.slow
def test_9999_rows_keep_the_old_model_one_more_trains_a_challenger_and_a_failed_training_scores_nothing(
    cluster_of_its_own: Workspace, settings: Settings, lake: Lakehouse
) -> None:
    workspace, client = cluster_of_its_own, cluster_of_its_own.client()
    land(workspace, "first", [(user, day) for user in range(USERS) for day in days_of(user)])
    daily_job.create(client, settings)

    first = finished(workspace, daily_job.run(client, settings))

    assert states(first)["train"] == "skipped_insufficient_data"
    assert sum(lake.partition_rows(CHURN_LABELS).values()) == 9_999
    assert lake.partition_rows(CHURN_PREDICTIONS) == {LAST_DAY: USERS}
    assert production(settings) == served(workspace) == "1"

    # A user who came once, on the last labelled date, is one more labelled row.
    land(workspace, "second", [(USERS, 9)])

    second = finished(workspace, daily_job.run(client, settings))

    assert set(states(second).values()) == {"SUCCESS"}
    assert sum(lake.partition_rows(CHURN_LABELS).values()) == 10_000
    assert lake.partition_rows(CHURN_PREDICTIONS) == {LAST_DAY: USERS + 1}
    # On the three training dates all users look alike, but BG/NBD's form tells who is silent for long.
    assert decision_on(settings, "2") == "promoted"
    assert production(settings) == served(workspace) == "2"

    # What every night writes its models to is gone, and another day has come.
    scored = lake.version(CHURN_PREDICTIONS)
    delete_the_experiment(settings)
    land(workspace, "third", [(0, 15)])

    third = daily_job.run(client, settings)

    assert {name: state for name, state in states(third).items() if name != ENOUGH_ROWS} == {
        "ingest": "SUCCESS",
        "featurize": "SUCCESS",
        "train": "FAILED",
        "score": "UPSTREAM_FAILED",
        "deploy": "UPSTREAM_FAILED",
    }
    assert "deleted" in third.reason
    assert lake.version(CHURN_PREDICTIONS) == scored
    assert production(settings) == served(workspace) == "2"


@pytest.fixture(params=["connect", "classic"])
def cluster_of_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, remote_python: Path
) -> Iterator[Workspace]:
    classic = classic_spark() if request.param == "classic" else None
    with Workspace(tmp_path / "workspace", python=remote_python, with_spark=True, classic=classic) as started:
        yield started
    assert started.violations == []


@pytest.fixture
def settings(cluster_of_its_own: Workspace, tmp_path: Path) -> Settings:
    """Catalogs, volumes and a Production model are there."""
    made = set_up(cluster_of_its_own, tmp_path, FIRST_DAY, HORIZON, databricks_job_compute="cluster")
    register_old_model(made)
    return made


@pytest.fixture
def lake(settings: Settings) -> Lakehouse:
    """As the orchestrator looks at it, through the SQL warehouse."""
    return lakehouse(settings)


def register_old_model(settings: Settings) -> None:
    """Version 1, Production."""
    with warnings.catch_warnings():
        # On import MLflow warns of its own type hints, which it hides from users, not from "error" filters.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow

        registry.configure(settings)
        mlflow.set_experiment(registry.experiment_name(settings))
        rows = labelled_frame(users=60, dates=15)
        features = rows.filter(items=WINDOW_FEATURES).astype("float64")
        fitted = estimators.make("logistic_regression").fit(features, rows["label"])
        with mlflow.start_run() as run:
            uri = packaging.log_churn_model(mlflow, fitted, features.iloc[:2])
        registry.promote(settings, str(registry.register(settings, uri, run.info.run_id).version))


def days_of(user: int) -> list[int]:
    """Everybody comes on the first day; every second user comes again, each on the same days."""
    return [1, 4, 8, 11, 14] if user % 2 == 0 else [1]


def land(workspace: Workspace, name: str, visits: list[tuple[int, int]]) -> None:
    lines = [
        json.dumps(
            {
                "event_id": f"{name}-{place}",
                "user_id": user,
                "event_ts": f"2026-01-{day:02d}T12:00:00Z",
                "event_type": "page_view",
                "country": "DE",
            }
        )
        for place, (user, day) in enumerate(visits)
    ]
    content = io.BytesIO("\n".join(lines).encode())
    workspace.client().files.upload(f"{LANDING}/{name}.json", content)


def delete_the_experiment(settings: Settings) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(settings.mlflow_tracking_uri, settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(registry.experiment_name(settings))
    assert experiment
    client.delete_experiment(experiment.experiment_id)


def decision_on(settings: Settings, version: str) -> str:
    from mlflow import MlflowClient

    uri = settings.mlflow_tracking_uri
    name = registry.registered_model_name(settings)
    return MlflowClient(uri, uri).get_model_version(name, version).tags["decision"]
