"""Bounded probabilities: they say no more than the calibration users can support, never 0 and never 1.

Every estimator made here is of scikit-learn's classes, so that a logged model needs nothing else to load.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from churn_assets.model.data.dataset import features_in

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.model.metrics.evaluation import Vector

# Users of whom nothing is known but the churn rate, added to those who are known: with two, and a churn rate
# of a half, this is Laplace's rule of succession, (k + 1) / (n + 2).
UNKNOWN_USERS = 2


class Bounds(NamedTuple):
    """The lowest and the highest probability that an estimator can give."""

    lowest: float
    highest: float


def with_counterexamples(fitted: Any, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows and one more user at either end of the ranking, with the opposite label.

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
        pd.concat([rows.iloc[[index]].assign(label=label)] * copies)
        for index, label in ((ranking.argmin(), 1), (ranking.argmax(), 0))
    )
    return pd.concat([rows, churner, stayer], ignore_index=True)


def drawn_to_churn_rate(estimator: Any, rows: "pd.DataFrame") -> Any:
    """Return the estimator with each probability p as (n p + 2 r) / (n + 2), of n users with churn rate r.

    It rises with p, so no user's rank changes, and the mean of honest probabilities stays. That none of n
    users churned supports about as much: of the next two, no more than the share r is known to churn.

    Args:
        estimator: fitted, with ``predict_proba``.
        rows: the calibration rows: user_id, the features, label.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    voters = [("model", FrozenEstimator(estimator)), ("churn_rate", DummyClassifier(strategy="prior"))]
    weights = [rows["user_id"].nunique(), UNKNOWN_USERS]
    voting = VotingClassifier(voters, voting="soft", weights=weights)
    return voting.fit(rows[features_in(rows)], rows["label"])


def bounds_of(estimator: Any) -> Bounds:
    """Return the bounds of an estimator that ``calibration.with_bounded_map`` made."""
    from sklearn.ensemble import VotingClassifier

    if isinstance(estimator, VotingClassifier):
        # Any: the type checker does not know the attributes of a fitted one.
        voting: Any = estimator
        users, unknown = voting.weights
        rate = float(voting.estimators_[1].class_prior_[1])
        return Bounds(unknown * rate / (users + unknown), (users + unknown * rate) / (users + unknown))
    steps = estimator.calibrated_classifiers_[0].calibrators[0].y_thresholds_
    return Bounds(float(steps[0]), float(steps[-1]))


def _ranking(fitted: Any, rows: "pd.DataFrame") -> "Vector":
    # The log-odds where there are any, as scikit-learn's maps take them: where probabilities have been
    # rounded to 1, they still tell which is the highest.
    if hasattr(fitted, "decision_function"):
        return fitted.decision_function(rows[features_in(rows)])
    return fitted.predict_proba(rows[features_in(rows)])[:, 1]
