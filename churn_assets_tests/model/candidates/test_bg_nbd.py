"""BG/NBD: its formula, its fit to users whose parameters are known, and what each feature adds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad
from scipy.stats import beta, gamma

from churn_assets.model.candidates.bg_nbd import COLUMNS, BgNbd

HORIZON = 30
NAMES: Any = list(COLUMNS)
# r, alpha, a, b.
TRUE = (0.8, 10.0, 0.9, 6.0)


def drawn(users: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Users as the model has them, 200 days from their first active day: what is known, and who churns.

    Rates are of whole days, as features are, so the fitted parameters are near the true ones and not equal.
    """
    rng = np.random.default_rng(seed)
    r, alpha, a, b = TRUE
    rate, leaving = rng.gamma(r, 1 / alpha, users), rng.beta(a, b, users)
    rows, churn = [], []
    for one, leaves in zip(rate, leaving, strict=True):
        days, at = [0.0], 0.0
        while rng.random() > leaves:
            at += rng.exponential(1 / one)
            if at > 200 + HORIZON:
                break
            days.append(at)
        seen = [day for day in days if day <= 200]
        gap = (seen[-1] - seen[0]) / (len(seen) - 1) if len(seen) > 1 else np.nan
        rows.append((len(seen), 200 - seen[-1], gap))
        churn.append(int(not any(day > 200 for day in days)))
    return pd.DataFrame(rows, columns=NAMES, dtype="float64"), np.array(churn)


@pytest.fixture(scope="module")
def known() -> tuple[pd.DataFrame, np.ndarray]:
    return drawn(4_000, seed=1)


@pytest.fixture(scope="module")
def fitted(known: tuple[pd.DataFrame, np.ndarray]) -> BgNbd:
    return BgNbd(HORIZON).fit(*known)


def by_simulation(active_days: int, silent: float, gap: float, draws: int = 400_000) -> float:
    """P(no event in the horizon) of one user, without the formula: rates and leaving drawn and weighed."""
    r, alpha, a, b = TRUE
    rng = np.random.default_rng(7)
    rate = gamma.rvs(r, scale=1 / alpha, size=draws, random_state=rng)
    leaves = beta.rvs(a, b, size=draws, random_state=rng)
    repeats = active_days - 1
    last = 0.0 if not repeats else repeats * gap
    # How likely the history is, of somebody who is still there and of somebody who is gone.
    came = rate**repeats * (1 - leaves) ** repeats
    there = came * (1 - leaves) * np.exp(-rate * (last + silent))
    gone = came * leaves * np.exp(-rate * last)
    stays = (there * -np.expm1(-rate * HORIZON)).sum() / (there + gone).sum()
    return 1 - stays


@pytest.mark.parametrize(
    ("active_days", "silent", "gap"),
    [(1, 0, np.nan), (1, 29, np.nan), (2, 5, 40.0), (12, 20, 4.0), (12, 2, 4.0)],
    ids=["came today", "came once, long ago", "comes rarely", "silent for long", "silent as usual"],
)
def test_the_formula_gives_what_drawing_users_by_the_model_gives(
    active_days: int, silent: float, gap: float, fitted: BgNbd
) -> None:
    fitted_to_the_truth = BgNbd(HORIZON)
    fitted_to_the_truth.__dict__ |= {**fitted.__dict__, "logarithms_": np.log(TRUE)}
    row = pd.DataFrame([(active_days, silent, gap)], columns=NAMES, dtype="float64")

    probability = fitted_to_the_truth.predict_proba(row)[0, 1]

    assert probability == pytest.approx(by_simulation(active_days, silent, gap), abs=0.01)


def test_fitted_to_users_who_follow_it_it_is_as_good_as_the_truth(fitted: BgNbd) -> None:
    rows, churn = drawn(4_000, seed=2)
    truth = BgNbd(HORIZON)
    truth.__dict__ |= {**fitted.__dict__, "logarithms_": np.log(TRUE)}

    ours, best = (np.mean((one.predict_proba(rows)[:, 1] - churn) ** 2) for one in (fitted, truth))

    assert ours == pytest.approx(best, abs=0.001)
    assert np.mean(fitted.predict_proba(rows)[:, 1]) == pytest.approx(churn.mean(), abs=0.02)


def test_the_gradient_is_that_of_the_loss(known: tuple[pd.DataFrame, np.ndarray], fitted: BgNbd) -> None:
    rows, churn = known
    history = fitted._active_days(rows.to_numpy())
    at = np.log([0.5, 3.0, 0.2, 2.0])

    error = check_grad(
        lambda theta: fitted._loss(theta, *history, churn)[0],
        lambda theta: fitted._loss(theta, *history, churn)[1],
        at,
    )

    assert error < 1e-6


def test_contributions_and_the_base_value_sum_up_to_the_log_odds(
    known: tuple[pd.DataFrame, np.ndarray], fitted: BgNbd
) -> None:
    rows, _ = known

    total = fitted.base_value + fitted.contributions(rows.to_numpy()).sum(axis=1)

    np.testing.assert_allclose(total, fitted.decision_function(rows), rtol=0, atol=1e-9)


def test_who_is_silent_longer_is_likelier_to_have_left_and_silence_is_the_reason(fitted: BgNbd) -> None:
    rows = pd.DataFrame([(20, silent, 5.0) for silent in range(30)], columns=NAMES, dtype="float64")

    probability = fitted.predict_proba(rows)[:, 1]
    reasons = fitted.contributions(rows.to_numpy())[:, COLUMNS.index("days_since_last_event")]

    assert (np.diff(probability) > 0).all()
    assert (np.diff(reasons) > 0).all()


def test_rows_without_the_features_it_takes_are_refused_by_name() -> None:
    rows = pd.DataFrame({"active_days_total": [1.0, 2.0], "days_since_last_event": [0.0, 1.0]})

    with pytest.raises(ValueError, match="the rows have no mean_gap_days"):
        BgNbd().fit(rows, [0, 1])


@pytest.mark.parametrize("churn", [[0, 0, 0, 1], [1, 1, 1, 0]])
def test_a_handful_of_alike_users_gives_finite_probabilities(churn: list[int]) -> None:
    rows = pd.DataFrame([(400, 0, 1.0)] * 4, columns=NAMES, dtype="float64")

    probability = BgNbd(HORIZON).fit(rows, churn).predict_proba(rows)

    assert np.isfinite(probability).all()
    assert ((probability > 0) & (probability < 1)).all()
