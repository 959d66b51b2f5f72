"""Probabilities that say no more than the calibration users can tell: never 0, never 1.

What is made here is scikit-learn's own, so that a logged model needs nothing else wherever it is loaded.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from churn_assets.model.data.dataset import features_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Users of whom nothing is known but the churn rate, added to those who are known: with two, and a churn rate
# of a half, this is Laplace's rule of succession, (k + 1) / (n + 2).
UNKNOWN_USERS = 2


class Bounds(NamedTuple):
    """The lowest and the highest probability that an estimator can give."""

    lowest: float
    highest: float


def with_exceptions(fitted: Any, rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows, and one more user at either end of the ranking who does the opposite.

    A step of an isotonic map on which all of n users stayed then says 1 / (n + 1), for the n of that step:
    three users support less than three hundred. The ends may reach as far as the first step that says more.

    Args:
        fitted: an estimator.
        rows: the calibration rows: user_id, the features, label. A user has several, which say nearly
            the same, so one more user is as many rows as a user has on average.
    """
    import pandas as pd

    copies = max(1, round(len(rows) / rows["user_id"].nunique()))
    ranking = _ranking(fitted, rows)
    churner, stayer = (
        pd.concat([rows.iloc[[place]].assign(label=label)] * copies)
        for place, label in ((ranking.argmin(), 1), (ranking.argmax(), 0))
    )
    return pd.concat([rows, churner, stayer], ignore_index=True)


def tempered(estimator: Any, rows: "pd.DataFrame") -> Any:
    """The estimator with each probability p as (n p + 2 r) / (n + 2), of n users with the churn rate r.

    It rises with p, so nobody's rank changes, and the mean of honest probabilities stays. n users among whom
    nobody churns say about as much: that of the next two not more than r are known to.

    Args:
        estimator: fitted, with ``predict_proba``.
        rows: the calibration rows: user_id, the features, label.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    voters = [("model", FrozenEstimator(estimator)), ("churn_rate", DummyClassifier(strategy="prior"))]
    weights = [rows["user_id"].nunique(), UNKNOWN_USERS]
    together = VotingClassifier(voters, voting="soft", weights=weights)
    return together.fit(rows[features_in(rows)], rows["label"])


def reach(estimator: Any) -> Bounds:
    """How far the probabilities of an estimator reach that ``calibration.bounded`` made."""
    from sklearn.ensemble import VotingClassifier

    if isinstance(estimator, VotingClassifier):
        # Any: the type checker does not know what a fitted one has.
        voting: Any = estimator
        users, unknown = voting.weights
        rate = float(voting.estimators_[1].class_prior_[1])
        return Bounds(unknown * rate / (users + unknown), (users + unknown * rate) / (users + unknown))
    steps = estimator.calibrated_classifiers_[0].calibrators[0].y_thresholds_
    return Bounds(float(steps[0]), float(steps[-1]))


def _ranking(fitted: Any, rows: "pd.DataFrame") -> "np.ndarray":
    # The log-odds where there are any, as scikit-learn's maps take them: of probabilities that have been
    # rounded to 1 they still know the highest.
    if hasattr(fitted, "decision_function"):
        return fitted.decision_function(rows[features_in(rows)])
    return fitted.predict_proba(rows[features_in(rows)])[:, 1]
