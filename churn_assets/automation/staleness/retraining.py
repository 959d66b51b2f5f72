"""When drift asks for a training, beside those that new labels ask for."""

import datetime as dt

import dagster as dg

from churn_assets.asset_keys import asset_key
from churn_assets.assets.drift import FEATURE_CHECK, SCORE_CHECK
from churn_assets.assets.model import CHURN_PREDICTION_MODEL
from churn_assets.automation.history.log_reader import latest_check_result, written_at
from churn_assets.tables import FEATURE_DRIFT

# One date a day gets its labels, and late events that change a few of them do not justify a training. Nor do
# more trainings end a drift sooner: what users do differently shows in the labels a horizon later, and until
# then each training would read the same rows again.
RETRAIN_AFTER = dt.timedelta(hours=20)

DRIFT_CHECKS = tuple(
    dg.AssetCheckKey(asset_key(FEATURE_DRIFT), name) for name in (FEATURE_CHECK, SCORE_CHECK)
)


def last_training(instance: dg.DagsterInstance) -> dt.datetime | None:
    """Return when the model was last trained (UTC), whether or not it was promoted; None if it never was."""
    return written_at(instance, [CHURN_PREDICTION_MODEL]).get(CHURN_PREDICTION_MODEL)


def is_due(instance: dg.DagsterInstance, now: dt.datetime) -> bool:
    """Whether the last training is long enough ago for another, or there was none."""
    last = last_training(instance)
    return last is None or now - last >= RETRAIN_AFTER


def drift_since_training(instance: dg.DagsterInstance) -> str | None:
    """Return the message of a drift check that has failed since the last training, None if none has.

    Only the latest result of each check counts, and only if it is an error, not a warning. The training
    answered an earlier one: until a date has been scored since, it is not known whether the drift is over.
    """
    last = last_training(instance)
    for key in DRIFT_CHECKS:
        result = latest_check_result(instance, key)
        event = result.event if result else None
        evaluation = result.evaluation if result else None
        if event is None or evaluation is None:
            continue
        if evaluation.passed or evaluation.severity != dg.AssetCheckSeverity.ERROR:
            continue
        if last is None or event.timestamp > last.timestamp():
            return f"{key.name}: {evaluation.description or 'failed'}"
    return None
