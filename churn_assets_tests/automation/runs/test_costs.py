"""Whose each row of the bill is: by tag, by run, by cluster, by endpoint, or nobody's."""

import datetime as dt
from typing import Any

import pytest

from churn_assets.automation.runs.costs import Costs, StepOnDatabricks, attribute
from churn_assets.databricks.billing import Usage

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ENDPOINT = ("churn-prediction-endpoint", "churn_prediction_endpoint")


def used(dbu: float, **source: Any) -> Usage:
    """Usage at a price of 2."""
    named = ("job_run_id", "cluster_id", "endpoint", "warehouse_id", "dagster_run_id")
    fields: dict[str, Any] = {**dict.fromkeys(named), "sku": "JOBS", "cost": 2 * dbu, "until": NOON, **source}
    return Usage(dbu=dbu, **fields)


def step(job_run_id: str, *assets: str, seconds: float = 1.0, **more: Any) -> StepOnDatabricks:
    fields = {"cluster_id": "c", "dagster_run_id": "run", "dbu_estimate": None, **more}
    return StepOnDatabricks(job_run_id=job_run_id, assets=assets, seconds=seconds, **fields)


def dbu(costs: Costs) -> dict[str, float]:
    return {name: cost.dbu for name, cost in costs.assets.items()}


def test_a_shared_cluster_is_shared_out_by_the_seconds_of_its_steps() -> None:
    steps = [step("1", "bronze", seconds=30), step("2", "silver", "users", seconds=90)]

    costs = attribute([used(12, cluster_id="c")], steps, ENDPOINT)

    assert dbu(costs) == {"bronze": 3, "silver": 4.5, "users": 4.5}
    assert (costs.assets["bronze"].cost, costs.runs["run"].dbu, costs.not_attributed) == (6, 12, {})


def test_a_run_of_databricks_says_more_than_its_cluster_and_that_more_than_a_tag() -> None:
    steps = [step("1", "bronze"), step("2", "silver", dagster_run_id="other")]

    costs = attribute(
        [
            used(1, job_run_id="2", cluster_id="c"),
            used(4, cluster_id="c", dagster_run_id="other"),
            used(5, cluster_id="gone", dagster_run_id="other"),
        ],
        steps,
        ENDPOINT,
    )

    assert dbu(costs) == {"bronze": 2, "silver": 1 + 2 + 5}
    assert {name: cost.dbu for name, cost in costs.runs.items()} == {"other": 10}


def test_steps_without_seconds_share_alike() -> None:
    costs = attribute(
        [used(4, cluster_id="c")], [step("1", "a", seconds=0), step("2", "b", seconds=0)], ENDPOINT
    )

    assert dbu(costs) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"warehouse_id": "w"}, "SQL warehouse w, whoever used it"),
        ({"endpoint": "theirs"}, "endpoint theirs"),
        ({"job_run_id": "9"}, "job run 9: no step of this Dagster history (a night of churn workflow?)"),
        ({"cluster_id": "x"}, "cluster x: no step of this Dagster history ran there"),
        ({}, "JOBS: the bill names no job, cluster or endpoint"),
    ],
)
def test_what_is_nobodys_is_named_and_in_the_total(source: dict[str, str], says: str) -> None:
    costs = attribute([used(3, **source), used(1, endpoint=ENDPOINT[0])], [step("1", "a")], ENDPOINT)

    assert {name: cost.dbu for name, cost in costs.not_attributed.items()} == {says: 3}
    assert dbu(costs) == {"churn_prediction_endpoint": 1}
    assert (costs.total.dbu, costs.total.cost) == (4, 8)


def test_an_estimate_is_of_a_whole_step_and_stands_where_nothing_is_billed_yet() -> None:
    steps = [step("1", "a", "b", dbu_estimate=3.0), step("2", "a", dbu_estimate=1.0), step("3", "c")]

    costs = attribute([], steps, ENDPOINT)

    assert {name: cost.dbu_estimate for name, cost in costs.assets.items()} == {"a": 2.5, "b": 1.5}
    assert (costs.runs["run"].dbu_estimate, costs.total.dbu_estimate, costs.until) == (4.0, 4.0, None)


def test_a_sku_without_a_price_is_named() -> None:
    costs = attribute([used(1, job_run_id="1")._replace(cost=None, sku="NEW")], [step("1", "a")], ENDPOINT)

    assert (costs.unpriced, costs.assets["a"].dbu, costs.assets["a"].cost) == (["NEW"], 1, 0)
