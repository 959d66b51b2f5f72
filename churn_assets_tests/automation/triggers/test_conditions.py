"""The conditions, evaluated by Dagster over histories written by hand."""

import datetime as dt

import dagster as dg
import pytest

from churn_assets.asset_keys import asset_key
from churn_assets.assets.checks.contract import BLOCKING_CHECKS, NOT_NULL
from churn_assets.assets.drift import FEATURE_CHECK, SCORE_CHECK
from churn_assets.assets.endpoint import CHURN_PREDICTION_ENDPOINT, ONLINE_USER_FEATURES
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.staleness.retraining import RETRAIN_AFTER
from churn_assets.automation.triggers.conditions import labelled_rows
from churn_assets.dates import ONE_DAY
from churn_assets.graph import build_defs
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    EVENTS,
    FEATURE_DRIFT,
    GATED,
    MODEL_PROMOTIONS,
    RETENTION_LIST,
    TREATMENT_OUTCOMES,
    TREATMENTS,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets_tests.automation.log import Log
from churn_assets_tests.conftest import MakeSettings

START = dt.date(2026, 1, 1)
MODEL = {CHURN_PREDICTION_MODEL, asset_key(MODEL_PROMOTIONS)}


class Evaluation:
    """Ticks of the automation sensor, one after the other."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._definitions, self._instance = definitions, instance
        self._cursor = None

    def requested(self, now: dt.datetime | None = None) -> set[dg.AssetKey]:
        result = dg.evaluate_automation_conditions(
            self._definitions,
            self._instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=self._cursor,
            evaluation_time=now or dt.datetime.now(dt.UTC),
        )
        self._cursor = result.cursor
        return {subset.key for each in result.results if (subset := each.true_subset).size}


@pytest.fixture
def log(instance: dg.DagsterInstance) -> Log:
    history = Log(instance)
    history.ingested()
    history.trained("none")
    for table in GATED:
        checked(history, table, passed=True)
    for key in (ONLINE_USER_FEATURES, CHURN_PREDICTION_ENDPOINT):
        history.wrote(key, "none")
    return history


@pytest.fixture
def ticks(log: Log, make_settings: MakeSettings) -> Evaluation:
    """An automation that has seen this history: what comes now is news."""
    evaluation = Evaluation(build_defs(make_settings(start_date=START, horizon_days=7)), log.instance)
    evaluation.requested()
    return evaluation


def checked(log: Log, table: Table, *, passed: bool, check: str = NOT_NULL) -> None:
    """What the blocking checks of a run say, one of which may fail."""
    for name in BLOCKING_CHECKS:
        log.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key(table), check_name=name, passed=passed or name != check, blocking=True
            )
        )


def labelled(log: Log, dates: int, rows: int) -> None:
    days = [START + number * ONE_DAY for number in range(dates)]
    log.computed(CHURN_LABELS, days, metadata={"dagster/partition_row_count": rows})


def judged(log: Log, check: str, *, passed: bool, warns: bool = False) -> None:
    """What a drift check of a run says."""
    log.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=asset_key(FEATURE_DRIFT),
            check_name=check,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        )
    )


def days_later() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + RETRAIN_AFTER


def test_nothing_new_asks_for_nothing(ticks: Evaluation) -> None:
    assert ticks.requested() == set()


def test_events_cleaned_by_hand_make_users(ticks: Evaluation, log: Log) -> None:
    log.wrote(asset_key(EVENTS), "2")

    assert ticks.requested() == {asset_key(USERS)}


def test_new_features_are_published(ticks: Evaluation, log: Log) -> None:
    log.computed(USER_FEATURES, [START])

    assert ticks.requested() == {ONLINE_USER_FEATURES}
    assert ticks.requested() == set()


def test_few_labels_train_no_model(ticks: Evaluation, log: Log) -> None:
    labelled(log, dates=9, rows=1_111)

    assert labelled_rows(log.instance, 10_000) == 9_999
    assert ticks.requested(days_later()) == set()


def test_enough_labels_train_a_model(ticks: Evaluation, log: Log) -> None:
    labelled(log, dates=10, rows=1_000)

    # The version that it may promote is noted in the same run.
    assert ticks.requested(days_later()) == MODEL


@pytest.mark.parametrize("table", GATED, ids=lambda table: table.name)
def test_what_fails_a_blocking_check_trains_no_model_until_it_passes(
    ticks: Evaluation, log: Log, table: Table
) -> None:
    labelled(log, dates=10, rows=1_000)
    checked(log, table, passed=False)
    assert ticks.requested(days_later()) == set()

    checked(log, table, passed=True)

    assert ticks.requested(days_later()) == MODEL


def test_features_that_fail_a_blocking_check_are_published_once_they_pass(
    ticks: Evaluation, log: Log
) -> None:
    log.computed(USER_FEATURES, [START])
    checked(log, USER_FEATURES, passed=False)
    assert ticks.requested() == set()

    checked(log, USER_FEATURES, passed=True)

    assert ticks.requested() == {ONLINE_USER_FEATURES}


def test_labels_computed_again_count_once(ticks: Evaluation, log: Log) -> None:
    labelled(log, dates=5, rows=1_000)
    labelled(log, dates=5, rows=1_500)

    assert labelled_rows(log.instance, 10_000) == 7_500
    assert ticks.requested(days_later()) == set()


def test_a_model_is_not_trained_twice_a_day(ticks: Evaluation, log: Log) -> None:
    labelled(log, dates=10, rows=1_000)

    assert ticks.requested() == set()
    assert ticks.requested(days_later()) == MODEL


def test_without_new_labels_no_model_is_trained(ticks: Evaluation, log: Log) -> None:
    labelled(log, dates=10, rows=1_000)
    log.trained("1")
    log.computed(USER_FEATURES, [START])

    assert CHURN_PREDICTION_MODEL not in ticks.requested(days_later())


def test_new_predictions_of_a_production_model_are_deployed(ticks: Evaluation, log: Log) -> None:
    log.trained("1")
    log.scored([START], "1")

    assert ticks.requested() == {CHURN_PREDICTION_ENDPOINT}


@pytest.mark.parametrize("check", [FEATURE_CHECK, SCORE_CHECK])
def test_a_failed_drift_check_trains_a_model_without_new_labels(
    log: Log, ticks: Evaluation, check: str
) -> None:
    labelled(log, dates=10, rows=1_000)
    log.trained("1")
    assert ticks.requested(days_later()) == set()

    judged(log, check, passed=False)

    assert ticks.requested(days_later()) == MODEL


def test_drift_trains_no_model_twice_a_day(log: Log, ticks: Evaluation) -> None:
    labelled(log, dates=10, rows=1_000)
    log.trained("1")
    judged(log, FEATURE_CHECK, passed=False)

    assert ticks.requested() == set()
    assert ticks.requested(days_later()) == MODEL


def test_drift_trains_no_model_of_few_labels(log: Log, ticks: Evaluation) -> None:
    labelled(log, dates=9, rows=1_000)
    log.trained("1")
    judged(log, FEATURE_CHECK, passed=False)

    assert ticks.requested(days_later()) == set()


def test_drift_that_a_training_has_answered_trains_no_other(log: Log, ticks: Evaluation) -> None:
    labelled(log, dates=10, rows=1_000)
    judged(log, FEATURE_CHECK, passed=False)
    log.trained("1")

    assert ticks.requested(days_later()) == set()

    judged(log, FEATURE_CHECK, passed=False)

    assert ticks.requested(days_later()) == MODEL


@pytest.mark.parametrize("since", [{"passed": True}, {"passed": False, "warns": True}], ids=str)
def test_the_last_result_of_a_drift_check_counts_and_a_warning_does_not(
    log: Log, ticks: Evaluation, since: dict
) -> None:
    labelled(log, dates=10, rows=1_000)
    log.trained("1")
    judged(log, FEATURE_CHECK, passed=False)
    judged(log, FEATURE_CHECK, **since)

    assert ticks.requested(days_later()) == set()


def test_a_training_that_failed_is_not_tried_again_with_every_tick(log: Log, ticks: Evaluation) -> None:
    labelled(log, dates=10, rows=1_000)
    assert ticks.requested(days_later()) == MODEL

    @dg.asset(key=CHURN_PREDICTION_MODEL)
    def fails() -> None:
        raise RuntimeError

    assert not dg.materialize([fails], instance=log.instance, raise_on_error=False).success

    assert ticks.requested(days_later()) == set()


def test_a_model_that_was_trained_by_hand_is_noted(log: Log, ticks: Evaluation) -> None:
    log.wrote(CHURN_PREDICTION_MODEL, "1")

    assert ticks.requested() == {asset_key(MODEL_PROMOTIONS)}
    assert ticks.requested() == set()


def test_imported_treatments_are_measured_once(log: Log, ticks: Evaluation) -> None:
    log.wrote(asset_key(TREATMENTS), "1")

    assert ticks.requested() == {asset_key(TREATMENT_OUTCOMES)}
    assert ticks.requested() == set()


def test_features_of_another_date_measure_nothing_again(log: Log, ticks: Evaluation) -> None:
    log.wrote(asset_key(TREATMENTS), "1")
    assert ticks.requested() == {asset_key(TREATMENT_OUTCOMES)}
    assert ticks.requested() == set()

    log.computed(USER_FEATURES, [START])

    assert ticks.requested() == {ONLINE_USER_FEATURES}


def test_lists_of_whom_nobody_contacted_measure_nothing(log: Log, ticks: Evaluation) -> None:
    log.wrote(asset_key(RETENTION_LIST), "1")

    assert ticks.requested() == set()


def test_a_training_that_promotes_nothing_deploys_nothing(log: Log, ticks: Evaluation) -> None:
    log.trained("1")
    log.scored([START], "1")
    assert ticks.requested() == {CHURN_PREDICTION_ENDPOINT}
    assert ticks.requested() == set()

    log.trained("1")

    assert ticks.requested() == set()


def test_a_promoted_model_is_deployed_once_the_last_date_is_scored_with_it(
    log: Log, ticks: Evaluation
) -> None:
    log.trained("1")
    log.scored([START], "1")
    assert ticks.requested() == {CHURN_PREDICTION_ENDPOINT}
    assert ticks.requested() == set()

    log.trained("2")
    # The online features are news for the endpoint, which would not agree with the scores yet.
    log.wrote(ONLINE_USER_FEATURES, "2")
    assert ticks.requested() == set()

    log.scored([START], "2")
    assert ticks.requested() == {CHURN_PREDICTION_ENDPOINT}


def test_without_a_production_model_nothing_is_deployed(ticks: Evaluation, log: Log) -> None:
    log.trained("none")
    log.computed(CHURN_PREDICTIONS, [START])

    assert ticks.requested() == set()
