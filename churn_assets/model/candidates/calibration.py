"""A map from an estimator's probabilities to what they are in truth, and whether it is worth having."""

from typing import TYPE_CHECKING, Any, Literal

from churn_assets.model.candidates import bounds
from churn_assets.model.data.dataset import features_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Method = Literal["none", "sigmoid", "isotonic"]

MAPS: tuple[Method, Method] = ("sigmoid", "isotonic")

# Fewer rows of a class than this, in either half of the users, say nothing about a map.
LEAST_OF_A_CLASS = 10


def honest_probabilities(fitted: Any, rows: "pd.DataFrame", seed: int) -> "dict[Method, np.ndarray]":
    """The probabilities without a map and with each, of users that the map was not fitted on.

    Args:
        fitted: an estimator.
        rows: of users that it was not trained on; each map is fitted on half of them and asked about the
            other half, both ways.
        seed: says which users are in which half.

    Returns:
        ``none``, and where there are rows enough ``sigmoid`` and ``isotonic``.
    """
    from threadpoolctl import threadpool_limits

    # In one thread for the reason in candidates.py.
    with threadpool_limits(1):
        return _probabilities(fitted, rows, _half_of_the_users(rows, seed))


def brier(rows: "pd.DataFrame", probability: "np.ndarray") -> float:
    """The Brier score of probabilities in the order of the rows. Lower is better."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(rows["label"].to_numpy(), probability))


def is_worth_it(rows: "pd.DataFrame", before: "np.ndarray", after: "np.ndarray", least: float) -> bool:
    """Whether the second probabilities are better by more than ``least`` and than one standard error.

    A map is fitted on some hundred users, whose churn rate is off by chance: with any gain taken for one, the
    calibration error of a simulated log rose from 0.014 to 0.029.

    Args:
        rows: user_id, label.
        before: probabilities in the order of the rows.
        after: the same.
        least: of the Brier score.
    """
    import numpy as np

    label = rows["label"].to_numpy()
    gain = (before - label) ** 2 - (after - label) ** 2
    # By user: neighbouring dates of one say nearly the same.
    _, user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)
    by_user = np.bincount(user, weights=gain - gain.mean())
    return bool(gain.mean() > max(least, np.sqrt((by_user**2).sum()) / len(gain)))


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


def _probabilities(fitted: Any, rows: "pd.DataFrame", half: "np.ndarray") -> "dict[Method, np.ndarray]":
    label, before = rows["label"].to_numpy(), probability(fitted, rows)
    found: dict[Method, np.ndarray] = {"none": before}
    if min(int((label[side] == c).sum()) for side in (half, ~half) for c in (0, 1)) < LEAST_OF_A_CLASS:
        return found
    for method in MAPS:
        after = before.copy()
        for side in (half, ~half):
            after[~side] = probability(bounded(fitted, rows.loc[side], method), rows.loc[~side])
        found[method] = after
    return found


def _half_of_the_users(rows: "pd.DataFrame", seed: int) -> "np.ndarray":
    import numpy as np

    users = np.unique(rows["user_id"].to_numpy())
    chosen = np.random.default_rng(seed).permutation(users)[: len(users) // 2]
    return np.isin(rows["user_id"].to_numpy(), chosen)
