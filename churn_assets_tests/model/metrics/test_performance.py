"""What outcomes say of a model, and when they say enough for an alarm."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from churn_assets.model.metrics.performance import (
    Counts,
    auc_by_chance,
    auc_complaint,
    complaints,
    realised,
    too_few,
)
from churn_assets.settings import Settings
from churn_assets_tests.model.conftest import local_settings


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    """Warns of an AUC 0.03 below the holdout's and a calibration error of 0.05; fails at 0.08 and 0.1."""
    return local_settings(tmp_path)


def counted(probability: np.ndarray, label: np.ndarray) -> Counts:
    values, position = np.unique(probability, return_inverse=True)
    rows = np.bincount(position).astype("float64")
    churned = np.bincount(position, label).astype("float64")
    return Counts(rows, churned, values, rows * values**2, churned * values)


def drawn(rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose expected AUC is 5/6, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probability = rng.random(rows)
    return probability, rng.random(rows) < probability


def levels(probability: np.ndarray, label: np.ndarray, holdout: float | None, limits: Settings) -> list[str]:
    return [one.level for one in complaints(realised(counted(probability, label)), holdout, limits)]


def test_the_measures_are_those_of_scikit_learn() -> None:
    probability, label = drawn(3000)
    probability = probability.round(2)  # ties

    found = realised(counted(probability, label))

    assert found.rows == 3000
    assert found.roc_auc == pytest.approx(roc_auc_score(label, probability))
    assert found.brier == pytest.approx(brier_score_loss(label, probability))
    assert found.churn_rate == label.mean()
    assert found.expected_churn_rate == pytest.approx(probability.mean())
    assert found.expected_brier == pytest.approx(np.mean(probability * (1 - probability)))
    assert found.expected_roc_auc == pytest.approx(5 / 6, abs=0.005)


def test_the_calibration_error_of_ten_equal_bins_by_hand() -> None:
    # Ten users at each tenth from 0 to 0.9: of each one more churns than predicted, of the last three fewer.
    probability = np.repeat(np.arange(10) / 10, 10)
    churned = [i + 1 for i in range(9)] + [6]
    label = np.concatenate([np.arange(10) < count for count in churned])

    assert realised(counted(probability, label)).calibration_error == pytest.approx((9 + 3) / 100)


def test_who_has_the_same_probability_shares_a_bin() -> None:
    # 40 churn where 50 were predicted to, 150 of 120, 150 of 160.
    rows, churned = np.array([500.0, 300, 200]), np.array([40.0, 150, 150])
    probability = np.array([0.1, 0.4, 0.8])

    found = realised(Counts(rows, churned, probability, rows * probability**2, churned * probability))

    assert found.calibration_error == pytest.approx((10 + 30 + 10) / 1000)
    assert (found.rows, found.churn_rate, found.expected_churn_rate) == (1000, 0.34, 0.33)


@pytest.mark.parametrize(
    ("holdout", "expected"), [(0.85, []), (0.9, ["warn"]), (0.95, ["fail"]), (0.7, []), (None, [])]
)
def test_an_auc_below_the_holdouts_warns_and_far_below_fails(
    limits: Settings, holdout: float | None, expected: list[str]
) -> None:
    assert levels(*drawn(5000), holdout, limits) == expected  # its AUC is 0.84


@pytest.mark.parametrize(("shift", "expected"), [(0.06, []), (0.15, ["warn"]), (0.3, ["fail"])])
def test_probabilities_that_do_not_come_true_are_told(
    limits: Settings, shift: float, expected: list[str]
) -> None:
    probability, label = drawn(5000)
    # The order is right, and the mean too high by half of the shift.
    found = complaints(realised(counted(shift + (1 - shift) * probability, label)), None, limits)
    assert [one.level for one in found] == expected
    assert all("churned" in one.message and "calibration error" in one.message for one in found)


def test_ten_dates_of_the_same_users_are_no_tenfold_evidence(limits: Settings) -> None:
    probability, label = drawn(60)
    counts = counted(np.tile(probability, 10), np.tile(label, 10))

    assert [one.level for one in complaints(realised(counts), None, limits)] != []
    assert complaints(realised(counts, overlap=10), None, limits) == []


def test_a_calibrated_model_is_hardly_ever_beyond_chance() -> None:
    found = [realised(counted(*drawn(300, seed))) for seed in range(300)]
    holdout = 5 / 6
    assert sum(one.calibration_error > one.calibration_error_by_chance for one in found) <= 2
    assert sum(holdout - one.roc_auc > one.roc_auc_by_chance for one in found) <= 2
    # And chance is no excuse for everything: the limits are about where the worst of 300 lie.
    assert max(one.calibration_error / one.calibration_error_by_chance for one in found) > 0.8
    assert max((holdout - one.roc_auc) / one.roc_auc_by_chance for one in found) > 0.7


def test_few_rows_or_one_class_judge_nobody(limits: Settings) -> None:
    wrong = np.arange(400) % 2  # who churned had no risk at all
    assert levels(1.0 - wrong, wrong, 0.9, limits) == ["fail", "fail"]
    assert levels(1.0 - wrong[:199], wrong[:199], 0.9, limits) == []
    for one_class in (np.zeros(400), np.ones(400)):
        assert levels(1.0 - one_class, one_class, 0.9, limits) == []


def test_without_an_auc_there_is_no_chance_and_no_complaint(limits: Settings) -> None:
    assert too_few(1000, math.nan)
    assert math.isnan(auc_by_chance(math.nan, 0, 1000))
    assert auc_complaint("AUC", 0.8, math.nan, 0.82, limits) is None
