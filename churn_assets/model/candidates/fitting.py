"""Fitting one entrant on the training rows, and its scores on the calibration rows."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from churn_assets.errors import one_line
from churn_assets.model.candidates import calibration, estimators, search
from churn_assets.model.candidates.entrants import Entrant
from churn_assets.model.data.dataset import Frames, features_in, has_history, history_in
from churn_assets.tables import WINDOW_FEATURES

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.model.metrics.evaluation import Vector


@dataclass(frozen=True)
class Candidate:
    """A fitted entrant, with its metrics on the calibration rows (brier, log_loss, roc_auc).

    ``params`` are all that ``estimators.make`` needs to make it again. ``seconds`` are those of fitting.
    Where it could not be fitted, ``error`` says why in one line, and ``fitted`` is None.
    """

    name: str
    estimator_name: str
    params: dict[str, Any]
    fitted: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


def fit(entrant: Entrant, frames: Frames, fitted_before: Mapping[str, Any] | None = None) -> Candidate:
    """Fit an entrant; an average is made of what has been fitted before it, where all of its parts have.

    Args:
        entrant: the estimator and its parameters.
        frames: what ``dataset.frames`` returns; ``holdout`` is not read.
        fitted_before: fitted estimators by ``key``.
    """
    from threadpoolctl import threadpool_limits

    started = time.perf_counter()
    try:
        estimator = _average_of_fitted(entrant, fitted_before or {})
        # In one thread. Histogram boosting sums gradients in as many as there are; 1 and 2 gave equal bits
        # for 25,000 rows, but nothing promises it for others. Nor do they help: those rows take 0.2 s in one
        # thread, and 5 s in two where another process is busy.
        with threadpool_limits(1):
            if estimator is None:
                estimator = unfitted(entrant.estimator_name, entrant.params, frames.train)
                estimator.fit(frames.train[features_in(frames.train)], frames.train["label"])
            metrics = _metrics(
                frames.calibration["label"].to_numpy(),
                calibration.churn_probability(estimator, frames.calibration),
            )
    except Exception as error:  # noqa: BLE001 - one that cannot be fitted must not end the others' competition
        seconds = time.perf_counter() - started
        return Candidate(*entrant, seconds=seconds, error=one_line(error))
    return Candidate(*entrant, estimator, metrics, time.perf_counter() - started)


def key(estimator_name: str, params: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal estimators with equal parameters."""
    return json.dumps([estimator_name, params], sort_keys=True)


def unfitted(name: str, params: Mapping[str, Any], rows: "pd.DataFrame") -> Any:
    """Make an estimator that takes the rows' missing values, whether or not it does by itself.

    Args:
        name: one of ``estimators.ESTIMATORS``.
        params: all of its parameters.
        rows: the training rows.
    """
    estimator = estimators.make(name, params)
    if not has_history(rows):
        return estimator
    from churn_assets.model.candidates.ensembles import Average, OnColumns

    if name == estimators.AVERAGE:
        return Average([unfitted(part["estimator"], part["params"], rows) for part in params["estimators"]])
    if name in estimators.OF_THE_WINDOW:
        return OnColumns(estimator, WINDOW_FEATURES)
    # Histogram boosting bins each feature by its values, and a feature may have none: amounts, say.
    empty = set(rows.columns[rows.isna().all()]) & set(features_in(rows))
    if empty and name == search.ESTIMATOR:
        return OnColumns(estimator, [feature for feature in features_in(rows) if feature not in empty])
    return estimator


def with_fallback(estimator: Any, fallback: Any) -> Any:
    """Return one estimator of two: rows without a history go to ``fallback``."""
    from churn_assets.model.candidates.ensembles import WithFallback

    return WithFallback(estimator, fallback, history_in(map(str, estimator.feature_names_in_)))


def _average_of_fitted(entrant: Entrant, fitted_before: Mapping[str, Any]) -> Any | None:
    """The average of estimators that are fitted already; None where it is no average or lacks a part."""
    if entrant.estimator_name != estimators.AVERAGE:
        return None
    from churn_assets.model.candidates.ensembles import Average

    specs = entrant.params["estimators"]
    parts = [fitted_before.get(key(spec["estimator"], spec["params"])) for spec in specs]
    return Average.of_fitted(parts) if all(part is not None for part in parts) else None


def _metrics(label: "Vector", probability: "Vector") -> dict[str, float]:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    return {
        "brier": float(brier_score_loss(label, probability)),
        "log_loss": float(log_loss(label, probability)),
        "roc_auc": float(roc_auc_score(label, probability)),
    }
