"""When a training is due beside the one that new labels ask for: what is scored has drifted."""

import datetime as dt

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecordStatus,
)  # what the history of a check is asked by, exported nowhere else

from churn_assets.asset_keys import asset_key
from churn_assets.assets.drift import FEATURE_CHECK, SCORE_CHECK
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.tables import FEATURE_DRIFT

# A horizon ripens by one date a day; late events that change a few labels are worth no training of their own.
# Nor does drift end sooner by more of them: what users do differently is in the labels a horizon later, and
# until then each training would see the same rows again.
RETRAIN_AFTER = dt.timedelta(hours=20)

DRIFT_CHECKS = tuple(
    dg.AssetCheckKey(asset_key(FEATURE_DRIFT), name) for name in (FEATURE_CHECK, SCORE_CHECK)
)

_DONE = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def last_training(instance: dg.DagsterInstance) -> dt.datetime | None:
    """When the model was trained last, whatever came of it; UTC."""
    event = instance.get_latest_materialization_event(CHURN_PREDICTION_MODEL)
    return dt.datetime.fromtimestamp(event.timestamp, dt.UTC) if event else None


def is_due(instance: dg.DagsterInstance, now: dt.datetime) -> bool:
    """Whether the last training is so long ago that there may be another."""
    last = last_training(instance)
    return last is None or now - last >= RETRAIN_AFTER


def drift_since_training(instance: dg.DagsterInstance) -> str | None:
    """What a drift check says that has failed since the last training; None where none has.

    Of each check its latest result counts, and of results an error, no warning. One from before the training
    is answered: until a date has been scored since, nobody knows whether the drift is gone.
    """
    last = last_training(instance)
    for key in DRIFT_CHECKS:
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=_DONE)
        event = history[0].event if history else None
        evaluation = history[0].evaluation if history else None
        if event is None or evaluation is None:
            continue
        if evaluation.passed or evaluation.severity != dg.AssetCheckSeverity.ERROR:
            continue
        if last is None or event.timestamp > last.timestamp():
            return f"{key.name}: {evaluation.description or 'failed'}"
    return None
