import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from churn_assets.errors import ModelError
from churn_assets.model.candidates import estimators
from churn_assets.tables import FEATURE_COLUMNS, WINDOW_FEATURES
from churn_assets_tests.model.conftest import labelled_frame


def test_the_default_is_gradient_boosting_with_the_articles_parameters():
    params = estimators.make().get_params()

    assert type(estimators.make()).__name__ == "GradientBoostingClassifier"
    assert (params["n_estimators"], params["max_depth"]) == (100, 4)
    assert (params["learning_rate"], params["random_state"]) == (0.1, 42)


def test_a_parameter_given_wins_over_the_default():
    params = estimators.make("gradient_boosting", {"n_estimators": 7}).get_params()

    assert (params["n_estimators"], params["max_depth"]) == (7, 4)


@pytest.mark.parametrize("name", sorted({*estimators.ESTIMATORS} - {estimators.FORMULA, estimators.AVERAGE}))
def test_each_estimator_gives_probabilities_that_tell_churned_from_staying(name: str):
    frame = labelled_frame(users=60, dates=3)
    # Where others are busy, two threads wait for each other for seconds.
    with threadpool_limits(1):
        model = estimators.make(name).fit(frame[WINDOW_FEATURES].astype("float64"), frame["label"])

    probability = model.predict_proba(frame[WINDOW_FEATURES].astype("float64"))[:, 1]

    assert probability[frame["label"] == 1].mean() > probability[frame["label"] == 0].mean() + 0.2


def test_a_value_beyond_the_training_rows_counts_as_the_nearest_of_them_to_a_line_too():
    frame = labelled_frame(users=60, dates=3)
    features = frame[WINDOW_FEATURES].astype("float64")
    model = estimators.make("logistic_regression").fit(features, frame["label"])
    oldest, older = features.head(1).copy(), features.head(1).copy()
    oldest["account_age_days"] = features["account_age_days"].max()
    older["account_age_days"] = features["account_age_days"].max() + 1_000

    assert model.predict_proba(older).tolist() == model.predict_proba(oldest).tolist()


def test_an_unknown_estimator_is_refused_with_the_names_there_are():
    with pytest.raises(ModelError, match=rf"'xgboost'.*{', '.join(sorted(estimators.ESTIMATORS))}"):
        estimators.make("xgboost")


def test_an_unknown_parameter_is_refused_by_name():
    with pytest.raises(ModelError, match=r"gradient_boosting cannot be made: .*'depth'"):
        estimators.make("gradient_boosting", {"depth": 3})


def test_recency_looks_at_nothing_but_days_since_the_last_event():
    frame = labelled_frame(users=60, dates=3)[["label", *WINDOW_FEATURES]].astype("float64")
    model = estimators.make("recency").fit(frame[WINDOW_FEATURES], frame["label"])
    expected = model.predict_proba(frame[WINDOW_FEATURES])[:, 1]
    others = [name for name in WINDOW_FEATURES if name != "days_since_last_event"]

    disturbed = frame.assign(**dict.fromkeys(others, 1e6))

    assert (model.predict_proba(disturbed[WINDOW_FEATURES])[:, 1] == expected).all()
    assert list(model.feature_names_in_) == WINDOW_FEATURES
    by_recency = expected[frame["days_since_last_event"].argsort()]
    assert (by_recency[:-1] <= by_recency[1:]).all()
    assert by_recency[0] < by_recency[-1]


def test_recency_of_purchases_looks_at_nothing_but_days_since_the_last_one():
    frame = labelled_frame(users=60, dates=3)[["label", *FEATURE_COLUMNS]].astype("float64")
    # Who never bought has no last time; he churns here, and nobody else does.
    frame["days_since_last_purchase"] = np.where(frame["label"] == 1, np.nan, frame["days_since_last_event"])
    model = estimators.make("recency", {"feature": "days_since_last_purchase"})
    model.fit(frame[FEATURE_COLUMNS], frame["label"])
    expected = model.predict_proba(frame[FEATURE_COLUMNS])[:, 1]
    others = [name for name in FEATURE_COLUMNS if name != "days_since_last_purchase"]

    disturbed = frame.assign(**dict.fromkeys(others, 1e6))

    assert (model.predict_proba(disturbed[FEATURE_COLUMNS])[:, 1] == expected).all()
    assert expected[frame["label"] == 1].min() > expected[frame["label"] == 0].max()


def test_histogram_boosting_trains_on_all_rows():
    frame = labelled_frame(users=700, dates=15)
    # scikit-learn would set a tenth of them aside from 10,000 rows on.
    assert len(frame) > 10_000

    with threadpool_limits(1):
        model = estimators.make("hist_gradient_boosting", {"max_iter": 20})
        model.fit(frame[WINDOW_FEATURES].astype("float64"), frame["label"])

    assert (model.do_early_stopping_, model.n_iter_) == (False, 20)
