"""How good a model is if its probabilities are true: known at once, while labels take a horizon to ripen.

Each user churns with his probability, whatever the others do, so every measure has an expectation. It is an
estimate as honest as the probabilities are calibrated: once the labels are there, it is put beside what
happened (``performance.realised``).

Everywhere ``rows`` says how many users share a probability, for scores that were counted where they lie;
without it each is one user's.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats = NDArray[np.float64]


def expected_roc_auc(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """The share of pairs of a user who will churn and one who will stay that the probabilities rank rightly.

    Expected right pairs by expected pairs; ties count half. Sorting is the slowest part.

    Args:
        probability: of churn, 0 to 1.
        rows: users with it.

    Returns:
        0.5 to 1; NaN where no such pair can exist: fewer than two users, or all sure to do the same.
    """
    values, number = _users(probability, rows)
    if number.sum() < 2:
        return float("nan")
    distinct, position = np.unique(values, return_inverse=True)
    users = np.bincount(position, number, len(distinct))
    # Of a tie, a user makes no pair with himself.
    return pairs_ranked_rightly(distinct * users, (1 - distinct) * users, distinct * (1 - distinct) * users)


def expected_brier(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """The mean squared error that is left to chance: the mean of p(1-p). NaN without users."""
    values, number = _users(probability, rows)
    return _mean(values * (1 - values), number)


def expected_churn_rate(probability: "ArrayLike", rows: "ArrayLike | None" = None) -> float:
    """The share of users who will churn: the mean probability. NaN without users."""
    return _mean(*_users(probability, rows))


def pairs_ranked_rightly(churned: Floats, stayed: Floats, with_himself: Floats | float = 0.0) -> float:
    """The area under the ROC curve from numbers of users by rising score; users of one element are a tie.

    Args:
        churned: how many churn.
        stayed: how many stay.
        with_himself: pairs within an element that would be of one user with himself.

    Returns:
        0 to 1; NaN where there is no pair.
    """
    stayed_below = np.cumsum(stayed) - stayed
    right = np.sum(churned * stayed_below + (churned * stayed - with_himself) / 2)
    pairs = churned.sum() * stayed.sum() - np.sum(with_himself)
    return float(right / pairs) if pairs > 0 else float("nan")


def _users(probability: "ArrayLike", rows: "ArrayLike | None") -> tuple[Floats, Floats]:
    values: Any = np.asarray(probability, dtype="float64")
    return values, np.ones_like(values) if rows is None else np.asarray(rows, dtype="float64")


def _mean(values: Floats, number: Floats) -> float:
    return float(np.average(values, weights=number)) if number.sum() else float("nan")
