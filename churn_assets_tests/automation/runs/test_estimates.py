"""Seconds from runs of the past."""

import datetime as dt
import time

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.automation.history.run_tags import range_tags
from churn_assets.automation.runs.estimates import Estimator, PastRun, dbu, seconds_of
from churn_assets.automation.staleness.plan import Step
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.tables import CHURN_LABELS, USER_DAILY_ACTIVITY, USER_FEATURES
from churn_assets_tests.conftest import MakeSettings

START = dt.date(2026, 1, 1)


def dates(count: int) -> DateRange:
    return DateRange(START, START + (count - 1) * ONE_DAY)


def test_runs_of_two_sizes_tell_what_is_fixed_and_what_a_date_costs() -> None:
    past = [PastRun(1, 5.1), PastRun(101, 15.1)]

    assert seconds_of(past, 11) == pytest.approx(6.1)
    assert seconds_of(past, 365) == pytest.approx(41.5)


def test_one_slow_run_moves_the_estimate_little() -> None:
    past = [PastRun(1, 5.1), PastRun(1, 5.1), PastRun(1, 90.0), PastRun(101, 15.1)]

    assert seconds_of(past, 1) == pytest.approx(5.1)


def test_of_runs_of_one_size_more_dates_are_in_proportion_and_fewer_are_not_less() -> None:
    assert seconds_of([PastRun(10, 4.0)], 30) == pytest.approx(12.0)
    assert seconds_of([PastRun(10, 4.0)], 1) == pytest.approx(4.0)


def test_a_range_that_took_less_than_a_date_makes_no_date_cost_less_than_nothing() -> None:
    assert seconds_of([PastRun(1, 9.0), PastRun(100, 5.0)], 365) == pytest.approx(7.0)


def run_of(instance: dg.DagsterInstance, tables: list, count: int) -> None:
    keys = frozenset(asset_key(table) for table in tables)
    run = instance.add_run(
        dg.DagsterRun(
            "job", status=dg.DagsterRunStatus.STARTING, asset_selection=keys, tags=range_tags(dates(count))
        )
    )
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "job"), run_id=run.run_id
    )
    time.sleep(0.05)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "job"), run_id=run.run_id
    )


def test_a_step_is_told_from_runs_of_the_same_tables(instance: dg.DagsterInstance) -> None:
    run_of(instance, [USER_FEATURES], 10)
    run_of(instance, [CHURN_LABELS], 10)

    estimator = Estimator(instance)

    assert estimator.runs() == 2
    assert 0.05 <= (estimator.seconds(Step((USER_FEATURES,), dates(10))) or 0) < 5
    assert estimator.seconds(Step((USER_DAILY_ACTIVITY,), dates(10))) is None


def test_tables_that_shared_no_run_yet_take_as_long_as_one_after_the_other(
    instance: dg.DagsterInstance,
) -> None:
    run_of(instance, [USER_FEATURES], 10)
    run_of(instance, [CHURN_LABELS], 10)
    estimator = Estimator(instance)
    alone = [estimator.seconds(Step((table,), dates(10))) or 0 for table in (USER_FEATURES, CHURN_LABELS)]

    both = estimator.seconds(Step((USER_FEATURES, CHURN_LABELS), dates(10)))

    assert both == pytest.approx(sum(alone))


def test_only_databricks_costs_dbu(make_settings: MakeSettings) -> None:
    on_databricks = make_settings(
        deployment="databricks", databricks_node_type="i3.xlarge", databricks_workers=4
    )

    assert dbu(on_databricks, 1800) == pytest.approx(2.5)
    assert dbu(make_settings(deployment="local"), 1800) is None
