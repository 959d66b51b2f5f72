"""Whether the endpoint is behind, told from Dagster's history alone."""

import datetime as dt

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.automation.staleness.published_state import Serving
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.tables import CHURN_PREDICTIONS
from churn_assets_tests.conftest import MakeSettings

DAY = dt.date(2026, 3, 10)


@pytest.fixture
def serving(make_settings: MakeSettings, instance: dg.DagsterInstance) -> Serving:
    """Looks for version 2 as Production; no engine is there to start."""

    def no_engine() -> SparkSession:
        raise AssertionError("An engine was asked for.")

    return Serving(FolderLakehouse(make_settings(), no_engine), instance, "2")


def materialized(instance: dg.DagsterInstance, key: dg.AssetKey, **more) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key, **more))


def deployed(instance: dg.DagsterInstance, version: str) -> None:
    materialized(instance, CHURN_PREDICTION_ENDPOINT, tags={"dagster/data_version": version})


def test_an_endpoint_that_was_never_deployed_is_behind(serving: Serving) -> None:
    assert serving.endpoint_is_behind()


def test_an_endpoint_on_production_is_current(serving: Serving, instance: dg.DagsterInstance) -> None:
    materialized(instance, asset_key(CHURN_PREDICTIONS), partition=str(DAY))
    deployed(instance, "2")

    assert not serving.endpoint_is_behind()


def test_an_endpoint_on_another_version_is_behind(serving: Serving, instance: dg.DagsterInstance) -> None:
    deployed(instance, "1")

    assert serving.endpoint_is_behind()


@pytest.mark.parametrize("upstream", [asset_key(CHURN_PREDICTIONS), ONLINE_USER_FEATURES])
def test_an_endpoint_older_than_what_it_is_compared_with_is_behind(
    serving: Serving, instance: dg.DagsterInstance, upstream: dg.AssetKey
) -> None:
    deployed(instance, "2")
    materialized(instance, upstream, partition=str(DAY) if upstream == asset_key(CHURN_PREDICTIONS) else None)

    assert serving.endpoint_is_behind()


@pytest.mark.parametrize(
    ("metadata", "another"),
    [({"model_version": "1"}, "1"), ({"model_version": "2"}, None), ({}, None)],
    ids=["another version", "Production", "unknown"],
)
def test_scores_of_another_version_are_told_from_those_of_production(
    serving: Serving, instance: dg.DagsterInstance, metadata: dict, another: str | None
) -> None:
    materialized(instance, asset_key(CHURN_PREDICTIONS), partition=str(DAY), metadata=metadata)

    assert serving.scored_by_another(DAY) == another
