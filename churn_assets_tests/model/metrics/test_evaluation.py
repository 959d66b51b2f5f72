import numpy as np
import pytest

from churn_assets.errors import ModelError
from churn_assets.model.metrics.evaluation import (
    CostMatrix,
    calibration_error,
    evaluate,
    lift,
)


def test_metrics_of_four_users_can_be_checked_by_hand():
    metrics = evaluate([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8])

    # Of the four pairs of a churned and a staying user, 0.4 against 0.5 is the only one in the wrong order.
    assert metrics["roc_auc"] == 0.75
    # The first churned user is 1st of 1, the second is 2nd among the top 3.
    assert metrics["pr_auc"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert metrics["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.5**2 + 0.2**2) / 4)
    # -(ln 0.9 + ln 0.4 + ln 0.5 + ln 0.8) / 4
    assert metrics["log_loss"] == pytest.approx(0.48449, abs=1e-5)
    assert metrics["churn_rate"] == 0.5
    assert metrics["rows"] == 4


def test_probabilities_that_are_right_on_average_but_not_in_each_bin_are_off():
    # Of ten at 0.8 six churn, of ten at 0.1 two do: 0.2 too much in one half, 0.1 too little in the other.
    probability = np.repeat([0.8, 0.1], 10)
    label = np.repeat([1.0, 0.0, 1.0, 0.0], [6, 4, 2, 8])

    assert calibration_error(label, probability) == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)


def test_a_bin_is_a_tenth_of_the_rows_from_the_most_probable_down():
    # 0.95 and 0.91 are one bin: 0.93 against a churn rate of 0.5. The nine others are exactly right.
    probability = np.repeat([0.95, 0.91, 0.0], [1, 1, 18])
    label = np.repeat([0.0, 1.0, 0.0], [1, 1, 18])

    assert calibration_error(label, probability) == pytest.approx(0.1 * 0.43)


def test_lift_is_the_churn_rate_of_the_top_over_that_of_all():
    # Both of the top tenth of 20 churn, and two of the others: 1.0 over 0.2.
    label = np.isin(np.arange(20), [0, 1, 10, 15]).astype("float64")

    assert lift(label, np.linspace(0.9, 0.1, 20), 0.1) == pytest.approx(5.0)


@pytest.mark.parametrize("labels_of_the_tied", [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
def test_lift_does_not_depend_on_the_order_of_equal_probabilities(labels_of_the_tied: list[float]):
    # One of the two places is taken by a churned user, the other by any of four of whom a quarter churned.
    label = np.array([1.0, *labels_of_the_tied, *[0.0] * 15])

    found = lift(label, np.repeat([0.9, 0.5, 0.1], [1, 4, 15]), 0.1)

    assert found == pytest.approx((1.25 / 2) / (2 / 20))


def test_profit_is_what_contacting_those_above_the_threshold_brings_in():
    costs = CostMatrix(contact_cost=2.0, saved_value=40.0, save_rate=0.25)

    metrics = evaluate([1, 0, 1, 0], [0.9, 0.2, 0.1, 0.0], costs)

    # From 2 / 10 on a contact pays. Two are contacted for 4; one of them would have churned, worth 10.
    assert costs.threshold == pytest.approx(0.2)
    assert metrics["profit"] == pytest.approx(1000 * (10 - 4) / 4)


def test_where_a_contact_never_pays_only_certainty_is_contacted():
    assert CostMatrix(contact_cost=9.0, saved_value=40.0, save_rate=0.1).threshold == 1.0


@pytest.mark.parametrize("unusable", [np.nan, np.inf])
def test_a_probability_that_is_no_number_cannot_be_judged(unusable: float):
    with pytest.raises(ModelError, match=r"^1 of 4 probabilities are missing or infinite; .*"):
        evaluate([0, 1, 0, 1], [0.1, unusable, 0.5, 0.8])


def test_a_probability_for_each_row_is_expected():
    with pytest.raises(ModelError, match=r"^3 probabilities for 4 rows; "):
        evaluate([0, 1, 0, 1], [0.1, 0.5, 0.8])


@pytest.mark.parametrize(("lowest", "highest"), [(-0.1, 0.8), (0.1, 1.5)])
def test_a_score_is_no_probability(lowest: float, highest: float):
    with pytest.raises(ModelError, match=f"^Probabilities from {lowest} to {highest};"):
        evaluate([0, 1, 0, 1], [lowest, 0.5, 0.5, highest])


@pytest.mark.parametrize("label", [0, 1])
def test_a_holdout_in_which_all_did_the_same_cannot_judge(label: int):
    with pytest.raises(ModelError, match=f"^The holdout has only label {label}; .*churn_labels"):
        evaluate([label, label], [0.2, 0.7])
