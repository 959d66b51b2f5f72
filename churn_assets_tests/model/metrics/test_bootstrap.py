import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from churn_assets.model.metrics.bootstrap import Ranking, Sampling, interval, paired_draws, user_numbers
from churn_assets.model.metrics.evaluation import CostMatrix, evaluate

COSTS = CostMatrix(contact_cost=1.0, saved_value=20.0, save_rate=0.1)
SAMPLING = Sampling(replicates=200, seed=1)

# Few values, so that many are equal; the two ends are where a logarithm has none.
PROBABILITIES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.500001, 0.9, 1.0])
ROWS = st.lists(st.tuples(st.integers(0, 1), PROBABILITIES, st.integers(0, 4)), min_size=2, max_size=60)


def weighted(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, probability, weight = (np.array(column, dtype="float64") for column in zip(*rows, strict=True))
    assume(len(set(label[weight > 0])) == 2)
    return label, probability, weight


@given(ROWS)
def test_each_weighted_metric_is_scikit_learns(rows: list[tuple[int, float, int]]):
    label, probability, weight = weighted(rows)

    metrics = Ranking(np.arange(len(label)), label, probability, COSTS).metrics(weight)

    for name, theirs in {
        "roc_auc": roc_auc_score,
        "pr_auc": average_precision_score,
        "brier": brier_score_loss,
        "log_loss": log_loss,
    }.items():
        expected = theirs(label, probability, sample_weight=weight)
        assert metrics[name] == pytest.approx(expected, abs=1e-12), name


@given(ROWS)
def test_a_weight_is_as_many_rows(rows: list[tuple[int, float, int]]):
    label, probability, weight = weighted(rows)

    metrics = Ranking(np.arange(len(label)), label, probability, COSTS).metrics(weight)

    times = weight.astype("int64")
    expected = evaluate(np.repeat(label, times), np.repeat(probability, times), COSTS)
    del expected["churn_rate"], expected["rows"]
    assert metrics == pytest.approx(expected, abs=1e-9)


def test_an_auc_without_one_of_the_labels_is_not_a_number():
    ranking = Ranking(np.arange(2), np.array([0.0, 1.0]), np.array([0.2, 0.7]))

    assert np.isnan(ranking.roc_auc(np.array([1.0, 0.0])))
    assert np.isnan(ranking.roc_auc(np.array([0.0, 1.0])))
    assert np.isnan(ranking.metrics(np.array([1.0, 0.0]))["pr_auc"])


def some_rows(users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    probability = generator.random(users)
    return np.arange(users), (generator.random(users) < probability).astype("float64"), probability


def test_as_many_users_are_drawn_as_there_are():
    drawn = np.array(list(Sampling(replicates=50, seed=3).draws(20)))

    assert drawn.shape == (50, 20)
    assert (drawn.sum(axis=1) == 20).all()
    # With replacement: now and then a user is drawn three times.
    assert drawn.max() >= 3


def test_the_same_seed_draws_the_same_users_and_another_one_others():
    one, again, other = (np.array(list(Sampling(5, seed).draws(30))) for seed in (1, 1, 2))

    assert (one == again).all()
    assert (one != other).any()


def test_the_spread_is_that_of_a_mean_of_independent_users():
    user, label, probability = some_rows(2_000)

    (drawn,) = paired_draws([Ranking(user, label, probability)], 2_000, SAMPLING)

    spread_of_a_mean = np.std((probability - label) ** 2) / np.sqrt(2_000)
    assert drawn["brier"].std() == pytest.approx(spread_of_a_mean, rel=0.15)


def test_more_rows_of_the_same_users_make_nothing_more_certain():
    user, label, probability = some_rows(300)
    once = Ranking(user, label, probability)
    on_ten_dates = Ranking(np.tile(user, 10), np.tile(label, 10), np.tile(probability, 10))

    (one,), (ten,) = (paired_draws([ranking], 300, SAMPLING) for ranking in (once, on_ten_dates))

    for metric in ("brier", "roc_auc", "pr_auc", "lift_10", "calibration_error", "profit"):
        assert interval(ten[metric]) == pytest.approx(interval(one[metric])), metric


def test_both_models_are_judged_by_the_same_users():
    user, label, probability = some_rows(300)

    ours, theirs = paired_draws([Ranking(user, label, probability)] * 2, 300, SAMPLING)

    assert interval(ours["roc_auc"] - theirs["roc_auc"]) == (0.0, 0.0)
    assert interval(ours["roc_auc"]).low < interval(ours["roc_auc"]).high


def test_the_interval_leaves_out_a_fortieth_at_either_end():
    assert interval(np.arange(201.0)) == pytest.approx((5.0, 195.0))


def test_users_are_numbered_whatever_their_ids():
    assert user_numbers([2**60 + 1, 7, 2**60, 7]).tolist() == [2, 0, 1, 0]
