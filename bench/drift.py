"""Drift by seed: the largest PSI on stationary dates and after visit rates halve, and when checks fail."""

import argparse
import datetime as dt
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_assets import settings as settings_module
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.model.registry.drift_reference import Drift, Reference, drift, make_reference, reference_of
from churn_assets.sample.behaviour import PURCHASE, RateChange, events_of_day
from churn_assets.sample.population import draw_population, random_stream
from churn_assets.tables import SCORE, WINDOW_FEATURES
from churn_assets.transforms.drift import JUDGED

START = dt.date(2026, 1, 1)
HORIZON = 30
WINDOW = 30
# What is trained once 180 days have been simulated, as in the demo; then 60 dates that nobody has touched.
DAYS = 180
STATIONARY = 60
SHIFTED = 3
MAXIMUM_TRAINING_ROWS = 25_000

# Who calibrates is not in the training rows.
TRAINED_USERS = 0.8

Counts = npt.NDArray[np.int64]
Score = Callable[[pd.DataFrame], npt.NDArray[np.float64]]


class History(NamedTuple):
    """Events and purchases: an array of a row a day and a column a user, each."""

    events: Counts
    purchases: Counts

    def features(self, day: int) -> pd.DataFrame:
        """``gold.user_features`` of one day, with user_id."""
        since = max(day - WINDOW + 1, 0)
        users = np.flatnonzero(self.events[since : day + 1].sum(axis=0))
        month = self.events[since : day + 1, users]
        return pd.DataFrame(
            {
                "user_id": users,
                "event_count_30d": month.sum(axis=0),
                "active_days_30d": (month > 0).sum(axis=0),
                "days_since_last_event": (month[::-1] > 0).argmax(axis=0),
                "purchase_count_30d": self.purchases[since : day + 1, users].sum(axis=0),
                "account_age_days": day - (self.events[:, users] > 0).argmax(axis=0),
                "rolling_7d_events": self.events[max(day - 6, 0) : day + 1, users].sum(axis=0),
            }
        )

    def labels(self, day: int, users: Counts) -> npt.NDArray[np.bool_]:
        """Who of these had no event in the horizon after the day."""
        return self.events[day + 1 : day + 1 + HORIZON, users].sum(axis=0) == 0


def simulated(users: int, days: int, seed: int, rates: RateChange | None = None) -> History:
    """What ``churn simulate`` would land, without late, doubled and broken lines."""
    population = draw_population(users, days, seed)
    history = History(np.zeros((days, users), np.int64), np.zeros((days, users), np.int64))
    for day in range(days):
        rng = random_stream(seed, day + 1)
        events = events_of_day(population, day, START + day * ONE_DAY, rng, rates)
        history.events[day] = np.bincount(events.user, minlength=users)
        bought = events.user[events.event_type == PURCHASE]
        history.purchases[day] = np.bincount(bought, minlength=users)
    return history


def trained(history: History, users: int, seed: int) -> tuple[Reference, Score]:
    """The reference of a model made after ``DAYS`` days, and the model."""
    from sklearn.ensemble import GradientBoostingClassifier

    from churn_assets.model.data.dataset import out_of_time_split

    split = out_of_time_split(DateRange(START, START + (DAYS - 1 - HORIZON) * ONE_DAY).days(), HORIZON)
    in_training = np.random.default_rng(seed).random(users) < TRAINED_USERS
    rows = _rows(history, split.train)
    rows = rows.loc[in_training[rows["user_id"]]]
    stride = -(-len(rows) // MAXIMUM_TRAINING_ROWS)
    rows = rows.loc[rows["day"] % stride == 0]
    model = GradientBoostingClassifier(n_estimators=50, max_depth=4, subsample=0.5, random_state=42)
    model.fit(rows[WINDOW_FEATURES], rows["label"])

    def score(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        return model.predict_proba(rows[WINDOW_FEATURES])[:, 1]

    holdout = _rows(history, split.holdout)
    return reference_of(make_reference(rows, score(holdout), holdout["user_id"])), score


def _rows(history: History, dates: DateRange) -> pd.DataFrame:
    """Features and labels of a range, with ``day`` from the first simulated one."""
    frames = []
    for date in dates.days():
        day = (date - START).days
        frame = history.features(day)
        frames.append(frame.assign(day=day, label=history.labels(day, frame["user_id"].to_numpy())))
    return pd.concat(frames, ignore_index=True)


class Date(NamedTuple):
    """One date: the judged feature with the largest PSI, the score, and what reached its limit."""

    feature: Drift
    score: Drift
    drifted: tuple[str, ...]


def judged(found: list[Drift], limit: float) -> Date:
    """What the checks say of a date, with ``limit`` for ``CHURN_DRIFT_FAIL``."""
    features = [one for one in found if one.feature in JUDGED]
    score = next(one for one in found if one.feature == SCORE)
    drifted = [one.feature for one in (*features, score) if one.psi >= max(limit, one.psi_by_chance)]
    return Date(max(features, key=lambda one: one.psi), score, tuple(drifted))


def experiment(users: int, seed: int, limit: float, factor: float) -> tuple[list[Date], list[Date]]:
    """The stationary dates, and those from the change of the rates on; its weekday differs by seed."""
    first = DAYS + seed % 7
    change = first + STATIONARY
    rates = RateChange(START + change * ONE_DAY, factor)
    history = simulated(users, change + SHIFTED, seed, rates)
    reference, score = trained(history, users, seed)
    dates = []
    for day in range(first, change + SHIFTED):
        rows = history.features(day)
        dates.append(judged(drift(reference, rows, score(rows)), limit))
    return dates[:STATIONARY], dates[STATIONARY:]


def main(users: int = 2_000, seeds: int = 5, fail: float | None = None, factor: float = 0.5) -> None:
    """Print a line a seed."""
    limit = settings_module.load(_env_file=None).drift_fail if fail is None else fail
    print(f"{users:,} users; limit {limit:g}, or chance; rates x {factor:g} after {STATIONARY} dates")
    print("seed | before: largest PSI of a feature, of the score, dates that fail | after: +0 +1 +2, score")
    false_alarms = missed = 0
    for seed in range(1, seeds + 1):
        before, after = experiment(users, seed, limit, factor)
        worst = max((date.feature for date in before), key=lambda one: one.psi)
        failing = sum(bool(date.drifted) for date in before)
        first = next((i for i, date in enumerate(after) if date.drifted), None)
        false_alarms, missed = false_alarms + bool(failing), missed + (first is None)
        print(
            f"{seed:4} | {worst.psi:.3f} {worst.feature} (chance {worst.psi_by_chance:.3f}), "
            f"{max(date.score.psi for date in before):.3f}, {failing} | "
            f"{' '.join(f'{date.feature.psi:.3f}' for date in after)}, "
            f"{' '.join(f'{date.score.psi:.3f}' for date in after)}: "
            + ("no alarm" if first is None else f"alarm on +{first}, {', '.join(after[first].drifted)}"),
            flush=True,
        )
    print(f"{seeds} seeds: {false_alarms} with a false alarm, {missed} without an alarm within three dates")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fail", type=float, help="the limit, without it CHURN_DRIFT_FAIL")
    parser.add_argument("--factor", type=float, default=0.5)
    main(**vars(parser.parse_args()))
