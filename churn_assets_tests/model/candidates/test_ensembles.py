"""Estimators made of estimators: what they answer, how it is explained, and that missing is not zero."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn_assets.model.candidates import competition, estimators, fitting, rebuilding
from churn_assets.model.candidates.ensembles import Average, OnColumns, WithFallback
from churn_assets.model.data.dataset import Frames, features_in, without_history
from churn_assets.model.logged import explain
from churn_assets.tables import FEATURE_COLUMNS, HISTORY_OF_ALL, WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame

pytestmark = pytest.mark.usefixtures("one_thread")

FRAME = labelled_frame(users=300, dates=3).astype(dict.fromkeys(FEATURE_COLUMNS, "float64"))
ROWS: Any = FRAME[FEATURE_COLUMNS]
FRAMES = Frames(FRAME, FRAME, FRAME)
SMALL = {"max_iter": 10}


@pytest.fixture(scope="module")
def whole() -> WithFallback:
    known = estimators.make("hist_gradient_boosting", SMALL).fit(ROWS, FRAME["label"])
    without = estimators.make("logistic_regression").fit(ROWS[WINDOW_FEATURES], FRAME["label"])
    return fitting.with_fallback(known, without)


def without_a_history(rows: Any) -> Any:
    return rows.assign(**dict.fromkeys(HISTORY_OF_ALL, np.nan))


def test_a_row_with_a_history_is_answered_by_the_one_and_a_row_without_by_the_other(whole: WithFallback):
    mixed = pd.concat([ROWS.head(3), without_a_history(ROWS.head(2))], ignore_index=True)

    answer = whole.predict_proba(mixed)

    assert whole.lacks_history(mixed).tolist() == [False, False, False, True, True]
    assert (answer[:3] == whole.estimator.predict_proba(ROWS.head(3))).all()
    assert (answer[3:] == whole.fallback.predict_proba(ROWS[WINDOW_FEATURES].head(2))).all()


def test_a_row_that_lacks_one_part_of_the_history_has_none(whole: WithFallback):
    for name in HISTORY_OF_ALL:
        assert whole.lacks_history(ROWS.head(1).assign(**{name: np.nan})).all()
    # A gap is missing after one active day; that is known, and no lack.
    assert not whole.lacks_history(ROWS.head(1).assign(mean_gap_days=np.nan)).any()


def test_a_matrix_is_answered_as_a_frame_is(whole: WithFallback):
    mixed = pd.concat([ROWS.head(3), without_a_history(ROWS.head(2))], ignore_index=True)

    with pytest.warns(UserWarning, match="valid feature names"):
        of_matrix = whole.predict_proba(mixed.to_numpy())

    assert (of_matrix == whole.predict_proba(mixed)).all()


def test_each_row_is_explained_by_the_estimator_that_answers_it(whole: WithFallback):
    mixed = np.vstack([ROWS.head(3), without_a_history(ROWS.head(2))])

    found = explain.explainer(whole).contributions(mixed)

    assert (found[:3] == explain.explainer(whole.estimator).contributions(mixed[:3])).all()
    of_six = explain.explainer(whole.fallback).contributions(mixed[3:, : len(WINDOW_FEATURES)])
    assert (found[3:, : len(WINDOW_FEATURES)] == of_six).all()
    assert (found[3:, len(WINDOW_FEATURES) :] == 0).all()


@pytest.mark.parametrize(
    "name", ["bg_nbd", "log_logistic_regression", "hist_gradient_boosting", "average", "gradient_boosting"]
)
def test_each_candidate_takes_missing_values_and_is_explained_exactly(name: str):
    parts = [{"estimator": "bg_nbd", "params": {}}, {"estimator": "hist_gradient_boosting", "params": SMALL}]
    params = {"average": {"estimators": parts}, "gradient_boosting": {"n_estimators": 5}}.get(name, {})
    assert ROWS.isna().any().any()

    model = fitting.unfitted(name, params, FRAME).fit(ROWS, FRAME["label"])
    explainer = explain.explainer(model)

    total = explainer.base_value + explainer.contributions(ROWS.to_numpy()).sum(axis=1)
    np.testing.assert_allclose(total, model.decision_function(ROWS), rtol=0, atol=1e-9)


def test_an_average_is_that_of_log_odds(whole: WithFallback):
    line, boosting = (
        estimators.make(name).fit(ROWS, FRAME["label"])
        for name in ("log_logistic_regression", "hist_gradient_boosting")
    )
    both = Average(
        [estimators.make(name) for name in ("log_logistic_regression", "hist_gradient_boosting")]
    ).fit(ROWS, FRAME["label"])

    expected = (line.decision_function(ROWS) + boosting.decision_function(ROWS)) / 2

    np.testing.assert_allclose(both.decision_function(ROWS), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(both.predict_proba(ROWS)[:, 1], 1 / (1 + np.exp(-expected)), atol=1e-12)


def test_what_it_is_not_shown_changes_no_answer():
    model = OnColumns(estimators.make("logistic_regression"), WINDOW_FEATURES).fit(ROWS, FRAME["label"])
    hidden = [name for name in FEATURE_COLUMNS if name not in WINDOW_FEATURES]

    disturbed = ROWS.assign(**dict.fromkeys(hidden, 1e6))

    assert (model.predict_proba(disturbed) == model.predict_proba(ROWS)).all()


@pytest.mark.parametrize("name", ["hist_gradient_boosting", "average", "log_logistic_regression"])
def test_a_feature_that_nobody_has_is_no_obstacle(name: str):
    frame = FRAME.assign(amount_total=np.nan)
    parts = [{"estimator": "hist_gradient_boosting", "params": SMALL}]
    params = {"estimators": parts} if name == "average" else {}

    model = fitting.unfitted(name, params, frame).fit(frame[FEATURE_COLUMNS], frame["label"])

    # Somebody who has one later is answered as well.
    assert np.isfinite(model.predict_proba(ROWS)).all()


def test_the_frames_without_a_history_hold_the_six_features_of_the_same_rows():
    dropped = without_history(FRAMES)

    assert list(dropped.train) == ["user_id", "feature_date", *WINDOW_FEATURES, "label"]
    assert (dropped.holdout["label"] == FRAME["label"]).all()


def test_a_version_from_before_a_feature_came_is_made_again_with_the_history_of_then():
    came, simple = "purchase_count_total", {"params": {}, "calibration": "none"}
    # Nobody brought an amount either: boosting cannot bin what has no value.
    of_then = Frames(*(frame.drop(columns=came).assign(amount_total=np.nan) for frame in FRAMES))

    again = rebuilding.rebuild(
        {
            "estimator": "hist_gradient_boosting",
            "params": SMALL,
            "calibration": "none",
            "fallback": {"estimator": "logistic_regression", **simple},
        },
        of_then,
    )

    assert again.history == [name for name in HISTORY_OF_ALL if name != came]
    assert np.isfinite(again.predict_proba(of_then.holdout[features_in(of_then.holdout)])).all()


def test_in_the_race_an_average_is_made_of_what_was_fitted_before_it_and_is_the_same():
    found = competition.compete(FRAMES, trials=0, with_article_model=False)
    made = {one.name: one for one in found}
    average = made["average_with_bg_nbd"]

    again = rebuilding.rebuild(
        {"estimator": "average", "params": average.params, "calibration": "none"}, FRAMES
    )

    assert average.fitted.parts_[0] is made["bg_nbd"].fitted
    assert (again.predict_proba(ROWS) == average.fitted.predict_proba(ROWS)).all()
