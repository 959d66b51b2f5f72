"""Which of MLflow's runs are ended, and which go."""

import datetime as dt

import pytest

from churn_assets.model.registry import registry, run_retention
from churn_assets.settings import Settings

LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


@pytest.fixture
def client(settings: Settings):
    from mlflow import MlflowClient

    registry.configure(settings)
    return MlflowClient()


@pytest.fixture
def begin(client):
    experiment = client.get_experiment_by_name("churn").experiment_id

    def run(**tags: str) -> str:
        return client.create_run(
            experiment, tags={name.replace("__", "."): value for name, value in tags.items()}
        ).info.run_id

    return run


def test_runs_of_a_dagster_run_that_is_over_are_ended_and_the_candidates_below_them(
    settings: Settings, client, begin
) -> None:
    dead, alive, by_hand = begin(dagster_run_id="over"), begin(dagster_run_id="at work"), begin()
    candidate = begin(mlflow__parentRunId=dead)

    counted = run_retention.end_dead_runs(settings, lambda run_id: run_id == "over", dry_run=True)
    assert (counted, client.get_run(dead).info.status) == (2, "RUNNING")

    assert run_retention.end_dead_runs(settings, lambda run_id: run_id == "over") == 2
    states = {run: client.get_run(run).info.status for run in (dead, candidate, alive, by_hand)}
    assert states == {dead: "KILLED", candidate: "KILLED", alive: "RUNNING", by_hand: "RUNNING"}


def test_old_runs_without_a_registered_version_go_and_candidates_of_others_stay(
    settings: Settings, client, begin
) -> None:
    skipped, registered, at_work = begin(), begin(), begin()
    candidate = begin(mlflow__parentRunId=registered)
    for run in (skipped, registered, candidate):
        client.set_terminated(run)
    client.create_registered_model(registry.MODEL_NAME)
    client.create_model_version(registry.MODEL_NAME, f"runs:/{registered}/model", registered)

    assert run_retention.delete_old_runs(settings, LATER - dt.timedelta(days=2)) == 0
    assert run_retention.delete_old_runs(settings, LATER) == 1
    stages = [client.get_run(run).info.lifecycle_stage for run in (skipped, registered, candidate, at_work)]
    assert stages == ["deleted", "active", "active", "active"]
