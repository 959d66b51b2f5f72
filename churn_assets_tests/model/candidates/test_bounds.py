"""No probability of 0 or 1, whatever estimator or map gives it, and nobody's rank changed."""

import math
import pickle
import warnings
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from churn_assets.model.candidates import bounds, calibration
from churn_assets.model.logged import explain
from churn_assets.tables import WINDOW_FEATURES

EVERY_MAP = ("none", "sigmoid", "isotonic")


def rows(days: Any, label: Any, users: Any = None) -> pd.DataFrame:
    """One row of each number of days since the last event, of a user each where no others are given."""
    frame = pd.DataFrame(dict.fromkeys(WINDOW_FEATURES, 0.0), index=range(len(days)))
    return frame.assign(
        days_since_last_event=np.asarray(days, dtype="float64"),
        label=np.asarray(label),
        user_id=np.arange(len(days)) if users is None else users,
    )


def recency(slope: float = 1.0) -> LogisticRegression:
    """Log-odds of churn that rise with days_since_last_event from day 15 on, as sure as one likes."""
    known = rows([1, 2], [0, 1])
    fitted = LogisticRegression().fit(known[WINDOW_FEATURES], known["label"])
    fitted.coef_ = slope * np.array([[1.0 * (name == "days_since_last_event") for name in WINDOW_FEATURES]])
    fitted.intercept_ = np.array([-15 * slope])
    return fitted


def probabilities(estimator: Any, days: Any) -> np.ndarray:
    return calibration.churn_probability(estimator, rows(days, np.zeros(len(days), dtype=int)))


# Eight who stayed, ten of whom half churned, three who churned: the three steps of an isotonic map.
STEPS = rows([1] * 8 + [10] * 10 + [20] * 3, [0] * 8 + [0, 1] * 5 + [1] * 3)


def test_a_step_of_users_who_all_stayed_or_all_churned_says_what_so_many_can_tell() -> None:
    unbounded = calibration.with_map(recency(), STEPS, "isotonic")
    bounded = calibration.with_bounded_map(recency(), STEPS, "isotonic")

    assert probabilities(unbounded, [1, 10, 20]).tolist() == [0, 0.5, 1]
    # One churner more beside the eight who stayed, one who stays beside the three who churned.
    np.testing.assert_allclose(probabilities(bounded, [1, 10, 20]), [1 / 9, 1 / 2, 3 / 4], rtol=1e-12)
    assert bounds.bounds_of(bounded) == pytest.approx((1 / 9, 3 / 4))


def test_the_more_users_are_behind_a_step_the_surer_it_may_be() -> None:
    many = pd.concat([STEPS] * 100, ignore_index=True).assign(user_id=np.arange(2100))

    low, middle, high = probabilities(calibration.with_bounded_map(recency(), many, "isotonic"), [1, 10, 20])

    assert (low, middle, high) == pytest.approx((1 / 801, 1 / 2, 300 / 301))


def test_rows_of_one_user_are_not_so_many_users() -> None:
    # Each of the 21 users on five dates.
    often = STEPS.loc[STEPS.index.repeat(5)].reset_index(drop=True)

    found = probabilities(calibration.with_bounded_map(recency(), often, "isotonic"), [1, 10, 20])

    np.testing.assert_allclose(found, [1 / 9, 1 / 2, 3 / 4], rtol=1e-12)


def test_without_a_map_as_many_users_are_added_as_laplace_would_and_they_churn_as_the_others_do() -> None:
    bounded = calibration.with_bounded_map(recency(), STEPS, "none")
    before, after = probabilities(recency(), [1, 10, 20]), probabilities(bounded, [1, 10, 20])

    # 21 users, of whom 8 churned.
    np.testing.assert_allclose(after, (21 * before + 2 * 8 / 21) / 23, rtol=1e-12)
    assert bounds.bounds_of(bounded) == pytest.approx(((2 * 8 / 21) / 23, (21 + 2 * 8 / 21) / 23))


@pytest.mark.parametrize("method", EVERY_MAP)
@pytest.mark.parametrize("slope", [0.1, 1, 1000])
def test_log_odds_however_large_are_no_certainty(method: calibration.Method, slope: float) -> None:
    bounded = calibration.with_bounded_map(recency(slope), STEPS, method)
    low, high = bounds.bounds_of(bounded)

    found = probabilities(bounded, [0, 1, 14, 16, 29, 1e6])

    assert 0 < low <= found.min()
    assert found.max() <= high < 1
    assert (np.diff(found) >= 0).all()


def test_the_highest_rank_is_found_where_probabilities_have_been_rounded_to_1() -> None:
    # All of the last six rows have a probability of 1 in 64 bits, and only log-odds tell them apart.
    sure = rows([1] * 6 + [16, 17, 18, 19, 20, 21], [0] * 6 + [1] * 6)
    bounded = calibration.with_bounded_map(recency(1000), sure, "isotonic")

    assert probabilities(recency(1000), [16, 18, 21]).tolist() == [1, 1, 1]
    np.testing.assert_allclose(probabilities(bounded, [16, 18, 21]), 6 / 7)


@pytest.mark.parametrize("method", ["none", "sigmoid"])
def test_nobodys_rank_changes_and_no_two_become_equal(method: calibration.Method) -> None:
    days = np.linspace(0, 29, 500)

    before = probabilities(calibration.with_map(recency(0.2), STEPS, method), days)
    after = probabilities(calibration.with_bounded_map(recency(0.2), STEPS, method), days)

    assert (np.diff(before) > 0).all()
    assert (np.diff(after) > 0).all()


labels = st.lists(st.booleans(), min_size=12, max_size=60).filter(
    lambda found: 5 < sum(found) < len(found) - 5
)


@settings(max_examples=30)
@given(labels)
def test_a_bounded_step_map_rises_and_is_otherwise_the_map_of_the_same_rows(label: list[bool]) -> None:
    days = np.arange(len(label))
    known = rows(days, np.array(label) * 1)

    bounded = probabilities(calibration.with_bounded_map(recency(), known, "isotonic"), days)

    # By hand: with one more churner at the first rank and one more who stays at the last.
    x, y = [*days, days[0], days[-1]], [*label, 1, 0]
    np.testing.assert_allclose(bounded, IsotonicRegression().fit(x, y).predict(days), atol=1e-9)
    assert (np.diff(bounded) >= -1e-12).all()
    assert bounded.min() > 0
    assert bounded.max() < 1
    # As many churners are expected as with the map alone, which expects as many as there were.
    assert math.isclose(bounded.sum() + bounded[0] + bounded[-1], sum(label) + 1, rel_tol=1e-9)


@pytest.fixture(scope="module")
def boosted() -> Any:
    from churn_assets.model.candidates import estimators

    return estimators.make("hist_gradient_boosting", {"max_iter": 5, "min_samples_leaf": 2}).fit(
        STEPS[WINDOW_FEATURES], STEPS["label"]
    )


@pytest.mark.parametrize("method", EVERY_MAP)
def test_a_bounded_estimator_is_scikit_learns_own_and_gives_a_matrix_the_same(
    boosted: Any, method: calibration.Method
) -> None:
    estimator = calibration.with_bounded_map(boosted, STEPS, method)
    expected = calibration.churn_probability(estimator, STEPS)

    pickled = cloudpickle.dumps(estimator)

    assert b"churn_assets" not in pickled
    loaded = pickle.loads(pickled)
    assert list(loaded.feature_names_in_) == WINDOW_FEATURES
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        matrix = STEPS[WINDOW_FEATURES].to_numpy()
        assert (loaded.predict_proba(matrix)[:, 1] == expected).all()
        # Alone or among others, as the endpoint and the batch job ask.
        assert loaded.predict_proba(matrix[:1])[0, 1] == expected[0]


@pytest.mark.parametrize("method", EVERY_MAP)
def test_reasons_explain_the_estimator_before_map_and_bounds(
    boosted: Any, method: calibration.Method
) -> None:
    estimator = calibration.with_bounded_map(boosted, STEPS, method)

    assert explain.uncalibrated(estimator) is boosted
    assert explain.supports(estimator)
