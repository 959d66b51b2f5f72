"""The bootstrap: how much metrics vary by chance, from users drawn with replacement, the same for all models.

Whole users are drawn, not rows. A user's rows of neighbouring dates say nearly the same, so drawing rows
would count thirty dates of one user as thirty users, and nearly every difference as more than noise.

scikit-learn's metrics take weights, but sort all rows each time: 200 draws of 100,000 rows took minutes. Here
rows are sorted once; a property test compares each metric with scikit-learn's.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn_assets.model.metrics.evaluation import (
    CALIBRATION_BINS,
    DEFAULT_COSTS,
    LIFTED_SHARE,
    CostMatrix,
    Vector,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """The middle 95 % of a metric's draws, in the metric's unit."""

    low: float
    high: float


def interval(drawn: Vector) -> Interval:
    """Return the percentile interval of a metric's draws, shape (replicates,); NaN if one draw is NaN."""
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


class Sampling(NamedTuple):
    """The number of draws and their seed: an equal sampling gives equal draws."""

    replicates: int
    seed: int

    def draws(self, users: int) -> Iterator[Vector]:
        """Yield for each replicate how often each user is drawn, shape (users,); the sum is ``users``."""
        generator = np.random.default_rng(self.seed)
        for _ in range(self.replicates):
            yield np.bincount(generator.integers(0, users, users), minlength=users).astype("float64")


def user_numbers(user_id: "ArrayLike") -> np.ndarray:
    """Number the users from 0; return the number of each row's user, shape (rows,)."""
    return np.unique(np.asarray(user_id), return_inverse=True)[1]


class Ranking:
    """Rows sorted by one model's probabilities, the highest first, to be judged under many weights.

    Args:
        user: number of each row's user, counted from 0; shape (rows,).
        label: 1 churned, 0 stayed; shape (rows,).
        probability: of label 1; shape (rows,).
        costs: for the profit.
    """

    def __init__(
        self, user: np.ndarray, label: Vector, probability: Vector, costs: CostMatrix = DEFAULT_COSTS
    ) -> None:
        order = np.argsort(-probability, kind="stable")
        self._user = user[order]
        self._label, probability = label[order], probability[order]
        # Rows of equal probability are one step: each curve has one point at the last of them.
        self._last = np.flatnonzero(np.append(np.diff(probability) != 0, True))
        self._steps = probability[self._last]
        squared = (probability - self._label) ** 2
        profit = costs.profit(self._label, probability)
        self._means = np.column_stack([squared, _log_loss(self._label, probability), 1000 * profit])

    def roc_auc(self, weight_by_user: Vector) -> float:
        """Return the ROC AUC, 0 to 1, for weights of shape (users,); NaN where one label has no weight."""
        return _roc_auc(*self._curve(weight_by_user[self._user]))

    def metrics(self, weight_by_user: Vector) -> dict[str, float]:
        """Return ``evaluation.evaluate``'s metrics, without churn_rate and rows, for weights (users,)."""
        weight = weight_by_user[self._user]
        rows, churned = self._curve(weight)
        brier, log_loss, profit = (weight @ self._means / rows[-1]).tolist()
        return {
            "roc_auc": _roc_auc(rows, churned),
            "pr_auc": _pr_auc(rows, churned),
            "brier": brier,
            "log_loss": log_loss,
            "calibration_error": _calibration_error(rows, churned, self._steps),
            "lift_10": _lift(rows, churned, LIFTED_SHARE),
            "profit": profit,
        }

    def _curve(self, weight: Vector) -> tuple[Vector, Vector]:
        """Return the cumulative weight of all and of churned rows at each step: two of shape (steps + 1,)."""
        rows, churned = np.zeros(len(self._last) + 1), np.zeros(len(self._last) + 1)
        np.cumsum(weight).take(self._last, out=rows[1:])
        np.cumsum(weight * self._label).take(self._last, out=churned[1:])
        return rows, churned


def paired_draws(rankings: Sequence[Ranking], users: int, sampling: Sampling) -> list[dict[str, Vector]]:
    """Compute the metrics of several models under the same draws.

    Returns:
        For each ranking its metrics by name, each of shape (replicates,).
    """
    drawn: list[list[dict[str, float]]] = [[] for _ in rankings]
    for weight in sampling.draws(users):
        for ranking, metrics in zip(rankings, drawn, strict=True):
            metrics.append(ranking.metrics(weight))
    return [
        {name: np.array([values[name] for values in metrics]) for name in (metrics[0] if metrics else ())}
        for metrics in drawn
    ]


def _log_loss(label: Vector, probability: Vector) -> Vector:
    # As scikit-learn, which keeps the logarithm of 0 finite.
    epsilon = np.finfo("float64").eps
    of_label = np.where(label == 1, probability, 1 - probability)
    return -np.log(np.clip(of_label, epsilon, 1 - epsilon))


def _roc_auc(rows: Vector, churned: Vector) -> float:
    stayed = rows - churned
    pairs = churned[-1] * stayed[-1]
    if pairs == 0:
        return float("nan")
    # Each staying row is behind all churned ones of the steps before, and level with half of its own step's.
    return float((stayed[1:] - stayed[:-1]) @ (churned[1:] + churned[:-1]) / 2 / pairs)


def _pr_auc(rows: Vector, churned: Vector) -> float:
    if churned[-1] == 0:
        return float("nan")
    precision = np.divide(churned, rows, out=np.zeros_like(rows), where=rows > 0)
    return float((churned[1:] - churned[:-1]) @ precision[1:] / churned[-1])


def _calibration_error(rows: Vector, churned: Vector, probability: Vector) -> float:
    middle = (rows[1:] + rows[:-1]) / 2
    # A step without weight at the very end is in an eleventh bin, and adds nothing there.
    bins = (CALIBRATION_BINS * middle / rows[-1]).astype("int64")
    gaps = probability * (rows[1:] - rows[:-1]) - (churned[1:] - churned[:-1])
    return float(np.abs(np.bincount(bins, weights=gaps)).sum() / rows[-1])


def _lift(rows: Vector, churned: Vector, share: float) -> float:
    if churned[-1] == 0:
        return float("nan")
    place = share * rows[-1]
    return float(np.interp(place, rows, churned) / place / (churned[-1] / rows[-1]))
