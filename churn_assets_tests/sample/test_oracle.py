"""The oracle's probabilities are those of the simulation: by hand, at the limits, and counted."""

import datetime as dt
import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.dates import ONE_DAY
from churn_assets.sample.behaviour import WEEKLY_SEASON, events_of_day
from churn_assets.sample.population import draw_population, random_stream, truth_csv
from churn_assets_tests.sample import oracle

START = dt.date(2026, 1, 1)
FRIDAY = dt.date(2026, 3, 6)


def one_user(rate: float, hazard: float, days_silent: int, horizon_days: int = 30) -> float:
    probabilities = oracle.churn_probability(
        visits_per_day=np.array([rate]),
        daily_hazard=np.array([hazard]),
        feature_date=np.array([FRIDAY], dtype="datetime64[D]"),
        days_silent=np.array([days_silent]),
        horizon_days=horizon_days,
    )
    return float(probabilities[0])


def by_enumeration(rate: float, hazard: float, days_silent: int, horizon_days: int) -> float:
    """Sum over every first day of absence, counted from the day after the last event."""

    def no_event_for(days: int) -> float:
        last_event = FRIDAY - days_silent * ONE_DAY
        silence = [
            math.exp(-rate * WEEKLY_SEASON[(last_event + i * ONE_DAY).weekday()]) for i in range(1, days + 1)
        ]
        left_after = [
            math.exp(-hazard * present) * -math.expm1(-hazard) * math.prod(silence[:present])
            for present in range(days)
        ]
        return math.exp(-hazard * days) * math.prod(silence) + sum(left_after)

    return no_event_for(days_silent + horizon_days) / no_event_for(days_silent)


def test_a_user_who_never_leaves_stays_away_by_chance_alone() -> None:
    # Saturday to Monday.
    assert one_user(0.4, 0.0, days_silent=5, horizon_days=3) == pytest.approx(
        math.exp(-0.4 * (0.85 + 0.95 + 1.05))
    )


def test_a_user_who_never_visits_is_never_seen_again() -> None:
    assert one_user(0.0, 0.01, days_silent=3) == pytest.approx(1)


def test_a_user_who_visits_all_day_stays_silent_only_by_leaving_the_next_night() -> None:
    assert one_user(500.0, 0.01, days_silent=0) == pytest.approx(1 - math.exp(-0.01))
    assert one_user(500.0, 0.01, days_silent=1) == pytest.approx(1)


def test_who_is_sure_to_have_left_has_churned() -> None:
    assert one_user(0.3, 50.0, days_silent=0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("rate", "hazard", "days_silent"),
    list(itertools.product([0.05, 0.5, 3.0], [1e-9, 0.009, 0.2], [0, 1, 8, 29])),
)
def test_the_recursion_is_the_sum_over_every_day_of_leaving(
    rate: float, hazard: float, days_silent: int
) -> None:
    assert one_user(rate, hazard, days_silent, 7) == pytest.approx(
        by_enumeration(rate, hazard, days_silent, 7), rel=1e-9
    )


def test_of_the_users_to_whom_it_gives_a_probability_that_share_churns(tmp_path: Path) -> None:
    horizon_days, users, feature_day = 10, 100_000, 25
    days = feature_day + 1 + horizon_days
    population = draw_population(users, days, seed=3)
    last_seen = np.full(users, -1)
    seen_after = np.zeros(users, dtype=bool)
    for day in range(days):
        events = events_of_day(population, day, START + day * ONE_DAY, random_stream(3, day + 1))
        if day <= feature_day:
            last_seen[events.user] = day
        else:
            seen_after[events.user] = True
    truth_file = tmp_path / "truth.csv"
    truth_file.write_bytes(truth_csv(population, START, days))
    known = np.flatnonzero(last_seen >= 0)
    rows = pd.DataFrame(
        {
            "user_id": population.user_id[known],
            "feature_date": START + feature_day * ONE_DAY,
            "days_since_last_event": feature_day - last_seen[known],
        }
    )

    probability = oracle.probabilities(rows, truth_file, horizon_days)
    label = ~seen_after[known]

    by_probability = np.array_split(np.argsort(probability), 10)
    errors = np.array([probability[bin_].mean() - label[bin_].mean() for bin_ in by_probability])
    assert len(rows) > 50_000
    assert np.abs(errors).mean() < 0.01
    # Where the oracle is sure, the bins say more: four standard errors each.
    allowed = [4 * np.sqrt((probability[b] * (1 - probability[b])).sum()) / len(b) for b in by_probability]
    assert (np.abs(errors) < allowed).all()
