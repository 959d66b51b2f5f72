"""Contributions that sum up to the model's own log-odds, for every kind of estimator that can win."""

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from churn_assets.model.candidates import estimators
from churn_assets.model.logged import explain
from churn_assets.tables import WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame

pytestmark = pytest.mark.usefixtures("one_thread")

FRAME = labelled_frame(users=400, dates=3)
FEATURES = FRAME.loc[:, WINDOW_FEATURES].astype("float64")
RECENCY = WINDOW_FEATURES.index("days_since_last_event")


@cache
def fitted(name: str) -> Any:
    small = {"gradient_boosting": {"n_estimators": 20}, "hist_gradient_boosting": {"max_iter": 20}}
    return estimators.make(name, small.get(name)).fit(FEATURES, FRAME["label"])


def calibrated(estimator: Any) -> Any:
    return CalibratedClassifierCV(FrozenEstimator(estimator), method="isotonic").fit(FEATURES, FRAME["label"])


# Those that are made of others or take a history have a file of their own: test_ensembles.py, test_bg_nbd.py.
OF_THE_SIX = [name for name in estimators.COMPETING if name not in (estimators.FORMULA, estimators.AVERAGE)]
each_estimator = pytest.mark.parametrize("name", OF_THE_SIX)
each_of_trees = pytest.mark.parametrize("name", ["gradient_boosting", "hist_gradient_boosting"])


@each_estimator
def test_contributions_and_the_base_value_sum_up_to_the_log_odds(name: str) -> None:
    explainer = explain.explainer(fitted(name))

    contributions = explainer.contributions(FEATURES.to_numpy())

    assert contributions.shape == FEATURES.shape
    np.testing.assert_allclose(
        contributions.sum(axis=1) + explainer.base_value,
        fitted(name).decision_function(FEATURES),
        rtol=0,
        atol=1e-9,
    )


@each_estimator
def test_a_calibrated_estimator_has_the_contributions_of_the_one_below(name: str) -> None:
    explainer, below = explain.explainer(calibrated(fitted(name))), explain.explainer(fitted(name))

    assert explainer.base_value == below.base_value
    assert (explainer.contributions(FEATURES.to_numpy()) == below.contributions(FEATURES.to_numpy())).all()


@each_of_trees
def test_explaining_like_rows_once_a_tree_gives_what_shap_gives_for_each_row(name: str) -> None:
    from shap import TreeExplainer

    rows = FEATURES.to_numpy()
    # The last is on the border for gradient boosting, which rounds to 32 bits, and behind it for the other.
    beyond = [[1e6, 0, 29.5, 0, -1.0, 7], [0, 30, 14.5, 3, 1e9, np.inf], [30, 15, 14.5 + 1e-9, 1, 9, 3]]
    rows = np.concatenate([rows, beyond])
    whole = TreeExplainer(fitted(name)).shap_values(rows, check_additivity=False)

    np.testing.assert_allclose(explain.explainer(fitted(name)).contributions(rows), whole, rtol=0, atol=1e-12)


def test_a_missing_value_is_explained_by_the_way_that_the_trees_send_it() -> None:
    some_missing = FEATURES.copy()
    some_missing.loc[FEATURES.index[::3], "days_since_last_event"] = np.nan
    estimator = estimators.make("hist_gradient_boosting", {"max_iter": 20}).fit(some_missing, FRAME["label"])
    explainer = explain.explainer(estimator)
    # One tree sends what is missing elsewhere than what is large.
    rows = FEATURES.iloc[[0, 0, 0]].copy()
    rows["days_since_last_event"] = [np.nan, 1e9, 29.0]

    contributions = explainer.contributions(rows.to_numpy())

    log_odds = estimator.decision_function(rows)
    assert log_odds[0] != log_odds[1]
    np.testing.assert_allclose(contributions.sum(axis=1) + explainer.base_value, log_odds, rtol=0, atol=1e-9)


def test_of_one_split_the_contribution_is_the_distance_of_the_leaf_from_the_mean() -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    # Three of four rows are away for 20 days and churn, as good as always.
    rows = np.zeros((400, len(WINDOW_FEATURES)))
    rows[:300, RECENCY] = 20
    churned = np.repeat([1, 0], [300, 100])
    churned[0] = 0
    stump = GradientBoostingClassifier(n_estimators=1, max_depth=1, random_state=0).fit(rows, churned)

    contributions = explain.explainer(stump).contributions(rows)

    away, active = stump.decision_function(rows[[0, 399]])
    mean = (3 * away + active) / 4
    assert contributions[0, RECENCY] == pytest.approx(away - mean)
    assert contributions[399, RECENCY] == pytest.approx(active - mean)
    assert (np.delete(contributions, RECENCY, axis=1) == 0).all()


def test_a_linear_contribution_is_the_coefficient_times_the_distance_from_the_training_mean() -> None:
    regression = fitted("logistic_regression").steps[-1][1]
    days = FEATURES["days_since_last_event"]
    rows = FEATURES.head(1).copy()
    rows["days_since_last_event"] = days.mean() + days.std(ddof=0)

    contributions = explain.explainer(fitted("logistic_regression")).contributions(rows.to_numpy())

    assert contributions[0, RECENCY] == pytest.approx(regression.coef_[0, RECENCY])


def test_terms_need_no_filter_of_warnings_which_another_thread_may_take_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Sail explains in several threads; here a warning is an error.
    monkeypatch.setattr(warnings, "filterwarnings", lambda *_, **__: None)

    explain.explainer(fitted("logistic_regression")).contributions(FEATURES.to_numpy())


def test_trees_without_a_split_contribute_nothing() -> None:
    leaves = {"max_iter": 3, "min_samples_leaf": len(FEATURES)}
    estimator = estimators.make("hist_gradient_boosting", leaves).fit(FEATURES, FRAME["label"])

    assert (explain.explainer(estimator).contributions(FEATURES.to_numpy()) == 0).all()


def test_what_cannot_be_explained_is_refused_by_name() -> None:
    from sklearn.dummy import DummyClassifier

    estimator = DummyClassifier().fit(FEATURES, FRAME["label"])

    assert not explain.supports(calibrated(estimator))
    assert all(explain.supports(fitted(name)) for name in OF_THE_SIX)
    with pytest.raises(TypeError, match="DummyClassifier cannot be explained; gradient boosting,"):
        explain.explainer(estimator)
