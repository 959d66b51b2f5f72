"""Expected performance is the mean over everything that could happen."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from churn_assets.model.metrics import expected

# Few distinct values, so that ties are common; 0 and 1 are users who are sure.
PROBABILITIES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0]), min_size=1, max_size=7)


def outcomes(probabilities: list[float]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every way in which the users can churn or stay, with its probability."""
    for labels in itertools.product([0, 1], repeat=len(probabilities)):
        yield (
            labels,
            math.prod(p if label else 1 - p for p, label in zip(probabilities, labels, strict=True)),
        )


def pairs(probabilities: list[float], labels: tuple[int, ...]) -> tuple[float, int]:
    """Pairs of one who churned and one who stayed: ranked rightly (ties half), and all."""
    by_label: dict[int, list[float]] = {0: [], 1: []}
    for p, label in zip(probabilities, labels, strict=True):
        by_label[label].append(p)
    compared = [(a > b) + 0.5 * (a == b) for a in by_label[1] for b in by_label[0]]
    return sum(compared), len(compared)


@given(PROBABILITIES)
def test_the_expected_auc_is_expected_right_pairs_by_expected_pairs(probabilities: list[float]) -> None:
    right = total = 0.0
    for labels, chance in outcomes(probabilities):
        ranked, compared = pairs(probabilities, labels)
        right += chance * ranked
        total += chance * compared
    found = expected.expected_roc_auc(np.array(probabilities))
    if total < 1e-12:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(right / total, abs=1e-9)


@given(PROBABILITIES)
def test_expected_brier_and_churn_rate_are_means_over_all_outcomes(probabilities: list[float]) -> None:
    every = list(outcomes(probabilities))
    brier = sum(
        chance * np.mean((np.array(probabilities) - labels) ** 2) for labels, chance in every if chance
    )
    rate = sum(chance * np.mean(labels) for labels, chance in every)
    assert expected.expected_brier(probabilities) == pytest.approx(brier, abs=1e-9)
    assert expected.expected_churn_rate(probabilities) == pytest.approx(rate, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.2, 0.7, 1.0]), st.integers(1, 4)), max_size=6))
def test_counted_users_are_the_same_as_users_one_by_one(counted: list[tuple[float, int]]) -> None:
    probability, rows = [p for p, _ in counted], [n for _, n in counted]
    one_by_one = [p for p, n in counted for _ in range(n)]
    for measure in (expected.expected_roc_auc, expected.expected_brier, expected.expected_churn_rate):
        assert measure(probability, rows) == pytest.approx(measure(one_by_one), nan_ok=True)


def test_labels_drawn_from_the_probabilities_behave_as_expected() -> None:
    rng = np.random.default_rng(5)
    probability = rng.beta(0.5, 1.5, 20_000)
    draws = [rng.random(20_000) < probability for _ in range(10)]

    auc = np.mean([roc_auc_score(label, probability) for label in draws])
    brier = np.mean([brier_score_loss(label, probability) for label in draws])

    # About six standard errors of the mean of ten draws each.
    assert expected.expected_roc_auc(probability) == pytest.approx(auc, abs=0.005)
    assert expected.expected_brier(probability) == pytest.approx(brier, abs=0.003)
    assert expected.expected_churn_rate(probability) == pytest.approx(np.mean(draws), abs=0.005)


def test_of_two_users_at_80_and_20_percent_sixteen_of_seventeen_pairs_are_right() -> None:
    # Right with 0.8 * 0.8, wrong with 0.2 * 0.2; otherwise both churn or both stay, and there is no pair.
    assert expected.expected_roc_auc([0.8, 0.2]) == pytest.approx(16 / 17)


def test_of_evenly_spread_probabilities_five_pairs_in_six_are_right() -> None:
    # Who churns has density 2p, who stays 2(1-p); the integral of 2p * (2p - p^2) over 0 to 1 is 5/6.
    probability = np.arange(1_000_000) / 1_000_000
    assert expected.expected_roc_auc(probability) == pytest.approx(5 / 6, abs=1e-5)


@pytest.mark.parametrize("nobody", [[], [0.3], [0.0, 0.0], [1.0, 1.0, 1.0]])
def test_where_there_is_no_pair_there_is_no_auc(nobody: list[float]) -> None:
    assert math.isnan(expected.expected_roc_auc(nobody))


def test_without_users_nothing_is_expected() -> None:
    assert math.isnan(expected.expected_brier([]))
    assert math.isnan(expected.expected_churn_rate([]))
