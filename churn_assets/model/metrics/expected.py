"""The metrics to expect if a model's probabilities are true: known a horizon before the labels.

Each user churns with their probability, independently of the others, so every metric has an expectation. It
is right as far as the probabilities are calibrated; once the labels are there, ``performance.realised``
compares it with what happened.

Everywhere ``probability`` has the shape (n,), and ``rows``, of the same shape, says how many users share each
probability, for scores that were counted in the engine; without it each is one user's.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.model.metrics.evaluation import Vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def expected_roc_auc(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """Return the expected share of pairs of a churning and a staying user that are ranked rightly.

    It is expected right pairs over expected pairs; ties count half. Sorting is the slowest part.

    Args:
        probability: of churn, 0 to 1.
        rows: users with each probability.

    Returns:
        0.5 to 1; NaN where no such pair can exist: fewer than two users, or all sure to do the same.
    """
    values, number = _users(probability, rows)
    if number.sum() < 2:
        return float("nan")
    distinct, position = np.unique(values, return_inverse=True)
    users = np.bincount(position, number, len(distinct))
    # In a tie, a user makes no pair with themselves.
    return pairs_ranked_rightly(distinct * users, (1 - distinct) * users, distinct * (1 - distinct) * users)


def expected_brier(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """Return the expected mean squared error, the mean of p(1-p). NaN without users."""
    values, number = _users(probability, rows)
    return _mean(values * (1 - values), number)


def expected_churn_rate(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """Return the expected share of users who churn, the mean probability. NaN without users."""
    return _mean(*_users(probability, rows))


def pairs_ranked_rightly(churned: Vector, stayed: Vector, self_pairs: Vector | float = 0.0) -> float:
    """Return the area under the ROC curve, from numbers of users by rising score; each element is a tie.

    Args:
        churned: users who churn, shape (scores,).
        stayed: users who stay, of the same shape.
        self_pairs: pairs within an element that would be of a user with themselves.

    Returns:
        0 to 1; NaN where there is no pair.
    """
    stayed_below = np.cumsum(stayed) - stayed
    right = np.sum(churned * stayed_below + (churned * stayed - self_pairs) / 2)
    pairs = churned.sum() * stayed.sum() - np.sum(self_pairs)
    return float(right / pairs) if pairs > 0 else float("nan")


def _users(probability: "ArrayLike", rows: "ArrayLike | None") -> tuple[Vector, Vector]:
    values: Any = np.asarray(probability, dtype="float64")
    return values, np.ones_like(values) if rows is None else np.asarray(rows, dtype="float64")


def _mean(values: Vector, number: Vector) -> float:
    return float(np.average(values, weights=number)) if number.sum() else float("nan")
