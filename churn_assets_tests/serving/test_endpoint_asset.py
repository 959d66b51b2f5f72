"""The two serving assets and the check, run by Dagster against real servers."""

import datetime as dt
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import (
    AGREES_WITH_BATCH,
    CHURN_PREDICTION_ENDPOINT,
    ONLINE_USER_FEATURES,
    endpoint_assets,
    endpoint_schedules,
)
from churn_assets.databricks.catalog.online_table import OnlineTable
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.errors import EndpointError, ModelError
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.model.registry import registry
from churn_assets.serving.endpoint import ENDPOINT_NAME, online_folder
from churn_assets.serving.features.online_store import OnlineStore
from churn_assets.serving.rollout.clients import BundledEndpoint, EndpointLocation, WorkspaceEndpoint
from churn_assets.settings import Settings
from churn_assets.tables import CHURN_PREDICTIONS, FEATURE_COLUMNS, USER_FEATURES
from churn_assets_tests.rows import NOON, D, day, frame
from churn_assets_tests.serving.conftest import WITH_HISTORY, mlflow_answers, server_of
from churn_assets_tests.workspace.emulator import Workspace

USERS = range(1, 31)
NOWHERE = "http://127.0.0.1:9"


def features_of(user: int) -> list[int]:
    return [60 - user, 30 - user % 30, user % 30, user % 4, user, user % 7]


@dataclass(frozen=True)
class House:
    """A lake whose last date is scored, and what runs the assets on it."""

    lake: FolderLakehouse
    instance: dg.DagsterInstance
    endpoint: EndpointLocation

    @property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions(
            assets=endpoint_assets(),
            schedules=endpoint_schedules(),
            resources={
                "pyspark": None,
                "pyspark_step_launcher": dg.ResourceDefinition.none_resource(),
                "lakehouse": self.lake,
                "endpoint": self.endpoint,
            },
            executor=dg.in_process_executor,
        )

    def materialize(self, *keys: dg.AssetKey) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=self.instance, asset_selection=list(keys))

    def check(self) -> dg.ExecuteInProcessResult:
        """What the schedule runs."""
        return self.definitions.resolve_job_def("endpoint_parity").execute_in_process(instance=self.instance)

    def score(self, version: str, scored_at: dt.datetime = NOON) -> None:
        """Let a batch of this version be the latest predictions, as churn_predictions writes and says it."""
        rows = self.lake.read(USER_FEATURES, DateRange(D, D)).orderBy("user_id").collect()
        records = [{name: row[name] for name in FEATURE_COLUMNS} for row in rows]
        scores = mlflow_answers(self.lake.settings, version, records)
        rows = [
            (user, D, score, score >= 0.5, scored_at, int(version))
            for user, score in zip(USERS, scores, strict=True)
        ]
        self.lake.write(CHURN_PREDICTIONS, frame(self.lake.spark, CHURN_PREDICTIONS, rows), DateRange(D, D))
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key(CHURN_PREDICTIONS), partition=str(D), metadata={"model_version": version}
            )
        )

    def latest(self, key: dg.AssetKey) -> dg.AssetMaterialization | None:
        event = self.instance.get_latest_materialization_event(key)
        return event.asset_materialization if event else None

    def evaluation(self) -> Any:
        """The check's last evaluation."""
        history = self.instance.event_log_storage.get_asset_check_execution_history(
            AGREES_WITH_BATCH, limit=1
        )
        event = history[0].event
        assert event is not None
        return event.asset_check_evaluation


Move = Callable[..., House]


@pytest.fixture
def house(lake: Settings, spark: SparkSession, deployment: str, instance: dg.DagsterInstance) -> House:
    """Features of two dates; the last one scored by version 1, which is Production. No server runs."""
    settings = lake.model_copy(update={"endpoint_url": NOWHERE, "deployment": deployment})
    tables = FolderLakehouse(settings, lambda: spark)
    for date, users in ((day(-1), [1, 2, 99]), (D, USERS)):
        rows = [(user, date, *features_of(user)) for user in users]
        tables.write(USER_FEATURES, frame(spark, USER_FEATURES, rows), DateRange(date, date))
    found = House(tables, instance, BundledEndpoint(settings))
    found.score("1")
    return found


def values(materialized: dg.AssetMaterialization | None) -> dict[str, Any]:
    assert materialized is not None
    return {name: value.value for name, value in materialized.metadata.items()}


def test_the_latest_date_alone_is_published_for_lookups(house: House) -> None:
    house.materialize(ONLINE_USER_FEATURES)

    snapshot = OnlineStore(online_folder(house.lake.settings)).snapshot()
    assert snapshot is not None
    rows, found = snapshot.lookup([7, 99])
    # Of the 23 days each follows the other, and there was never an amount.
    assert rows[0].tolist()[:-1] == [*features_of(7), 23, 23, 53, 3, 1, 1, 7, 7]
    assert math.isnan(rows[0][-1])
    assert found.tolist() == [True, False]
    assert snapshot.columns == tuple(FEATURE_COLUMNS)
    version = house.lake.version(USER_FEATURES)
    metadata = values(house.latest(ONLINE_USER_FEATURES))
    assert (metadata["users"], metadata["feature_date"], metadata["delta_version"]) == (30, str(D), version)
    assert metadata["bytes"] > 30 * 7 * 8
    tags = (house.latest(ONLINE_USER_FEATURES) or dg.AssetMaterialization("none")).tags or {}
    assert tags["dagster/data_version"] == f"{version}/{D}"


def test_no_features_are_nothing_to_publish(
    lake: Settings, spark: SparkSession, house: House, tmp_path: Path
) -> None:
    empty = FolderLakehouse(
        house.lake.settings.model_copy(update={"lake_root": tmp_path / "empty"}), lambda: spark
    )

    with pytest.raises(EndpointError, match="user_features is empty, so there is nothing to publish"):
        replace(house, lake=empty).materialize(ONLINE_USER_FEATURES)


def test_the_endpoint_serves_production_and_answers_as_the_batch_did(house: House) -> None:
    house.materialize(ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT)

    found = values(house.latest(CHURN_PREDICTION_ENDPOINT))
    assert found["model_version"] == found["served_versions"] == "1"
    assert found["server"] == f"temporary, none is running at {NOWHERE}"
    assert found["url"] == f"{NOWHERE}/serving-endpoints/{ENDPOINT_NAME}/invocations"
    assert (found["compared_users"], found["asked_by"], found["feature_date"]) == (
        30,
        "features, user_id",
        str(D),
    )
    assert found["largest_difference"] <= 1e-9
    assert found["seconds_to_ready"] > 0
    assert found["p50_request_ms"] > 0
    check = house.evaluation()
    assert check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert "30 users agree" in check.description


def test_a_version_of_histories_answers_as_the_batch_did_nulls_included(house: House) -> None:
    registry.promote(house.lake.settings, WITH_HISTORY)
    house.score(WITH_HISTORY)

    house.materialize(ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT)

    found = values(house.latest(CHURN_PREDICTION_ENDPOINT))
    assert (found["model_version"], found["asked_by"]) == (WITH_HISTORY, "features, user_id")
    assert found["largest_difference"] <= 1e-9


def test_users_are_asked_for_by_features_alone_where_lookups_are_of_another_date(house: House) -> None:
    house.materialize(ONLINE_USER_FEATURES)
    next_day = D + ONE_DAY
    rows = [(user, next_day, *features_of(user)) for user in USERS]
    spark = house.lake.spark
    house.lake.write(USER_FEATURES, frame(spark, USER_FEATURES, rows), DateRange(next_day, next_day))
    house.materialize(ONLINE_USER_FEATURES)

    house.materialize(CHURN_PREDICTION_ENDPOINT)

    assert values(house.latest(CHURN_PREDICTION_ENDPOINT))["asked_by"] == "features"


def test_features_that_changed_after_the_scoring_are_not_held_against_the_endpoint(house: House) -> None:
    house.score("1", dt.datetime.now(dt.UTC))
    later = [(user, D, *(count + 1 for count in features_of(user))) for user in USERS]
    house.lake.write(USER_FEATURES, frame(house.lake.spark, USER_FEATURES, later), DateRange(D, D))

    house.materialize(ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT)

    assert house.evaluation().passed
    # What is published for lookups is of the later features, so their scores are not those of the batch.
    assert house.evaluation().metadata["asked_by"].value == "features"


def test_a_batch_of_another_version_stops_the_endpoint_and_is_named(house: House) -> None:
    house.score("3")

    with pytest.raises(
        EndpointError, match=rf"serves version 1, churn_predictions of {D} were scored by version 3; largest"
    ):
        house.materialize(CHURN_PREDICTION_ENDPOINT)

    assert house.latest(CHURN_PREDICTION_ENDPOINT) is None
    check = house.evaluation()
    assert not check.passed
    worst = check.metadata["worst_rows"].records
    assert len(worst) == 10
    assert worst[0].data["user_id"] in USERS
    assert float(worst[0].data["difference"]) == check.metadata["largest_difference"].value > 1e-9


def test_an_endpoint_on_an_older_version_fails_the_scheduled_check_until_it_is_deployed(house: House) -> None:
    settings = house.lake.settings
    house.score("2")
    registry.promote(settings, "2")
    with server_of(settings, "1") as server:
        there = settings.model_copy(
            update={
                "endpoint_url": server.url,
                "endpoint_admin_token": server.token,
            }
        )
        running = replace(house, endpoint=BundledEndpoint(there))

        running.check()
        assert not running.evaluation().passed
        assert "serves version 1, churn_predictions" in running.evaluation().description
        assert "were scored by version 2; largest difference" in running.evaluation().description
        assert house.latest(CHURN_PREDICTION_ENDPOINT) is None

        running.materialize(CHURN_PREDICTION_ENDPOINT)
        assert values(house.latest(CHURN_PREDICTION_ENDPOINT))["server"] == f"bundled, at {server.url}"
        running.check()
        assert running.evaluation().passed
        assert running.evaluation().metadata["served_versions"].value == "2"


def test_the_scheduled_check_examines_production_where_no_server_runs(house: House) -> None:
    house.check()

    assert house.evaluation().passed
    assert house.evaluation().metadata["server"].value.startswith("temporary")
    assert house.latest(CHURN_PREDICTION_ENDPOINT) is None


def test_who_scored_is_unknown_without_a_history(house: House) -> None:
    with dg.DagsterInstance.ephemeral() as another:
        forgetful = replace(house, instance=another)
        forgetful.check()

        assert "were scored by version unknown; 30 users agree" in forgetful.evaluation().description


def test_a_sample_is_as_large_as_configured(house: House) -> None:
    job = house.definitions.resolve_job_def("endpoint_parity")
    config = {"ops": {"churn_prediction_endpoint": {"config": {"users": 7, "seed": 3}}}}

    job.execute_in_process(instance=house.instance, run_config=config)

    assert house.evaluation().metadata["compared_users"].value == 7


def test_nothing_is_deployed_before_there_are_predictions(
    house: House, tmp_path: Path, spark: SparkSession
) -> None:
    settings = house.lake.settings.model_copy(update={"lake_root": tmp_path / "empty"})

    with pytest.raises(EndpointError, match="churn_predictions is empty, so the endpoint cannot be compared"):
        replace(house, lake=FolderLakehouse(settings, lambda: spark)).materialize(CHURN_PREDICTION_ENDPOINT)


def test_nothing_is_deployed_without_a_production_model(
    house: House, tmp_path: Path, spark: SparkSession
) -> None:
    other = {
        "mlflow_tracking_uri": f"sqlite:///{tmp_path}/other/mlflow/mlflow.db",
        "lake_root": tmp_path / "other",
    }
    settings = house.lake.settings.model_copy(update=other)

    with pytest.raises(ModelError, match="No Production model is registered, so there is nothing to serve"):
        replace(house, lake=FolderLakehouse(settings, lambda: spark)).materialize(CHURN_PREDICTION_ENDPOINT)


def test_the_schedule_waits_for_the_first_deployment(tmp_path: Path) -> None:
    (schedule,) = endpoint_schedules()
    # A schedule's context opens the instance anew, which one in memory cannot be.
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def tick() -> tuple[str | None, int]:
            with dg.build_schedule_context(instance) as context:
                data = schedule.evaluate_tick(context)
            return data.skip_message, len(data.run_requests or [])

        assert tick() == ("churn_prediction_endpoint has never been deployed.", 0)
        instance.report_runless_asset_event(dg.AssetMaterialization(CHURN_PREDICTION_ENDPOINT))
        assert tick() == (None, 1)


def test_model_serving_is_deployed_to_and_compared_in_the_same_way(house: House, tmp_path: Path) -> None:
    settings = house.lake.settings
    with Workspace(tmp_path / "workspace") as workspace:
        serving = workspace.serving
        serving.registry_uri = settings.mlflow_tracking_uri
        databricks = replace(house, endpoint=WorkspaceEndpoint(settings, workspace.client))

        databricks.materialize(ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT)

        found = values(house.latest(CHURN_PREDICTION_ENDPOINT))
        assert found["server"] == f"Databricks Model Serving, at {workspace.url}"
        assert (found["model_version"], found["served_versions"]) == ("1", "1")
        assert (found["asked_by"], found["compared_users"]) == ("features", 30)
        assert serving.endpoints[ENDPOINT_NAME].tags == {"project": "churn", "deployed_by": "churn_assets"}
        assert serving.endpoints[ENDPOINT_NAME].ai_gateway is not None
        assert workspace.violations == []
    assert "looks nobody up by user_id" in values(house.latest(ONLINE_USER_FEATURES))["not_published"]


def test_an_online_store_that_is_not_there_is_said_and_stops_no_run(house: House, tmp_path: Path) -> None:
    settings = house.lake.settings.model_copy(update={"databricks_online_store": "churn-online"})
    with Workspace(tmp_path / "workspace") as workspace:
        endpoint = WorkspaceEndpoint(settings, workspace.client, OnlineTable(settings))
        result = replace(house, endpoint=endpoint).materialize(ONLINE_USER_FEATURES)

    assert result.success
    metadata = values(house.latest(ONLINE_USER_FEATURES))
    assert set(metadata) == {"online_store", "not_published"}
    said = "CHURN_DATABRICKS_ONLINE_STORE=churn-online is no online store of this workspace"
    assert metadata["not_published"].startswith(said)
    log = [entry for entry in house.instance.all_logs(result.run_id) if said in entry.user_message]
    assert [entry.level for entry in log] == [logging.WARNING]
