import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.model.gate import slices
from churn_assets.model.gate.decision import Decision, Difference
from churn_assets.model.gate.gate import decide
from churn_assets.model.gate.leakage import alarms
from churn_assets.model.gate.slices import Slice
from churn_assets.model.metrics import bootstrap, evaluation
from churn_assets.model.metrics.evaluation import CostMatrix

COSTS = CostMatrix(contact_cost=1.0, saved_value=50.0, save_rate=0.1)

# 400 users on three dates each; user number u churns with a probability of about u / 400.
USERS = 400
USER = np.tile(np.arange(USERS), 3)
ROWS = len(USER)
RATE = (USER + 0.5) / USERS
GENERATOR = np.random.default_rng(0)
LABEL = (GENERATOR.random(ROWS) < RATE).astype("int64")


def blurred(noise: float, seed: int = 1) -> np.ndarray:
    """The true rates, seen through noise: the more, the worse."""
    return np.clip(RATE + np.random.default_rng(seed).normal(0, noise, ROWS), 0, 1)


GOOD, BAD, FLOOR = blurred(0.02), blurred(0.15), blurred(0.3)

HOLDOUT = pd.DataFrame(
    {
        "user_id": USER,
        "label": LABEL,
        "account_age_days": np.array([10.0, 60.0, 120.0, 400.0])[USER % 4],
        "country": np.array(["GB", "DE"], dtype=object)[USER // 2 % 2],
    }
)


def decided(
    challenger: Any = GOOD, champion: Any = BAD, floor: Any = FLOOR, holdout: Any = HOLDOUT, **options: Any
) -> Decision:
    return decide(holdout, challenger, champion, floor, **{"costs": COSTS, "slice_floor": 0.55, **options})


def test_a_better_challenger_is_promoted_and_the_numbers_say_why():
    decision = decided()

    assert (decision.promoted, decision.against) == (True, "champion")
    brier = next(one for one in decision.differences if one.metric == "brier")
    assert brier.high < 0
    better, nothing_worse, no_slice = decision.reasons
    assert better == (
        f"Brier {decision.challenger['brier']:.4f} against {decision.champion['brier']:.4f} of the champion; "
        f"the difference of {brier.challenger - brier.champion:+.4f} (95 % {brier.low:+.4f} to "
        f"{brier.high:+.4f}) is better beyond noise."
    )
    assert nothing_worse.startswith("Nothing else is worse beyond noise: ROC AUC, PR AUC, calibration error,")
    assert no_slice == "None of 6 slices falls short."


def test_a_worse_challenger_is_refused():
    decision = decided(BAD, GOOD)

    assert not decision.promoted
    assert decision.reasons[0].startswith("Brier 0.")
    assert decision.reasons[0].endswith("is worse beyond noise.")


@settings(max_examples=20)
@given(noise=st.floats(0.0, 0.5), by=st.floats(-1e-12, 1e-12))
def test_equal_models_are_never_promoted(noise: float, by: float):
    model = blurred(noise)

    decision = decided(np.clip(model + by, 0, 1), model)

    assert not decision.promoted
    assert decision.reasons[0].endswith("is within noise.")


def test_of_equally_good_models_few_are_promoted_by_chance():
    pairs = [(blurred(0.1, seed), blurred(0.1, seed + 100)) for seed in range(30)]

    promoted = [decided(one, other, replicates=100).promoted for one, other in pairs]

    # A fortieth is what a 95 % interval leaves on its better side.
    assert sum(promoted) <= 3


def test_the_same_rows_three_times_are_no_more_evidence():
    tripled = pd.concat([HOLDOUT] * 3, ignore_index=True)

    once = decided()
    thrice = decided(np.tile(GOOD, 3), np.tile(BAD, 3), np.tile(FLOOR, 3), tripled)

    for one, other in zip(once.differences, thrice.differences, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high)), one.metric


def test_the_first_model_is_promoted_where_it_beats_recency():
    decision = decided(GOOD, None)

    assert (decision.promoted, decision.against, decision.champion) == (True, "recency", {})
    assert [reason.split(" 0.")[0] for reason in decision.reasons[:2]] == ["Brier", "ROC AUC"]
    assert "of recency alone; the difference of " in decision.reasons[1]


def test_the_first_model_is_refused_where_recency_alone_is_as_good():
    decision = decided(FLOOR, None)

    assert not decision.promoted
    assert [reason.split(" 0.")[0] for reason in decision.reasons] == ["Brier", "ROC AUC"]


def test_the_first_model_must_rank_better_and_not_only_be_better_calibrated():
    # The same order of users as recency's, with probabilities nearer to what happens.
    decision = decided(0.15 + 0.7 * RATE, None, RATE**4)

    (reason,) = decision.reasons
    assert not decision.promoted
    assert reason.startswith("ROC AUC")


# In the right order, and all too near to a half: a model with a better Brier score may still rank worse.
TIMID = 0.35 + 0.3 * RATE


@pytest.mark.parametrize(
    ("metric", "challenger", "champion"),
    [
        # Near the true rates, but the lower half has one value: nobody is ranked there.
        ("roc_auc", np.where(RATE < 0.5, 0.25, RATE), TIMID),
        # A little too high everywhere; the champion knows nobody, but is right on average.
        ("calibration_error", np.clip(RATE + 0.08, 0, 1), np.full(ROWS, LABEL.mean())),
        # From 0.2 on a contact pays, but users up to 0.6 are put below.
        ("profit", np.where((RATE > 0.19) & (RATE < 0.6), 0.19, RATE), TIMID),
    ],
)
def test_a_better_brier_score_does_not_outweigh_a_loss(
    metric: str, challenger: np.ndarray, champion: np.ndarray
):
    decision = decided(challenger, champion)

    brier, lost = (
        next(one for one in decision.differences if one.metric == name) for name in ("brier", metric)
    )
    assert brier.is_better
    assert lost.is_worse
    assert not decision.promoted
    assert lost.sentence("champion") in decision.reasons


# It says of every 40th row that churn is impossible; the others are never sure.
TOO_SURE = np.where(np.arange(ROWS) % 40 == 0, 1e-12, GOOD)
UNSURE_FLOOR, UNSURE_CHAMPION = np.clip(FLOOR, 0.1, 0.9), np.clip(blurred(0.2, 5), 0.1, 0.9)


def test_a_log_loss_above_that_of_recency_is_said_and_refuses_nothing():
    decision = decided(TOO_SURE, None, UNSURE_FLOOR)

    (note,) = decision.notes
    assert decision.promoted
    assert decision.challenger["log_loss"] > decision.floor["log_loss"]
    assert note.startswith(f"Log loss {decision.challenger['log_loss']:.4f} against ")
    assert "of recency alone" in note
    assert note.endswith(" This refuses nothing.")
    assert decision.as_json()["notes"] == [note]


def test_beside_a_champion_the_log_loss_is_compared_with_both():
    decision = decided(TOO_SURE, UNSURE_CHAMPION, UNSURE_FLOOR)

    of_champion, of_recency = decision.notes
    assert "of the champion;" in of_champion
    assert f"against {decision.floor['log_loss']:.4f} of recency alone;" in of_recency


def test_nothing_is_noted_of_a_model_that_is_better_in_everything():
    assert decided().notes == ()
    assert decided(GOOD, None).notes == ()


def test_a_leaked_feature_refuses_and_is_named():
    found = alarms(HOLDOUT.assign(events_next_month=1 - LABEL), ["account_age_days", "events_next_month"])

    decision = decided(alarms=found)

    (reason,) = decision.reasons
    assert not decision.promoted
    assert reason.startswith("events_next_month alone tells churned from staying users")
    # The numbers are there all the same.
    assert decision.challenger["brier"] < decision.champion["brier"]


def test_an_empty_holdout_refuses():
    empty = np.empty(0)

    decision = decided(empty, empty, empty, HOLDOUT.iloc[:0])

    assert not decision.promoted
    assert decision.reasons[0].startswith("The comparison failed: the holdout has no row.")


def test_a_holdout_with_one_label_refuses():
    decision = decided(holdout=HOLDOUT.assign(label=0))

    assert not decision.promoted
    assert "0 churned and 400 staying users; it takes" in decision.reasons[0]


def test_a_holdout_of_few_users_refuses_however_many_rows_it_has():
    decision = decided(holdout=HOLDOUT.assign(user_id=USER % 15))

    assert not decision.promoted
    assert "15 churned and 15 staying users; it takes 200 rows and 20 users of each." in decision.reasons[0]


@pytest.mark.parametrize("column", ["user_id", "label", "account_age_days"])
def test_a_missing_column_refuses_and_is_named(column: str):
    decision = decided(holdout=HOLDOUT.drop(columns=column))

    assert decision.reasons == (f"The comparison failed: the holdout has no column {column}.",)
    assert not decision.promoted


@pytest.mark.parametrize(("column", "value"), [("user_id", np.nan), ("label", 2), ("label", np.nan)])
def test_a_row_that_cannot_be_judged_refuses(column: str, value: float):
    holdout = HOLDOUT.astype({column: "float64"})
    holdout.loc[5, column] = value

    decision = decided(holdout=holdout)

    assert not decision.promoted
    assert "rows without user_id, or whose label is neither 0 nor 1" in decision.reasons[0]


@pytest.mark.parametrize("who", ["challenger", "champion", "floor"])
def test_missing_probabilities_of_some_rows_refuse_and_the_model_is_named(who: str):
    some_missing = np.where(USER < 4, np.nan, GOOD)

    decision = decided(**{who: some_missing})

    (reason,) = decision.reasons
    assert not decision.promoted
    name = "recency floor" if who == "floor" else who
    assert reason.startswith(
        f"The {name} cannot be judged: 12 of 1,200 probabilities are missing or infinite"
    )
    # What could be judged is told.
    assert getattr(decision, who) == {}
    assert all(getattr(decision, other) for other in {"challenger", "champion", "floor"} - {who})


@pytest.mark.parametrize(
    ("unusable", "said"),
    [
        (GOOD[:-1], "1,199 probabilities for 1,200 rows"),
        (np.empty(0), "0 probabilities for 1,200 rows"),
        (GOOD * 2, "they must be within 0 and 1"),
        (None, "1 probabilities for 1,200 rows"),
        ("no model", "could not convert string to float"),
    ],
)
def test_probabilities_that_cannot_be_refuse(unusable: Any, said: str):
    decision = decided(challenger=unusable)

    assert not decision.promoted
    assert said in decision.reasons[0]


@pytest.mark.parametrize("metric", ["calibration_error", "lift"])
def test_a_metric_that_is_no_number_refuses_and_is_named(monkeypatch: pytest.MonkeyPatch, metric: str):
    monkeypatch.setattr(evaluation, metric, lambda *_: float("nan"))

    decision = decided()

    assert not decision.promoted
    name = {"lift": "lift_10"}.get(metric, metric)
    assert (
        decision.reasons[0] == f"The challenger cannot be judged: {name} is nan, where a number is expected."
    )
    assert decision.challenger == {}


@pytest.mark.parametrize(
    ("module", "name"),
    [(evaluation, "lift"), (bootstrap, "_pr_auc"), (bootstrap, "interval"), (slices, "_members_by_slice")],
)
def test_an_exception_in_a_metric_refuses_and_is_told(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str
):
    def broken(*_: Any) -> float:
        raise ZeroDivisionError("no user\nat all")

    monkeypatch.setattr(module, name, broken)

    decision = decided()

    assert not decision.promoted
    assert decision.reasons[0].endswith("ZeroDivisionError: no user at all")


def test_a_draw_without_an_auc_refuses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "_roc_auc", lambda *_: float("nan"))

    decision = decided()

    assert decision.reasons == ("The comparison failed: the difference in roc_auc is not a number.",)
    assert not decision.promoted


@pytest.mark.parametrize(
    "options",
    [
        {"slice_floor": float("nan")},
        {"costs": CostMatrix(float("nan"), 50.0, 0.1)},
        {"costs": CostMatrix(1.0, 0.0, 0.1)},
        {"replicates": 0},
        {"replicates": 1},
        {"alarms": None},
    ],
)
def test_a_setting_that_cannot_be_refuses(options: dict[str, Any]):
    decision = decided(**options)

    assert not decision.promoted
    assert decision.reasons


def test_a_slice_that_is_bad_refuses_though_the_total_is_good():
    inverted = np.where(HOLDOUT["account_age_days"] == 60, 1 - GOOD, GOOD)

    decision = decided(inverted, blurred(0.6), holdout=HOLDOUT.drop(columns="country"))

    brier = next(one for one in decision.differences if one.metric == "brier")
    assert brier.is_better
    assert not decision.promoted
    below, worse = decision.reasons
    assert below.startswith("Slice account age 30-89 days (300 rows): ROC AUC 0.")
    assert below.endswith("is below the floor of 0.55.")
    assert "of the champion; the difference of -" in worse


def from_json(text: str) -> Decision:
    content = json.loads(text)
    return Decision(
        **{
            **content,
            "reasons": tuple(content["reasons"]),
            "notes": tuple(content["notes"]),
            "differences": tuple(Difference(**difference) for difference in content["differences"]),
            "slices": tuple(Slice(**part) for part in content["slices"]),
        }
    )


def test_a_decision_survives_json():
    for decision in (decided(), decided(BAD, None), decided(alarms=["No."]), decided(None)):
        assert from_json(json.dumps(decision.as_json(), allow_nan=False)) == decision


def test_a_small_difference_shows_its_sign():
    sentence = Difference("brier", 0.10001, 0.10004, -0.00004, -0.00002).sentence("champion")

    assert "the difference of -0.00003 (95 % -0.00004 to -0.00002) is better beyond noise" in sentence


ANY_ARRAY = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.lists(st.floats(), max_size=5).map(np.array),
    st.tuples(st.integers(0, ROWS - 1), st.floats()).map(
        lambda at: np.where(np.arange(ROWS) == at[0], at[1], GOOD)
    ),
    st.sampled_from([GOOD, BAD, FLOOR]),
    st.just(GOOD.reshape(2, -1)),
)
ANY_HOLDOUT = st.one_of(
    st.none(),
    st.just(HOLDOUT),
    st.integers(0, ROWS).map(lambda rows: HOLDOUT.iloc[:rows]),
    st.sampled_from(list(HOLDOUT.columns)).map(lambda name: HOLDOUT.drop(columns=name)),
    st.tuples(st.sampled_from(list(HOLDOUT.columns)), st.one_of(st.none(), st.floats(), st.text())).map(
        lambda given: HOLDOUT.assign(**{given[0]: given[1]})
    ),
)


def is_usable(model: Any) -> bool:
    return (
        isinstance(model, np.ndarray)
        and model.shape == (ROWS,)
        and bool((np.isfinite(model) & (model >= 0) & (model <= 1)).all())
    )


@settings(max_examples=150)
@given(ANY_HOLDOUT, ANY_ARRAY, ANY_ARRAY, ANY_ARRAY)
def test_whatever_is_given_nothing_raises_and_nothing_unusable_is_promoted(
    holdout: Any, challenger: Any, champion: Any, floor: Any
):
    decision = decided(challenger, champion, floor, holdout, replicates=20)

    models = [challenger, floor] + ([] if champion is None else [champion])
    assert decision.reasons
    assert all(reason == " ".join(reason.split()) for reason in decision.reasons)
    if decision.promoted:
        assert all(is_usable(model) for model in models)
    assert from_json(json.dumps(decision.as_json(), allow_nan=False)) == decision
