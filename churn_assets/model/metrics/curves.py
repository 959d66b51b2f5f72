"""The numbers behind a report's pictures: the worth of a ranking, a probability and a threshold.

Everywhere ``label`` (1 churned, 0 stayed) and ``probability`` have the shape (rows,), in the same order.
"""

from typing import Any, NamedTuple

import numpy as np

from churn_assets.model.metrics import evaluation
from churn_assets.model.metrics.evaluation import CostMatrix, Vector

# A curve of a hundred thousand rows has as many corners, more than a picture can show.
POINTS = 250
LIFTED = evaluation.LIFTED_SHARE


class Curve(NamedTuple):
    """The points of a line, and a number that summarises it."""

    x: Vector
    y: Vector
    summary: float


def can_be_drawn(label: Any, probability: Any) -> bool:
    """Tell whether curves can be drawn: equal lengths, both classes, probabilities from 0 to 1."""
    if label is None or probability is None or len(label) == 0 or len(label) != len(probability):
        return False
    values = np.asarray(probability, dtype="float64")
    between = bool(np.isfinite(values).all()) and values.min() >= 0 and values.max() <= 1
    return between and set(np.unique(np.asarray(label))) == {0, 1}


def roc(label: Vector, probability: Vector) -> Curve:
    """Return the true positive rate over the false positive rate; summary: the area below."""
    from sklearn.metrics import roc_auc_score, roc_curve

    false_positive, true_positive, _ = roc_curve(label, probability)
    kept = _corners(len(true_positive))
    return Curve(false_positive[kept], true_positive[kept], float(roc_auc_score(label, probability)))


def precision_recall(label: Vector, probability: Vector) -> Curve:
    """Return precision over recall; summary: the average precision."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(label, probability)
    # scikit-learn adds a last corner, full precision at no recall, which no threshold gives.
    kept = _corners(len(recall) - 1)
    return Curve(recall[kept], precision[kept], float(average_precision_score(label, probability)))


def reliability(label: Vector, probability: Vector) -> Curve:
    """Return churn rate over mean probability, a point for each of ``reliability_bins``; summary: the ECE."""
    bins = reliability_bins(label, probability)
    predicted, happened, _ = np.array(bins).T
    return Curve(predicted, happened, evaluation.calibration_error(label, probability))


def reliability_bins(label: Vector, probability: Vector) -> list[tuple[float, float, int]]:
    """Return mean probability, churn rate and rows of each bin of ``calibration_error``, rising.

    There are fewer than ten, of unequal size, where many rows have one probability.
    """
    from scipy.stats import rankdata

    # By the middle of equal probabilities, as there: rows of equal probability stay together.
    middle = rankdata(-probability) - 0.5
    number = (evaluation.CALIBRATION_BINS * middle / len(label)).astype(np.intp)
    bins = [number == unique for unique in np.unique(number)[::-1]]
    return [(float(probability[rows].mean()), float(label[rows].mean()), int(rows.sum())) for rows in bins]


def gain(label: Vector, probability: Vector) -> Curve:
    """Return the share of churners over the share of users contacted, likeliest first; summary: lift at 10 %.

    Users of equal probability have no order, so churners count as evenly spread among them.
    """
    values, inverse, users = np.unique(-np.asarray(probability), return_inverse=True, return_counts=True)
    churners = np.bincount(inverse, weights=label, minlength=len(values))
    contacted = np.concatenate([[0.0], np.cumsum(users)]) / len(label)
    reached = np.concatenate([[0.0], np.cumsum(churners)]) / churners.sum()
    shares = np.linspace(0, 1, POINTS + 1)
    return Curve(shares, np.interp(shares, contacted, reached), evaluation.lift(label, probability, LIFTED))


def profit(label: Vector, probability: Vector, costs: CostMatrix) -> Curve:
    """Return the profit per 1,000 users over the contact threshold; summary: the profit at ``costs``'s."""
    order = np.argsort(-np.asarray(probability), kind="stable")
    ranked, churners = np.asarray(probability)[order], np.concatenate([[0.0], np.cumsum(label[order])])

    def profits(thresholds: Vector) -> Vector:
        contacted = np.searchsorted(-ranked, -thresholds, side="right")
        gained = churners[contacted] * costs.save_rate * costs.saved_value - contacted * costs.contact_cost
        return 1000 * gained / len(label)

    thresholds = np.linspace(0, 1, POINTS + 1)
    return Curve(thresholds, profits(thresholds), float(profits(np.array([costs.threshold]))[0]))


def contact_shares(label: Vector, probability: Vector, threshold: float) -> tuple[float, float, float]:
    """Return the share of users at or above the threshold, the churn rate among them, and their recall."""
    chosen = np.asarray(probability) >= threshold
    churners = float(np.sum(label[chosen]))
    among = churners / chosen.sum() if chosen.any() else 0.0
    return float(chosen.mean()), float(among), churners / float(np.sum(label))


def _corners(points: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the indices of at most ``2 * POINTS`` of so many points, evenly spaced."""
    return np.unique(np.linspace(0, points - 1, min(points, 2 * POINTS)).astype(np.intp))
