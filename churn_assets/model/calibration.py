"""A map from an estimator's probabilities to what they are in truth, and whether it is worth having."""

from typing import TYPE_CHECKING, Any, Literal

from churn_assets.model import bounds
from churn_assets.model.dataset import features_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Method = Literal["none", "sigmoid", "isotonic"]

MAPS: tuple[Method, Method] = ("sigmoid", "isotonic")

# Fewer rows of a class than this, in either half of the users, say nothing about a map.
LEAST_OF_A_CLASS = 10


def honest_scores(fitted: Any, rows: "pd.DataFrame", seed: int) -> dict[Method, float]:
    """The Brier score without a map and with each, measured on users that the map was not fitted on.

    Args:
        fitted: an estimator.
        rows: of users that it was not trained on; each map is fitted on half of them and measured on the
            other half, both ways.
        seed: says which users are in which half.

    Returns:
        ``none``, and where there are rows enough ``sigmoid`` and ``isotonic``. Lower is better.
    """
    from threadpoolctl import threadpool_limits

    # In one thread for the reason in candidates.py.
    with threadpool_limits(1):
        return _scores(fitted, rows, _half_of_the_users(rows, seed))


def mapped(fitted: Any, rows: "pd.DataFrame", method: Method) -> Any:
    """The estimator with a map behind it, fitted on these rows; with ``none`` the estimator itself."""
    if method == "none":
        return fitted
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from threadpoolctl import threadpool_limits

    # Frozen, so that nothing is fitted again but the map.
    calibrator = CalibratedClassifierCV(FrozenEstimator(fitted), method=method)
    with threadpool_limits(1):
        return calibrator.fit(rows[features_in(rows)], rows["label"])


def bounded(fitted: Any, rows: "pd.DataFrame", method: Method) -> Any:
    """The estimator with a map behind it, and no probability that these rows do not support: see ``bounds``.

    Args:
        fitted: an estimator.
        rows: the calibration rows, of users that it was not trained on.
        method: the map; ``none`` is bounded as well.
    """
    if method == "isotonic":
        return mapped(fitted, bounds.with_exceptions(fitted, rows), method)
    return bounds.tempered(mapped(fitted, rows, method), rows)


def probability(estimator: Any, rows: "pd.DataFrame") -> "np.ndarray":
    """Of churn, of each row."""
    return estimator.predict_proba(rows[features_in(rows)])[:, 1]


def _scores(fitted: Any, rows: "pd.DataFrame", half: "np.ndarray") -> dict[Method, float]:
    from sklearn.metrics import brier_score_loss

    label, before = rows["label"].to_numpy(), probability(fitted, rows)
    scores: dict[Method, float] = {"none": float(brier_score_loss(label, before))}
    if min(int((label[side] == c).sum()) for side in (half, ~half) for c in (0, 1)) < LEAST_OF_A_CLASS:
        return scores
    for method in MAPS:
        after = before.copy()
        for side in (half, ~half):
            after[~side] = probability(bounded(fitted, rows.loc[side], method), rows.loc[~side])
        scores[method] = float(brier_score_loss(label, after))
    return scores


def _half_of_the_users(rows: "pd.DataFrame", seed: int) -> "np.ndarray":
    import numpy as np

    users = np.unique(rows["user_id"].to_numpy())
    chosen = np.random.default_rng(seed).permutation(users)[: len(users) // 2]
    return np.isin(rows["user_id"].to_numpy(), chosen)
