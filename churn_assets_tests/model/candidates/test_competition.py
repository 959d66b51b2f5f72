import datetime as dt
import json
import pickle
import warnings
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from churn_assets.errors import ModelError
from churn_assets.model.candidates import calibration, competition, entrants, estimators, rebuilding, search
from churn_assets.model.candidates.fitting import Candidate
from churn_assets.model.data import dataset
from churn_assets.model.logged import explain
from churn_assets.tables import WINDOW_FEATURES

NAMES = [
    "recency",
    "logistic_regression",
    "hist_gradient_boosting",
    *[f"search_{number}" for number in range(1, 7)],
    "gradient_boosting",
]


def users(first: int, count: int, dates: int, seed: int) -> pd.DataFrame:
    """Users who churn the likelier the longer they were away, and old users who do so the other way round."""
    rng = np.random.default_rng(seed)
    rows = count * dates
    away, age = rng.integers(0, 30, rows), rng.integers(0, 400, rows)
    log_odds = (away - 14) / 4 * np.where(age > 300, -1, 1)
    return pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(first, first + count), dates),
            "feature_date": [dt.date(2026, 1, 1) + dt.timedelta(days=day) for day in range(dates)] * count,
            "event_count_30d": 60 - away,
            "active_days_30d": 30 - away,
            "days_since_last_event": away,
            "purchase_count_30d": rng.integers(0, 4, rows),
            "account_age_days": age,
            "rolling_7d_events": rng.integers(0, 9, rows),
            "label": (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype("int64"),
        }
    ).astype(dict.fromkeys(WINDOW_FEATURES, "float64"))


@pytest.fixture(scope="module")
def frames() -> dataset.Frames:
    return dataset.Frames(users(0, 300, 5, 1), users(1000, 200, 5, 2), users(0, 300, 2, 3))


def compete(frames: dataset.Frames, **options: Any) -> list[Candidate]:
    """With time enough for all trials, however busy the machine is."""
    return competition.compete(frames, seconds=3600, **options)


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def found(frames: dataset.Frames, told: list[tuple[str, int, int]]) -> list[Candidate]:
    return compete(frames, on_fitted=lambda one, number, of: told.append((one.name, number, of)))


def of_name(found: list[Candidate], name: str) -> Candidate:
    return next(candidate for candidate in found if candidate.name == name)


def test_the_floor_the_three_estimators_and_six_trials_compete(found: list[Candidate]):
    assert sorted(candidate.name for candidate in found) == sorted(NAMES)
    assert {candidate.error for candidate in found} == {""}


def test_each_is_reported_as_it_is_done(found: list[Candidate], told: list[tuple[str, int, int]]):
    assert told == [(name, number, 10) for number, name in enumerate(NAMES, start=1)]


def test_the_winner_comes_first_and_the_others_by_their_brier_score(found: list[Candidate]):
    scores = [candidate.metrics["brier"] for candidate in found]

    assert scores[0] <= scores[1] + competition.WORTH_IT
    assert scores[1:] == sorted(scores[1:])
    assert found[-1].name in ("recency", "logistic_regression")


def test_scores_are_those_of_users_it_was_not_trained_on(found: list[Candidate], frames: dataset.Frames):
    rows = frames.calibration
    probability = found[0].fitted.predict_proba(rows[WINDOW_FEATURES])[:, 1]

    assert found[0].metrics["brier"] == pytest.approx(((probability - rows["label"]) ** 2).mean(), rel=1e-12)
    assert 0.5 < found[0].metrics["roc_auc"] < 1
    assert 0 < found[0].metrics["log_loss"] < np.log(2)


def test_competing_again_gives_the_same_models_bit_by_bit(found: list[Candidate], frames: dataset.Frames):
    again = compete(frames)

    assert [candidate.name for candidate in again] == [candidate.name for candidate in found]
    for one, other in zip(found, again, strict=True):
        assert (probabilities(one.fitted, frames) == probabilities(other.fitted, frames)).all()


def test_models_are_fitted_in_one_thread_however_many_there_are(
    frames: dataset.Frames, monkeypatch: pytest.MonkeyPatch
):
    threads = []

    class Counting(HistGradientBoostingClassifier):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            threads.append(_openmp_effective_n_threads())
            return super().fit(*args, **kwargs)

    monkeypatch.setitem(estimators.ESTIMATORS, "hist_gradient_boosting", Counting)
    competition.compete(frames, estimator="hist_gradient_boosting", params={"max_iter": 2})

    assert threads == [1]


def test_parameters_are_all_that_is_needed_to_make_it_again_and_json_holds_them(found: list[Candidate]):
    for candidate in found:
        params = json.loads(json.dumps(candidate.params))
        made = estimators.make(candidate.estimator_name, params)
        assert repr(made) == repr(estimators.make(candidate.estimator_name, candidate.params))
    assert of_name(found, "gradient_boosting").params == {
        "n_estimators": 100,
        "max_depth": 4,
        "learning_rate": 0.1,
        "random_state": 42,
    }


def test_trials_differ_from_each_other_and_between_seeds_but_not_between_calls():
    trials = search.trials(seed=1)

    assert len({json.dumps(trial, sort_keys=True) for trial in trials}) == search.TRIALS == 6
    assert search.trials(seed=1) == trials != search.trials(seed=2)


def test_the_smaller_trials_come_first():
    leaves = [trial["max_iter"] * trial["max_leaf_nodes"] for trial in search.trials(seed=42)]

    assert leaves == sorted(leaves)


def test_a_named_estimator_competes_with_the_floor_alone(frames: dataset.Frames):
    found = competition.compete(frames, estimator="hist_gradient_boosting", params={"max_iter": 7})

    assert [candidate.name for candidate in found] == ["hist_gradient_boosting", "recency"]
    assert found[0].params["max_iter"] == found[0].fitted.n_iter_ == 7
    assert found[0].params["learning_rate"] == 0.05


def test_the_floor_never_wins_even_where_it_is_best(frames: dataset.Frames):
    bad = {"max_iter": 1, "learning_rate": 0.0001}

    found = competition.compete(frames, estimator="hist_gradient_boosting", params=bad)

    assert [candidate.name for candidate in found] == ["hist_gradient_boosting", "recency"]
    assert found[1].metrics["brier"] < found[0].metrics["brier"] - 0.01


def test_without_time_no_trial_is_begun_and_the_rest_still_competes(frames: dataset.Frames):
    found = competition.compete(frames, seconds=0)

    # On rows without a history; others compete where there is one.
    names = {candidate.name for candidate in found}
    assert names == {"recency", "logistic_regression", "hist_gradient_boosting", "gradient_boosting"}


def scored(name: str, estimator_name: str, brier: float) -> Candidate:
    return Candidate(name, estimator_name, {}, fitted=name, metrics={"brier": brier})


def test_a_less_simple_candidate_must_be_better_by_more_than_a_tie():
    logistic = scored("logistic_regression", "logistic_regression", 0.1)
    tie = scored("search_1", "hist_gradient_boosting", 0.0999_1)
    better = scored("search_2", "hist_gradient_boosting", 0.0998_9)

    assert competition._ranked([logistic, tie])[0] is logistic
    assert competition._ranked([logistic, better])[0] is better
    assert competition._ranked([logistic, tie, better]) == [tie, better, logistic]


def test_one_that_cannot_be_fitted_comes_last_with_its_reason(
    frames: dataset.Frames, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "trials", lambda *_: [{"max_iter": 5}, {"max_iter": -1}])

    found = compete(frames)

    assert (found[-1].name, found[-1].fitted) == ("search_2", None)
    assert "'max_iter' parameter" in found[-1].error
    assert "\n" not in found[-1].error
    assert len(found) == 6


def test_nothing_but_the_floor_is_no_result(frames: dataset.Frames):
    with pytest.raises(ModelError, match=r"^No candidate can be trained: gradient_boosting: .*n_estimators"):
        competition.compete(frames, estimator="gradient_boosting", params={"n_estimators": -1})


@pytest.mark.parametrize(
    ("estimator", "params", "message"),
    [
        ("forest", None, "No estimator is called 'forest'"),
        ("gradient_boosting", {"depth": 1}, "gradient_boosting cannot be made"),
        ("recency", None, "Estimator recency is what a model must beat"),
        ("auto", {"max_iter": 1}, r"Parameters .*'max_iter'.* are for one estimator"),
    ],
)
def test_what_cannot_compete_is_refused_by_name(estimator: str, params: Any, message: str):
    with pytest.raises(ModelError, match=message):
        entrants.entrants(estimator, params)


def test_the_floor_knows_when_the_last_event_was_that_counts():
    def floor(*types: str, history: bool = True) -> str:
        return entrants.entrants(history=history, staying_types=types)[0].params["feature"]

    assert floor() == floor("purchase", "renewal") == "days_since_last_event"
    assert floor("purchase") == "days_since_last_purchase"
    assert floor("purchase", history=False) == "days_since_last_event"


def test_rows_of_one_class_are_refused_and_said_to_be(frames: dataset.Frames):
    everybody_stays = frames.train.assign(label=0)

    with pytest.raises(ModelError, match=r"Among the training rows there are only label 0;.*two classes"):
        competition.compete(frames._replace(train=everybody_stays))
    with pytest.raises(ModelError, match="Among the calibration rows there are no rows"):
        competition.compete(frames._replace(calibration=frames.calibration.head(0)))


def probabilities(fitted: Any, frames: dataset.Frames) -> np.ndarray:
    return fitted.predict_proba(frames.holdout[WINDOW_FEATURES])[:, 1]


def too_sure(frames: dataset.Frames) -> Candidate:
    """Logistic regression of recency, whose probabilities are made far too sure."""
    fitted: Any = competition.compete(frames, estimator="logistic_regression")[0].fitted
    fitted[-1].coef_ *= 4
    fitted[-1].intercept_ *= 4
    return Candidate("logistic_regression", "logistic_regression", {}, fitted)


def test_probabilities_that_are_too_sure_are_calibrated(frames: dataset.Frames):
    best = too_sure(frames)

    mapped = competition.calibrate(best, frames.calibration)

    assert mapped.method in ("sigmoid", "isotonic")
    assert mapped.brier_after < mapped.brier_before - 0.01
    label = frames.holdout["label"]
    before, after = (
        ((probabilities(estimator, frames) - label) ** 2).mean()
        for estimator in (best.fitted, mapped.estimator)
    )
    assert after < before - 0.01


def test_a_map_refits_nothing_but_itself(frames: dataset.Frames):
    fitted = too_sure(frames).fitted

    mapped = calibration.with_map(fitted, frames.calibration, "sigmoid")

    # A sigmoid of the log-odds is their straight line, and leaves everybody's rank.
    log_odds = fitted.decision_function(frames.holdout[WINDOW_FEATURES])
    after = probabilities(mapped, frames)
    slope, intercept = np.polyfit(log_odds, np.log(after / (1 - after)), 1)
    np.testing.assert_allclose(np.log(after / (1 - after)), slope * log_odds + intercept, rtol=0, atol=1e-9)


def test_probabilities_that_are_right_are_left_as_they_are(frames: dataset.Frames):
    # Without the old ones logistic regression is the truth itself; and many, so that a map finds no chance.
    train, calibrating = (
        users(first, 4000, 5, first).query("account_age_days <= 300") for first in (1, 5000)
    )
    right = frames._replace(train=train, calibration=calibrating)
    best = competition.compete(right, estimator="logistic_regression")[0]

    mapped = competition.calibrate(best, right.calibration)

    assert mapped.method == "none"
    assert explain.uncalibrated(mapped.estimator) is best.fitted
    assert mapped.brier_after == mapped.brier_before
    # But for certainty: 4,000 users are asked, and half of them churn.
    before, after = (probabilities(estimator, right) for estimator in (best.fitted, mapped.estimator))
    assert np.abs(after - before).max() < 1 / 4000
    assert mapped.bounds == pytest.approx((1 / 4002, 4001 / 4002), abs=1e-5)


def test_a_map_is_not_judged_on_the_users_it_was_fitted_on(frames: dataset.Frames):
    # Labels by chance: fitted and judged on the same rows, isotonic regression would seem to find something.
    fitted: Any = too_sure(frames).fitted
    fitted[-1].coef_ *= 0.001
    fitted[-1].intercept_ *= 0
    by_chance = frames.calibration.assign(label=np.arange(len(frames.calibration)) % 2)

    in_sample = calibration.with_map(fitted, by_chance, "isotonic")
    seeming = ((calibration.churn_probability(in_sample, by_chance) - by_chance["label"]) ** 2).mean()
    found = calibration.out_of_sample_probabilities(fitted, by_chance, seed=42)
    honest = {method: calibration.brier(by_chance, probability) for method, probability in found.items()}

    assert seeming < honest["none"] - competition.WORTH_IT
    assert honest["isotonic"] > honest["none"]


def test_a_gain_within_one_standard_error_by_user_is_not_worth_a_map():
    rows = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3, 4, 4], "label": [1, 1, 0, 0, 0, 0, 0, 0]})
    before = np.full(8, 0.5)
    all_gain = np.array([0.6, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    one_gains_and_one_loses = np.array([0.9, 0.9, 0.8, 0.8, 0.5, 0.5, 0.5, 0.5])

    assert calibration.is_worth_it(rows, before, all_gain, least=1e-4)
    assert not calibration.is_worth_it(rows, before, all_gain, least=0.2)
    assert not calibration.is_worth_it(rows, before, one_gains_and_one_loses, least=-1)


def test_a_class_too_rare_to_be_halved_is_not_calibrated(frames: dataset.Frames):
    nearly_all_stay = frames.calibration.assign(label=(np.arange(len(frames.calibration)) % 100 == 0) * 1)

    mapped = competition.calibrate(too_sure(frames), nearly_all_stay)

    assert mapped.method == "none"


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_calibrated_estimator_pickles_names_its_features_and_takes_a_matrix(
    frames: dataset.Frames, method: calibration.Method
):
    estimator = calibration.with_map(too_sure(frames).fitted, frames.calibration, method)
    expected = probabilities(estimator, frames)

    for pickled in (pickle.dumps(estimator), cloudpickle.dumps(estimator)):
        assert b"churn_assets" not in pickled
        loaded = pickle.loads(pickled)
        assert list(loaded.feature_names_in_) == WINDOW_FEATURES
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            matrix = loaded.predict_proba(frames.holdout[WINDOW_FEATURES].to_numpy())
        assert (matrix[:, 1] == expected).all()


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "as before there were bounds"])
@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic"])
def test_what_won_is_rebuilt_bit_by_bit_from_its_spec(
    found: list[Candidate], frames: dataset.Frames, method: calibration.Method, bounded: bool
):
    made = calibration.with_bounded_map if bounded else calibration.with_map
    for winner in (found[0], of_name(found, "gradient_boosting")):
        spec = {"estimator": winner.estimator_name, "params": winner.params, "calibration": method}

        rebuilt = rebuilding.rebuild(json.loads(json.dumps(spec)), frames, bounded)

        then = made(winner.fitted, frames.calibration, method)
        assert (probabilities(rebuilt, frames) == probabilities(then, frames)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"calibration": "platt"}, "No calibration is called 'platt'"),
        ({"estimator": "forest"}, "No estimator is called 'forest'"),
        ({"params": {"max_iter": 0}}, "hist_gradient_boosting cannot be trained: .*max_iter"),
    ],
)
def test_a_spec_that_cannot_be_rebuilt_says_why(
    frames: dataset.Frames, changed: dict[str, Any], message: str
):
    spec = {"estimator": "hist_gradient_boosting", "params": {}, "calibration": "none"}

    with pytest.raises(ModelError, match=message):
        rebuilding.rebuild({**spec, **changed}, frames)
