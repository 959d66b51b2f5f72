"""The table of promotions, as Dagster writes it."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.assets.promotions import promotion_assets, recorded_promotions
from churn_assets.lakehouse.io_manager import LakeIOManager
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.model.registry import promotions, registry
from churn_assets.tables import MODEL_PROMOTIONS
from churn_assets_tests.model.conftest import mlflow_state_as_it_was
from churn_assets_tests.model.registry.test_promotions import new_version, win


@pytest.fixture(autouse=True)
def _mlflow_state() -> Iterator[None]:
    with mlflow_state_as_it_was():
        yield


def materialize(lake: Lakehouse, instance: dg.DagsterInstance) -> dict[str, Any]:
    """The metadata of the materialisation."""
    result = dg.materialize(
        promotion_assets(lake.settings),
        instance=instance,
        resources={
            "lake_io": LakeIOManager(lake),
            "lakehouse": lake,
            "pyspark": None,
            "pyspark_step_launcher": None,
        },
    )
    [event] = result.asset_materializations_for_node(asset_key(MODEL_PROMOTIONS).to_python_identifier())
    return {name: value.value for name, value in event.metadata.items()}


def test_the_table_gains_a_row_a_promotion_and_no_other(
    lake: Lakehouse, instance: dg.DagsterInstance
) -> None:
    from mlflow import MlflowClient

    settings = lake.settings
    assert recorded_promotions(lake) == []
    first = materialize(lake, instance)
    assert (first["champion"], first["rows_written"]) == ("none", 0)

    before = dt.datetime.now(dt.UTC)
    win(settings, replaces=None)
    second = materialize(lake, instance)
    assert (second["champion"], second["cause"], second["rows_written"]) == ("1", "gate", 1)
    assert before.timestamp() <= second["champion_since"] <= dt.datetime.now(dt.UTC).timestamp()

    new_version(settings)  # 2, refused
    again = materialize(lake, instance)
    assert (again["champion"], again["rows_written"], again["delta_version"]) == (
        "1",
        0,
        second["delta_version"],
    )

    win(settings, replaces="1")
    promotions.promote(settings, "1", cause="rollback", reason="Back.", replaces="3")
    materialize(lake, instance)
    rows = recorded_promotions(lake)
    assert [(row["promotion"], row["version"], row["previous_version"], row["cause"]) for row in rows] == [
        (1, 1, None, "gate"),
        (2, 3, 1, "gate"),
        (3, 1, 3, "rollback"),
    ]
    times = [row["promoted_at"] for row in rows]
    assert before < times[0] < times[1] < times[2] < dt.datetime.now(dt.UTC)

    MlflowClient().delete_registered_model_alias(registry.registered_model_name(settings), "Production")
    assert materialize(lake, instance)["champion"] == "none"
    assert recorded_promotions(lake) == rows
