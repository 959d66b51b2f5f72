import numpy as np
import pytest

from churn_assets.model.metrics import curves, evaluation
from churn_assets.model.metrics.evaluation import CostMatrix

LABEL = np.array([1.0, 0.0, 1.0, 0.0])
PROBABILITY = np.array([0.9, 0.6, 0.4, 0.1])
# A contact costs 2 and gains 10 from a churner, so it pays from 0.2 on.
COSTS = CostMatrix(contact_cost=2.0, saved_value=40.0, save_rate=0.25)


def at(curve: curves.Curve, x: float) -> float:
    return float(curve.y[np.abs(curve.x - x).argmin()])


def test_the_profit_of_each_threshold_can_be_checked_by_hand():
    curve = curves.profit(LABEL, PROBABILITY, COSTS)

    # All four: 2 x 10 - 4 x 2 = 12 a four users. From 0.2 on three: 20 - 6. From 0.5 on two: 10 - 4.
    assert at(curve, 0.0) == 1000 * 12 / 4
    assert at(curve, 0.2) == curve.summary == 1000 * 14 / 4
    assert at(curve, 0.5) == 1000 * 6 / 4
    assert at(curve, 1.0) == 0


def test_a_user_exactly_at_the_threshold_is_contacted_as_in_the_key_figures():
    probability = np.array([0.9, 0.6, COSTS.threshold, 0.1])

    drawn = curves.profit(LABEL, probability, COSTS).summary

    assert drawn == evaluation.evaluate(LABEL, probability, COSTS)["profit"] == 1000 * 14 / 4
    assert curves.contact_shares(LABEL, probability, COSTS.threshold) == (0.75, 2 / 3, 1.0)


def test_nobody_contacted_is_no_division_by_zero():
    assert curves.contact_shares(LABEL, PROBABILITY, 0.95) == (0.0, 0.0, 0.0)


def test_half_of_the_users_reach_half_of_the_churners_here():
    curve = curves.gain(LABEL, PROBABILITY)

    assert at(curve, 0.5) == pytest.approx(0.5)
    # A quarter holds one of two churners, so a tenth 0.2 of them: twice as many as at random.
    assert at(curve, 0.1) == pytest.approx(0.2)
    assert curve.summary == pytest.approx(2.0)


def test_equal_probabilities_gain_nothing_whatever_the_order_of_the_rows():
    curve = curves.gain(np.array([1.0, 1.0, 0.0, 0.0]), np.full(4, 0.5))

    assert np.allclose(curve.y, curve.x)


def test_users_of_equal_probability_are_reached_evenly_between_the_others():
    # First one churner, then three alike of whom one churns: half of them are half of him.
    curve = curves.gain(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.5, 0.5, 0.5]))

    assert at(curve, 0.25) == pytest.approx(0.5, abs=0.01)
    assert at(curve, 0.625) == pytest.approx(0.75, abs=0.01)


def test_bins_of_the_reliability_diagram_hold_rows_of_equal_probability_together():
    probability = np.repeat([0.1, 0.8], 10)
    label = np.repeat([1.0, 0.0, 1.0, 0.0], [2, 8, 6, 4])

    bins = curves.reliability_bins(label, probability)

    assert [(round(given, 9), happened, rows) for given, happened, rows in bins] == [
        (0.1, 0.2, 10),
        (0.8, 0.6, 10),
    ]
    assert curves.reliability(label, probability).summary == pytest.approx(0.15)


def test_the_distance_of_the_bins_is_the_calibration_error_of_the_key_figures():
    probability = np.round(np.random.default_rng(0).beta(1, 4, 997), 2)
    label = (np.arange(997) % 3 == 0).astype("float64")

    bins = curves.reliability_bins(label, probability)

    distance = sum(rows * abs(given - happened) for given, happened, rows in bins) / 997
    assert distance == pytest.approx(curves.reliability(label, probability).summary)


def test_a_curve_of_many_rows_keeps_its_ends_and_not_all_of_its_corners():
    random = np.random.default_rng(0)
    label, probability = random.integers(0, 2, 20_000).astype("float64"), random.random(20_000)

    roc, both = curves.roc(label, probability), curves.precision_recall(label, probability)

    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert both.x[0] == 1
    assert len(roc.x) <= 500 >= len(both.x)


def test_full_precision_for_nobody_found_is_not_drawn():
    # All churn with the same probability as all stay: there is one list to be had, with half of it right.
    curve = curves.precision_recall(LABEL, np.full(4, 0.5))

    assert (curve.x.tolist(), curve.y.tolist()) == ([1.0], [0.5])


@pytest.mark.parametrize(
    ("label", "probability"),
    [
        ([], []),
        ([1.0, 0.0], [0.5]),
        ([1.0, 1.0], [0.5, 0.6]),
        ([1.0, 0.0], [0.5, np.nan]),
        ([1.0, 0.0], [0.5, 1.5]),
        ([1.0, 0.0], None),
    ],
    ids=["empty", "too few", "one class", "not a number", "beyond 1", "none"],
)
def test_what_cannot_be_judged_is_not_drawn(label: list[float], probability: list[float] | None):
    assert not curves.can_be_drawn(np.array(label), probability)
    assert curves.can_be_drawn(LABEL, PROBABILITY)
