"""Metrics of probabilities on rows that the model was not trained on, and the worth of contacting users."""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from churn_assets.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from churn_assets.settings import Settings

# One-dimensional: a value for each row, unless a docstring says otherwise.
Vector = np.ndarray[Any, np.dtype[np.float64]]

CALIBRATION_BINS = 10
LIFTED_SHARE = 0.1


class CostMatrix(NamedTuple):
    """The cost of contacting a user, and its gain if the user would have churned, in one currency.

    ``save_rate`` is the share of contacted users who then stay though they would have churned.
    """

    contact_cost: float
    saved_value: float
    save_rate: float

    @classmethod
    def of(cls, settings: "Settings", save_rate: float | None = None) -> Self:
        """Return the costs in the settings, with another save rate where one was measured."""
        rate = settings.save_rate if save_rate is None else save_rate
        return cls(settings.contact_cost, settings.saved_value, rate)

    @property
    def gain(self) -> float:
        """The average gain of contacting a user who would churn, before the cost of contact."""
        return self.save_rate * self.saved_value

    @property
    def threshold(self) -> float:
        """The lowest probability of churn at which contacting a user pays, at most 1."""
        if self.save_rate == 0:
            return 1.0
        return min(1.0, self.contact_cost / self.gain)

    @property
    def can_pay(self) -> bool:
        """Whether contacting any user can pay: not where a contact costs more than it can gain."""
        return self.contact_cost <= self.gain

    def profit(self, label: "Vector", probability: "Vector") -> "Vector":
        """Return each user's profit if those from the threshold up are contacted; all of shape (rows,)."""
        if self.save_rate == 0:
            # Known to save nobody: nobody is contacted, however sure their churn.
            return np.zeros(np.shape(probability))
        return np.where(probability >= self.threshold, label * self.gain - self.contact_cost, 0.0)


DEFAULT_COSTS = CostMatrix(contact_cost=1.0, saved_value=50.0, save_rate=0.1)


def evaluate(
    label: "ArrayLike", probability: "ArrayLike", costs: CostMatrix = DEFAULT_COSTS
) -> dict[str, float]:
    """Judge probabilities of churn against what happened.

    Args:
        label: 1 churned, 0 stayed; shape (rows,).
        probability: of label 1, 0 to 1, in the same order and shape.
        costs: what a contact costs and gains.

    Returns:
        roc_auc, pr_auc (average precision), brier, log_loss and calibration_error (these three: lower is
        better), lift_10, profit (per 1,000 rows, in the currency of ``costs``), churn_rate (share of
        label 1), rows.

    Raises:
        ModelError: the labels are all the same, so nothing can be ranked; or a probability is missing, not
            finite or outside 0 to 1.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    labels, probabilities = np.asarray(label, "float64"), np.asarray(probability, "float64")
    _require_both_classes(labels)
    _require_probabilities(probabilities, labels.shape)
    return {
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "pr_auc": float(average_precision_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
        "log_loss": float(log_loss(labels, probabilities)),
        "calibration_error": calibration_error(labels, probabilities),
        "lift_10": lift(labels, probabilities, LIFTED_SHARE),
        "profit": 1000 * float(costs.profit(labels, probabilities).mean()),
        "churn_rate": float(labels.mean()),
        "rows": float(len(labels)),
    }


def calibration_error(label: "Vector", probability: "Vector") -> float:
    """Return the expected calibration error: the mean distance of a bin's probability from its churn rate.

    There are ten bins of equal count, from the most probable down, or fewer where many rows have one
    probability. scikit-learn's ``calibration_curve``
    ignores how many rows a bin has, and splits equal probabilities where a quantile happens to fall; here
    they all go into the bin in which the middle one of them belongs.
    """
    import pandas as pd

    middle = pd.Series(-probability).rank(method="average").to_numpy() - 0.5
    bins = (CALIBRATION_BINS * middle / len(label)).astype("int64")
    gaps = np.bincount(bins, weights=probability - label, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(label))


def lift(label: "Vector", probability: "Vector", share: float) -> float:
    """Return the churn rate of the ``share`` of rows with the highest probabilities, over that of all rows.

    Rows of equal probability at the border count in part, with their common churn rate, so that the order of
    the rows does not matter.
    """
    from sklearn.metrics import confusion_matrix_at_thresholds

    _, stayed, _, churned, _ = confusion_matrix_at_thresholds(label, probability)
    place = share * len(label)
    caught = np.interp(place, np.append(0.0, stayed + churned), np.append(0.0, churned))
    return float(caught / place / label.mean())


def _require_both_classes(label: "ArrayLike") -> None:
    classes = np.unique(np.asarray(label))
    if len(classes) < 2:
        present = f"only label {classes[0]:g}" if len(classes) else "no label at all"
        raise ModelError(
            f"The holdout has {present}; judging a model takes churned and staying users. "
            "Look at gold.churn_labels for the last mature dates."
        )


def _require_probabilities(probability: "Vector", shape: tuple[int, ...]) -> None:
    if probability.shape != shape:
        raise ModelError(
            f"{probability.size:,} probabilities for {shape[0]:,} rows; "
            "a model is judged by one for each row, in the same order."
        )
    missing = int((~np.isfinite(probability)).sum())
    if missing:
        raise ModelError(
            f"{missing:,} of {probability.size:,} probabilities are missing or infinite; "
            "a model is judged by all. Look at the model's answers for the holdout."
        )
    lowest, highest = probability.min(), probability.max()
    if lowest < 0 or highest > 1:
        raise ModelError(
            f"Probabilities from {lowest:g} to {highest:g}; they must be within 0 and 1. "
            "Judge what predict_proba returns, and not a score."
        )
