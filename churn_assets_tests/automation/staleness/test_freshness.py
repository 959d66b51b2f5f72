"""Freshness as Dagster's daemon finds it, and as an old backfill does not fake it."""

import asyncio
import datetime as dt
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster import AssetMaterialization
from dagster._core.definitions.freshness_evaluator import FRESHNESS_EVALUATORS_BY_POLICY_TYPE
from dagster._core.loader import LoadingContextForTest
from dagster._core.test_utils import freeze_time
from pyspark.sql import SparkSession

from churn_assets.asset_keys import asset_key
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.staleness.freshness import (
    FRESH,
    SOON_STALE,
    STALE,
    UNKNOWN,
    EveryDay,
    Freshness,
    Within,
    expectations,
    freshness,
    with_freshness,
)
from churn_assets.dates import DateRange
from churn_assets.lakehouse.freshness import last_due_day
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DELIVERIES,
    MODEL_PROMOTIONS,
    PREDICTION_OUTCOMES,
    TABLES,
    Table,
)
from churn_assets_tests.conftest import MakeSettings
from churn_assets_tests.rows import NOON, frame

HOUR = dt.timedelta(hours=1)
# 07:00 UTC is when predictions are due with an SLA of 60 minutes.
TODAY = dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
SEVEN = TODAY + 7 * HOUR
# 30 days before 2026-03-09.
MATURE = dt.date(2026, 2, 7)
DAGSTERS_WORDS = {"PASS": FRESH, "WARN": SOON_STALE, "FAIL": STALE, "UNKNOWN": UNKNOWN}


def materialise(instance: dg.DagsterInstance, key: dg.AssetKey, at: dt.datetime) -> None:
    with freeze_time(at):
        instance.report_runless_asset_event(AssetMaterialization(key))


def dagsters_state(
    instance: dg.DagsterInstance, policy: dg.FreshnessPolicy, key: dg.AssetKey, now: dt.datetime
) -> str:
    node = SimpleNamespace(key=key, freshness_policy_or_from_metadata=policy)
    with freeze_time(now):
        evaluated = FRESHNESS_EVALUATORS_BY_POLICY_TYPE[type(policy)]().evaluate_freshness(
            LoadingContextForTest(instance),
            node,  # type: ignore[arg-type]  # the two attributes that it reads
        )
        return DAGSTERS_WORDS[asyncio.run(evaluated).value]


def of(assets: list[Freshness], key: dg.AssetKey) -> Freshness:
    return next(asset for asset in assets if asset.asset == ".".join(key.path))


@pytest.mark.parametrize(
    ("expectation", "written", "now", "state"),
    [
        (EveryDay(420), TODAY + 6 * HOUR, SEVEN + HOUR, FRESH),
        (EveryDay(420), TODAY - HOUR, SEVEN - HOUR, FRESH),
        (EveryDay(420), TODAY - HOUR, SEVEN + HOUR, STALE),
        (EveryDay(420), TODAY + 15 * HOUR, TODAY + 16 * HOUR, FRESH),
        (EveryDay(420), TODAY - 25 * HOUR, SEVEN - HOUR, STALE),
        (Within(26 * HOUR, 36 * HOUR), TODAY, TODAY + 25 * HOUR, FRESH),
        (Within(26 * HOUR, 36 * HOUR), TODAY, TODAY + 27 * HOUR, SOON_STALE),
        (Within(26 * HOUR, 36 * HOUR), TODAY, TODAY + 37 * HOUR, STALE),
    ],
)
def test_our_answer_is_the_one_of_dagsters_daemon(
    instance: dg.DagsterInstance,
    expectation: EveryDay | Within,
    written: dt.datetime,
    now: dt.datetime,
    state: str,
) -> None:
    key = dg.AssetKey("any")
    materialise(instance, key, written)

    assert expectation.state(written, now) == state
    assert dagsters_state(instance, expectation.policy, key, now) == state


def test_every_table_and_the_endpoint_have_a_policy(make_settings: MakeSettings) -> None:
    expected = expectations(make_settings(delivery_folder="lists"), TODAY)

    assert {asset_key(table) for table in TABLES} < set(expected)
    # Nothing is expected of deliveries that go to nobody.
    of_nobody = set(expectations(make_settings(), TODAY))
    assert set(expected) - of_nobody == {asset_key(DELIVERIES)}
    assert expected[dg.AssetKey("churn_prediction_endpoint")] == EveryDay(420)
    assert expected[asset_key(CHURN_PREDICTIONS)] == EveryDay(420)


def test_the_sla_moves_the_deadline_of_the_predictions(make_settings: MakeSettings) -> None:
    assert expectations(make_settings(sla_minutes=135), TODAY)[asset_key(CHURN_PREDICTIONS)] == EveryDay(495)


def test_of_a_history_that_has_ended_nothing_is_expected(make_settings: MakeSettings) -> None:
    assert expectations(make_settings(start_date="2026-01-01", end_date="2026-03-09"), TODAY) == {}
    assert expectations(make_settings(start_date="2026-01-01", end_date="2026-03-10"), TODAY) != {}


def test_assets_get_their_policies_and_others_stay_as_they_are(make_settings: MakeSettings) -> None:
    ours, other = dg.AssetSpec(asset_key(CHURN_PREDICTIONS)), dg.AssetSpec("other")

    changed = with_freshness([ours, other], make_settings())

    assert [bool(spec.freshness_policy) for spec in changed] == [True, False]


@pytest.mark.parametrize(
    ("now", "end_date", "due"),
    [
        (SEVEN, None, dt.date(2026, 3, 9)),
        (SEVEN - dt.timedelta(seconds=1), None, dt.date(2026, 3, 8)),
        (SEVEN + 16 * HOUR, None, dt.date(2026, 3, 9)),
        (SEVEN, "2026-02-01", dt.date(2026, 2, 1)),
    ],
)
def test_yesterday_is_due_from_seven_on(
    make_settings: MakeSettings, now: dt.datetime, end_date: str | None, due: dt.date
) -> None:
    assert last_due_day(now, make_settings(start_date="2026-01-01", end_date=end_date)) == due


def test_a_backfill_of_last_month_does_not_look_fresh(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance
) -> None:
    old = dt.date(2026, 2, 1)
    rows = frame(spark, CHURN_PREDICTIONS, [(1, old, 0.1, False, NOON, 1)])
    lake.write(CHURN_PREDICTIONS, rows, DateRange(old, old))
    materialise(instance, asset_key(CHURN_PREDICTIONS), SEVEN + HOUR)

    predictions = of(freshness(lake, instance, SEVEN + 2 * HOUR), asset_key(CHURN_PREDICTIONS))

    assert (predictions.state, predictions.says) == (
        STALE,
        "feature_date 2026-02-01, due 2026-03-09: 36 days behind",
    )


def test_predictions_of_yesterday_written_this_morning_are_fresh(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance
) -> None:
    yesterday = dt.date(2026, 3, 9)
    rows = frame(spark, CHURN_PREDICTIONS, [(1, yesterday, 0.1, False, NOON, 1)])
    lake.write(CHURN_PREDICTIONS, rows, DateRange(yesterday, yesterday))
    materialise(instance, asset_key(CHURN_PREDICTIONS), SEVEN - HOUR)

    predictions = of(freshness(lake, instance, SEVEN), asset_key(CHURN_PREDICTIONS))

    assert (predictions.state, predictions.says) == (FRESH, "")
    assert predictions.written_at == SEVEN - HOUR


@pytest.mark.parametrize(
    ("table", "row"),
    [(CHURN_LABELS, (1, MATURE, 0)), (PREDICTION_OUTCOMES, (1, MATURE, 0.1, False, 0, True, 1, NOON))],
    ids=["labels", "outcomes"],
)
def test_what_needs_the_horizon_is_due_a_horizon_later(
    lake: Lakehouse, spark: SparkSession, instance: dg.DagsterInstance, table: Table, row: tuple
) -> None:
    lake.write(table, frame(spark, table, [row]), DateRange(MATURE, MATURE))
    materialise(instance, asset_key(table), SEVEN)

    states = [
        of(freshness(lake, instance, now), asset_key(table)).state for now in (SEVEN, SEVEN + 24 * HOUR)
    ]

    assert states == [FRESH, STALE]


def test_who_is_champion_is_expected_as_often_as_a_training(make_settings: MakeSettings) -> None:
    expected = expectations(make_settings(), TODAY)

    assert expected[asset_key(MODEL_PROMOTIONS)] == expected[CHURN_PREDICTION_MODEL]


def test_what_was_never_made_is_unknown(lake: Lakehouse, instance: dg.DagsterInstance) -> None:
    assert {asset.state for asset in freshness(lake, instance, SEVEN)} == {UNKNOWN}
