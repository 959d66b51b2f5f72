"""What a model's probabilities were worth once the labels came, from users counted by their probability."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from churn_assets.model.metrics.expected import (
    Floats,
    expected_brier,
    expected_churn_rate,
    expected_roc_auc,
    pairs_ranked_rightly,
)
from churn_assets.settings import Settings

# Fewer rows judge nobody.
FEWEST_ROWS = 200

CALIBRATION_BINS = 10

# One-sided, 999 times in 1,000: a check that looks every day must not cry wolf every month.
STANDARD_ERRORS = 3.1


@dataclass(frozen=True)
class Counts:
    """Users by probability, rising; one element each probability, or each range too narrow to matter.

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


def realised(counts: Counts, overlap: float = 1.0) -> Performance:
    """Judge probabilities by what happened.

    Args:
        counts: at least one row.
        overlap: how many of the rows tell the same: a user's neighbouring dates have nearly the same label,
            so that 30 dates of 1,000 users are worth about 1,000 rows and not 30,000.
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
    """What is wrong with a version, and how badly."""

    level: Literal["warn", "fail"]
    says: str


def complaints(found: Performance, holdout_roc_auc: float | None, settings: Settings) -> list[Complaint]:
    """What the settings' limits object to, where it is more than chance makes.

    Args:
        found: of one version; with fewer than ``FEWEST_ROWS``, or one class alone, nobody is judged.
        holdout_roc_auc: of the same version when it was trained; None where nobody knows.
        settings: auc_drop_warn, auc_drop_fail, calibration_warn, calibration_fail.
    """
    if too_few(found.rows, found.roc_auc):
        return []
    said = [
        auc_complaint("AUC", found.roc_auc, found.roc_auc_by_chance, holdout_roc_auc, settings),
    ]
    error = found.calibration_error
    if error > found.calibration_error_by_chance and error > settings.calibration_warn:
        fails = error > settings.calibration_fail
        limit = settings.calibration_fail if fails else settings.calibration_warn
        words = (
            f"calibration error {error:.3f} is above {limit:g}: {found.churn_rate:.1%} churned, "
            f"{found.expected_churn_rate:.1%} were predicted to"
        )
        said.append(Complaint("fail" if fails else "warn", words))
    return [complaint for complaint in said if complaint]


def auc_complaint(
    what: str, roc_auc: float, by_chance: float, holdout_roc_auc: float | None, settings: Settings
) -> Complaint | None:
    """Whether an AUC is further below the holdout's than the settings and chance allow.

    Args:
        what: names the AUC.
        roc_auc: of later rows.
        by_chance: see ``auc_by_chance``.
        holdout_roc_auc: of the same version; None where nobody knows.
        settings: auc_drop_warn, auc_drop_fail.
    """
    drop = (holdout_roc_auc or 0.0) - roc_auc
    if not (drop > settings.auc_drop_warn and drop > by_chance):
        return None
    fails = drop > settings.auc_drop_fail
    limit = settings.auc_drop_fail if fails else settings.auc_drop_warn
    words = f"{what} {roc_auc:.3f} is more than {limit:g} below its holdout's {holdout_roc_auc:.3f}"
    return Complaint("fail" if fails else "warn", words)


def too_few(rows: int, roc_auc: float) -> bool:
    """Whether rows are too few, or too much of one kind, to judge anybody."""
    return rows < FEWEST_ROWS or math.isnan(roc_auc)


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


def auc_by_chance(auc: float, churned: float, stayed: float) -> float:
    """By how much the AUC of so many users may fall short by chance; NaN where there is no AUC.

    3.1 standard errors after Hanley and McNeil (1982).
    """
    if not (churned and stayed):
        return float("nan")
    two_churned, two_stayed = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (churned - 1) * (two_churned - auc**2) + (stayed - 1) * (two_stayed - auc**2)
    ) / (churned * stayed)
    return float(STANDARD_ERRORS * np.sqrt(max(variance, 0.0)))
