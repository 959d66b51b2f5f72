"""A model's performance once the labels are there, from users counted by their probability."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from churn_assets.model.metrics.evaluation import CALIBRATION_BINS, Vector
from churn_assets.model.metrics.expected import (
    expected_brier,
    expected_churn_rate,
    expected_roc_auc,
    pairs_ranked_rightly,
)
from churn_assets.settings import Settings

# Fewer rows judge no version.
FEWEST_ROWS = 200

# One-sided, 999 times in 1,000: a check that runs every day must not cry wolf every month.
STANDARD_ERRORS = 3.1


@dataclass(frozen=True)
class Counts:
    """Users counted by rising probability, or by ranges too narrow to matter; each field has shape (n,).

    ``probability`` is the mean of the element's users, ``squares`` the sum of their squared probabilities,
    ``churned_probability`` the sum over those who churned.
    """

    rows: Vector
    churned: Vector
    probability: Vector
    squares: Vector
    churned_probability: Vector


class Performance(NamedTuple):
    """What happened, beside the expectation from the same rows' probabilities.

    ``*_by_chance`` is how far off a perfect model's metric may be with so few users: how much its AUC may
    fall short, and how large its calibration error may be.
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


def realised(counts: Counts, overlap: float = 1.0) -> Performance:
    """Compute the performance of probabilities from what happened.

    Args:
        counts: at least one row.
        overlap: how many rows say the same: a user's neighbouring dates have nearly the same label, so that
            30 dates of 1,000 users are worth about 1,000 rows and not 30,000.
    """
    rows, churned = counts.rows.sum(), counts.churned.sum()
    stayed = counts.rows - counts.churned
    error, by_chance = _calibration(counts, overlap)
    auc = pairs_ranked_rightly(counts.churned, stayed)
    brier = counts.squares.sum() - 2 * counts.churned_probability.sum() + churned
    return Performance(
        rows=int(rows),
        roc_auc=auc,
        expected_roc_auc=expected_roc_auc(counts.probability, counts.rows),
        roc_auc_by_chance=auc_by_chance(auc, churned / overlap, stayed.sum() / overlap),
        brier=float(brier / rows),
        expected_brier=expected_brier(counts.probability, counts.rows),
        churn_rate=float(churned / rows),
        expected_churn_rate=expected_churn_rate(counts.probability, counts.rows),
        calibration_error=error,
        calibration_error_by_chance=by_chance,
    )


class Complaint(NamedTuple):
    """A sentence on what is wrong with a version, and its severity."""

    level: Literal["warn", "fail"]
    message: str


def complaints(
    performance: Performance, holdout_roc_auc: float | None, settings: Settings
) -> list[Complaint]:
    """List what exceeds the settings' limits by more than chance explains.

    Args:
        performance: of one version; with fewer than ``FEWEST_ROWS``, or only one class, it is not judged.
        holdout_roc_auc: of the same version when it was trained; None where it is not known.
        settings: auc_drop_warn, auc_drop_fail, calibration_warn, calibration_fail.
    """
    if too_few(performance.rows, performance.roc_auc):
        return []
    by_chance = performance.roc_auc_by_chance
    objections = [auc_complaint("AUC", performance.roc_auc, by_chance, holdout_roc_auc, settings)]
    error = performance.calibration_error
    if error > performance.calibration_error_by_chance and error > settings.calibration_warn:
        fails = error > settings.calibration_fail
        limit = settings.calibration_fail if fails else settings.calibration_warn
        message = (
            f"calibration error {error:.3f} is above {limit:g}: {performance.churn_rate:.1%} churned, "
            f"{performance.expected_churn_rate:.1%} were predicted to"
        )
        objections.append(Complaint("fail" if fails else "warn", message))
    return [complaint for complaint in objections if complaint]


def auc_complaint(
    name: str, roc_auc: float, by_chance: float, holdout_roc_auc: float | None, settings: Settings
) -> Complaint | None:
    """Return a complaint where an AUC is further below the holdout's than settings and chance allow.

    Args:
        name: of the AUC, for the message.
        roc_auc: of later rows.
        by_chance: see ``auc_by_chance``.
        holdout_roc_auc: of the same version; None where it is not known.
        settings: auc_drop_warn, auc_drop_fail.
    """
    drop = (holdout_roc_auc or 0.0) - roc_auc
    if not (drop > settings.auc_drop_warn and drop > by_chance):
        return None
    fails = drop > settings.auc_drop_fail
    limit = settings.auc_drop_fail if fails else settings.auc_drop_warn
    message = f"{name} {roc_auc:.3f} is more than {limit:g} below its holdout's {holdout_roc_auc:.3f}"
    return Complaint("fail" if fails else "warn", message)


def too_few(rows: int, roc_auc: float) -> bool:
    """Tell whether rows are too few, or all of one class, to judge a version."""
    return rows < FEWEST_ROWS or math.isnan(roc_auc)


def _calibration(counts: Counts, overlap: float) -> tuple[float, float]:
    """Return the ECE over bins of equally many users, and the bound that a calibrated model stays below.

    An element is in the bin of its middle user as a whole, so that equal probabilities share a bin.
    """
    middle = np.cumsum(counts.rows) - counts.rows / 2
    bins = np.minimum(middle / counts.rows.sum() * CALIBRATION_BINS, CALIBRATION_BINS - 1).astype("int64")
    surplus = counts.churned - counts.rows * counts.probability
    of_chance = counts.rows * counts.probability * (1 - counts.probability) * overlap
    # For each bin, as shares of all rows: observed minus predicted, and its standard deviation by chance.
    off = np.abs(np.bincount(bins, surplus)) / counts.rows.sum()
    deviation = np.sqrt(np.bincount(bins, of_chance)) / counts.rows.sum()
    # The absolute value of a normal variable has this mean and variance.
    mean, variance = np.sqrt(2 / np.pi) * deviation.sum(), (1 - 2 / np.pi) * np.square(deviation).sum()
    return float(off.sum()), float(mean + STANDARD_ERRORS * np.sqrt(variance))


def auc_by_chance(auc: float, churned: float, stayed: float) -> float:
    """Return by how much the AUC of so many users may fall short by chance; NaN where there is no AUC.

    3.1 standard errors after Hanley and McNeil (1982).
    """
    if not (churned and stayed):
        return float("nan")
    two_churned, two_stayed = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (churned - 1) * (two_churned - auc**2) + (stayed - 1) * (two_stayed - auc**2)
    ) / (churned * stayed)
    return float(STANDARD_ERRORS * np.sqrt(max(variance, 0.0)))
