"""The churn probability for somebody who knows each simulated user's true visit rate and hazard.

The ceiling of what a model can learn, as recency alone is its floor. It also knows the weekly season, and of
the history all that matters once rate and hazard are known: when the user was last seen. Support tickets,
which come more often in the last two weeks of a stay, would tell it a little more; no feature counts them.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_assets.sample.behaviour import WEEKLY_SEASON
from churn_assets.sample.population import Floats

Dates = npt.NDArray[np.datetime64]

# Day 0 of numpy's calendar, 1970-01-01, was a Thursday; WEEKLY_SEASON begins on Monday.
WEEKDAY_OF_DAY_0 = 3


def probabilities(rows: pd.DataFrame, truth_file: Path, horizon_days: int) -> Floats:
    """The oracle's answer for rows of ``gold.user_features``.

    Args:
        rows: user_id, feature_date (date) and days_since_last_event (days) of simulated users.
        truth_file: what ``population.truth_csv`` wrote.
        horizon_days: days after the feature_date in which one event means that the user stayed.

    Returns:
        Probability of label 1, in the order of the rows.
    """
    truth = pd.read_csv(truth_file, index_col="user_id").loc[rows["user_id"]]
    return churn_probability(
        visits_per_day=truth["visits_per_day"].to_numpy("float64"),
        daily_hazard=truth["daily_hazard"].to_numpy("float64"),
        feature_date=rows["feature_date"].to_numpy("datetime64[D]"),
        days_silent=rows["days_since_last_event"].to_numpy("int64"),
        horizon_days=horizon_days,
    )


def churn_probability(
    *,
    visits_per_day: Floats,
    daily_hazard: Floats,
    feature_date: Dates,
    days_silent: npt.NDArray[np.int64],
    horizon_days: int,
) -> Floats:
    """P(no event in the horizon | an event ``days_silent`` days before feature_date, and none since).

    A user who is present visits as a Poisson process and is gone the next day with probability
    1 - exp(-hazard), whatever came before; who is gone stays away. So one number a user is enough to carry
    forward, the probability of still being present.

    Args:
        visits_per_day: mean visits on a day of season 1, while the user is present.
        daily_hazard: of leaving for ever, a day.
        feature_date: days, datetime64[D].
        days_silent: days from the last event to feature_date, 0 if it was on it.
        horizon_days: days that have to stay silent.

    Returns:
        One probability an element of the arrays.
    """
    # expm1: of a small hazard, 1 - exp(-hazard) would keep only half of the digits.
    stays, leaves = np.exp(-daily_hazard), -np.expm1(-daily_hazard)
    day = feature_date.astype("datetime64[D]").astype("int64")
    present, gone = np.ones_like(stays), np.zeros_like(stays)
    for back in range(int(days_silent.max(initial=0)) - 1, -1, -1):
        # Of those whose last event lies before the day D-back, which was silent as well.
        has_begun = days_silent > back
        left = gone + present * leaves
        still = present * stays * _silence(visits_per_day, day - back)
        present = np.where(has_begun, still / (still + left), present)
        gone = np.where(has_begun, left / (still + left), gone)
    for ahead in range(1, horizon_days + 1):
        gone += present * leaves
        present *= stays * _silence(visits_per_day, day + ahead)
    return gone + present


def _silence(visits_per_day: Floats, day: npt.NDArray[np.int64]) -> Floats:
    """The probability that somebody who is present makes no visit on the day."""
    season = np.array(WEEKLY_SEASON)[(day + WEEKDAY_OF_DAY_0) % 7]
    return np.exp(-visits_per_day * season)
