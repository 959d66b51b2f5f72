"""The numbers behind a report's pictures: what a ranking, a probability and a threshold are worth."""

from typing import Any, NamedTuple

import numpy as np

from churn_assets.model.metrics import evaluation
from churn_assets.model.metrics.evaluation import CostMatrix

Array = np.ndarray[Any, np.dtype[np.float64]]

# A curve of a hundred thousand rows has as many corners; these are more than a picture can show.
POINTS = 250
LIFTED = evaluation.LIFTED_SHARE


class Curve(NamedTuple):
    """Points of a line, and the number that sums it up."""

    x: Array
    y: Array
    summary: float


def usable(label: Any, probability: Any) -> bool:
    """Whether these can be drawn: as many of each, both classes, probabilities from 0 to 1."""
    if label is None or probability is None or len(label) == 0 or len(label) != len(probability):
        return False
    values = np.asarray(probability, dtype="float64")
    between = bool(np.isfinite(values).all()) and values.min() >= 0 and values.max() <= 1
    return between and set(np.unique(np.asarray(label))) == {0, 1}


def roc(label: Array, probability: Array) -> Curve:
    """Share of churners found over the share of stayers taken for churners; summary: area below."""
    from sklearn.metrics import roc_auc_score, roc_curve

    false_positive, true_positive, _ = roc_curve(label, probability)
    kept = _corners(len(true_positive))
    return Curve(false_positive[kept], true_positive[kept], float(roc_auc_score(label, probability)))


def precision_recall(label: Array, probability: Array) -> Curve:
    """Share of churners among those flagged over the share of churners found; summary: average precision."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(label, probability)
    # scikit-learn ends with a corner of its own, nobody found at full precision, which no threshold gives.
    kept = _corners(len(recall) - 1)
    return Curve(recall[kept], precision[kept], float(average_precision_score(label, probability)))


def reliability(label: Array, probability: Array) -> Curve:
    """Churn rate over mean probability, in ten bins of equally many rows; summary: mean distance (ECE)."""
    bins = reliability_bins(label, probability)
    predicted, happened, _ = np.array(bins).T
    return Curve(predicted, happened, evaluation.calibration_error(label, probability))


def reliability_bins(label: Array, probability: Array) -> list[tuple[float, float, int]]:
    """Mean probability, churn rate and rows of each bin of ``evaluation.calibration_error``, rising."""
    from scipy.stats import rankdata

    # By the middle of equal probabilities, as there: rows that the model cannot tell apart stay together.
    middle = rankdata(-probability) - 0.5
    number = (evaluation.CALIBRATION_BINS * middle / len(label)).astype(np.intp)
    bins = [number == one for one in np.unique(number)[::-1]]
    return [(float(probability[rows].mean()), float(label[rows].mean()), int(rows.sum())) for rows in bins]


def gain(label: Array, probability: Array) -> Curve:
    """Share of churners reached over the share of users contacted, likeliest first; summary: lift at 10 %.

    Users of equal probability come in no order, so they count as if all were shared out evenly.
    """
    values, inverse, users = np.unique(-np.asarray(probability), return_inverse=True, return_counts=True)
    churners = np.bincount(inverse, weights=label, minlength=len(values))
    contacted = np.concatenate([[0.0], np.cumsum(users)]) / len(label)
    reached = np.concatenate([[0.0], np.cumsum(churners)]) / churners.sum()
    at = np.linspace(0, 1, POINTS + 1)
    return Curve(at, np.interp(at, contacted, reached), evaluation.lift(label, probability, LIFTED))


def profit(label: Array, probability: Array, costs: CostMatrix) -> Curve:
    """Profit per 1,000 users over the threshold from which on to contact; summary: at that of ``costs``."""
    order = np.argsort(-np.asarray(probability), kind="stable")
    ranked, churners = np.asarray(probability)[order], np.concatenate([[0.0], np.cumsum(label[order])])

    def at(thresholds: Array) -> Array:
        contacted = np.searchsorted(-ranked, -thresholds, side="right")
        gained = churners[contacted] * costs.save_rate * costs.saved_value - contacted * costs.contact_cost
        return 1000 * gained / len(label)

    thresholds = np.linspace(0, 1, POINTS + 1)
    return Curve(thresholds, at(thresholds), float(at(np.array([costs.threshold]))[0]))


def contacted(label: Array, probability: Array, threshold: float) -> tuple[float, float, float]:
    """Share of users from the threshold on, of churners among them, and of all churners who are there."""
    chosen = np.asarray(probability) >= threshold
    churners = float(np.sum(label[chosen]))
    among = churners / chosen.sum() if chosen.any() else 0.0
    return float(chosen.mean()), float(among), churners / float(np.sum(label))


def _corners(found: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.unique(np.linspace(0, found - 1, min(found, 2 * POINTS)).astype(np.intp))
