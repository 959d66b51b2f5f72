"""What a model's probabilities were worth once the labels came, from users counted by their probability."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from churn_assets.model.expected import (
    Floats,
    expected_brier,
    expected_churn_rate,
    expected_roc_auc,
    pairs_ranked_rightly,
)

CALIBRATION_BINS = 10

# One-sided, 999 times in 1,000: a check that looks every day must not cry wolf every month.
STANDARD_ERRORS = 3.1


@dataclass(frozen=True)
class Counts:
    """Users by probability, rising; one element a probability, or a range too narrow to matter.

    ``probability`` is the mean of the element's users, ``squares`` the sum of their squared probabilities,
    ``churned_probability`` the sum over those who churned.
    """

    rows: Floats
    churned: Floats
    probability: Floats
    squares: Floats
    churned_probability: Floats


class Performance(NamedTuple):
    """What happened, beside what the same rows' probabilities had led to expect.

    ``*_by_chance`` is how far a perfect model's figure may lie off with so few users: by how much its AUC may
    fall short, and up to what its calibration error may be.
    """

    rows: int
    roc_auc: float
    expected_roc_auc: float
    roc_auc_by_chance: float
    brier: float
    expected_brier: float
    churn_rate: float
    expected_churn_rate: float
    calibration_error: float
    calibration_error_by_chance: float


def performance(counts: Counts, overlap: float = 1.0) -> Performance:
    """Judge probabilities by what happened.

    Args:
        counts: at least one row.
        overlap: how many of the rows tell the same: a user's neighbouring dates have nearly the same label,
            so that 30 dates of 1,000 users are worth about 1,000 rows and not 30,000.
    """
    rows, churned = counts.rows.sum(), counts.churned.sum()
    stayed = counts.rows - counts.churned
    error, by_chance = _calibration(counts, overlap)
    realised = pairs_ranked_rightly(counts.churned, stayed)
    brier = counts.squares.sum() - 2 * counts.churned_probability.sum() + churned
    return Performance(
        rows=int(rows),
        roc_auc=realised,
        expected_roc_auc=expected_roc_auc(counts.probability, counts.rows),
        roc_auc_by_chance=_auc_by_chance(realised, churned / overlap, stayed.sum() / overlap),
        brier=float(brier / rows),
        expected_brier=expected_brier(counts.probability, counts.rows),
        churn_rate=float(churned / rows),
        expected_churn_rate=expected_churn_rate(counts.probability, counts.rows),
        calibration_error=error,
        calibration_error_by_chance=by_chance,
    )


def _calibration(counts: Counts, overlap: float) -> tuple[float, float]:
    """The expected calibration error, bins of equally many users, and what a calibrated model stays below.

    An element lies whole in the bin of its middle user, so that equal probabilities share a bin.
    """
    middle = np.cumsum(counts.rows) - counts.rows / 2
    bins = np.minimum(middle / counts.rows.sum() * CALIBRATION_BINS, CALIBRATION_BINS - 1).astype("int64")
    surplus = counts.churned - counts.rows * counts.probability
    of_chance = counts.rows * counts.probability * (1 - counts.probability) * overlap
    # In shares of all rows, of each bin: observed minus predicted, and its standard deviation by chance.
    off = np.abs(np.bincount(bins, surplus)) / counts.rows.sum()
    deviation = np.sqrt(np.bincount(bins, of_chance)) / counts.rows.sum()
    # The absolute value of a normal variable has this mean and variance.
    mean, variance = np.sqrt(2 / np.pi) * deviation.sum(), (1 - 2 / np.pi) * np.square(deviation).sum()
    return float(off.sum()), float(mean + STANDARD_ERRORS * np.sqrt(variance))


def _auc_by_chance(auc: float, churned: float, stayed: float) -> float:
    """Hanley and McNeil's standard error of an AUC (1982), so many times; NaN where there is no AUC."""
    if not (churned and stayed):
        return float("nan")
    two_churned, two_stayed = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (churned - 1) * (two_churned - auc**2) + (stayed - 1) * (two_stayed - auc**2)
    ) / (churned * stayed)
    return float(STANDARD_ERRORS * np.sqrt(max(variance, 0.0)))
