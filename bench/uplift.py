"""Whether lists ranked by uplift earn more, and are taken only then, on users whose true effects are known.

    python -m bench.uplift                       # 10 runs of each case, minutes
    python -m bench.uplift --runs 200 --case equal
    python -m bench.uplift --users 60000 --control 0.1 0.3

Users come more or less often, and their features are what that leaves behind. A model that sees their risk
with an error lists them by risk x value, and a lot decides who is contacted. A third are listed at once, as
when lists begin, the others over half a year. What the order by uplift is truly worth is counted on other
users of the same kind: the churners saved, times their value, by a list of a fifth of them.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from churn_assets.retention.effect import Array
from churn_assets.retention.uplift import Comparison, TLearner, compared

# The share of users whom the list that is counted has room for.
BUDGET = 0.2
# What an order that is no better may be taken in, and how many users say what a list is worth.
MOST_TAKEN_IN_VAIN = 0.05
JUDGED_USERS = 5_000

CONTACT_COST, ASSUMED_SAVE_RATE, USUAL_VALUE = 1.0, 0.15, 50.0

FIRST_DATE = np.datetime64("2026-01-01")
DAYS = 180


@dataclass(frozen=True)
class Case:
    """A population, and whom a contact saves in it.

    Attributes:
        saves: the share of would-be churners whom a contact saves, of users with these features.
        users: listed users whose horizon is over.
        control: share of control.
        spread: of the logarithm of values; 0 where all are worth the same.
        reached: share of users to be contacted who are.
        is_worth_it: whether another order than that of risk earns more.
    """

    name: str
    saves: Callable[[pd.DataFrame], Array]
    users: int = 6_000
    control: float = 0.1
    spread: float = 1.0
    reached: float = 0.7
    is_worth_it: bool = True


def _same(users: pd.DataFrame) -> Array:
    return np.full(len(users), 0.17)


def _newcomers(users: pd.DataFrame) -> Array:
    return np.where(users["account_age_days"] < 120, 0.42, 0.04)


def _buyers(users: pd.DataFrame) -> Array:
    return np.where(users["purchase_count_30d"] > 0, 0.4, 0.05)


def _not_lost(users: pd.DataFrame) -> Array:
    # By risk band, as in bench.treatments: the surer the churn, the less helps.
    risk = users["churn_probability"].to_numpy()
    return np.select([risk > 0.6, risk > 0.3], [0.12, 0.25], 0.35)


def _disturbed(users: pd.DataFrame) -> Array:
    # Old customers are reminded that they can leave.
    return np.where(users["account_age_days"] < 120, 0.42, -0.15)


CASES = (
    Case("equal for all", _same, is_worth_it=False),
    Case("equal for all, all worth the same", _same, spread=0.0, is_worth_it=False),
    Case("newcomers 42 %, others 4 %", _newcomers),
    Case("newcomers 42 %, others 4 %, all worth the same", _newcomers, spread=0.0),
    Case("buyers 40 %, others 5 %, all worth the same", _buyers, spread=0.0),
    Case("12 to 35 %, the less at risk the more, all worth the same", _not_lost, spread=0.0),
    Case("newcomers 42 %, others driven away, all worth the same", _disturbed, spread=0.0),
)


def listed(case: Case, generator: np.random.Generator) -> pd.DataFrame:
    """Draw users who are worth a contact, with features, the lot, whether they churned, and the truth.

    Returns:
        What ``uplift.compared`` takes, with ``saved``: by how much a contact lowers the probability of churn.
    """
    users = _visitors(3 * case.users, generator)
    log_odds = users.pop("log_odds")
    risk = _sigmoid(log_odds + generator.normal(0, 0.5, len(users)))
    users["churn_probability"] = _sigmoid(0.9 * log_odds + generator.normal(0, 0.5, len(users)))
    users["value"] = USUAL_VALUE * np.exp(generator.normal(0, case.spread, len(users)))
    gain = ASSUMED_SAVE_RATE * users["churn_probability"] * users["value"] - CONTACT_COST
    users["saved"] = risk * case.saves(users)
    users["risk"] = risk
    users = users.loc[gain > 0].head(case.users).reset_index(drop=True)
    number = len(users)
    is_contact = generator.random(number) >= case.control
    is_reached = is_contact & (generator.random(number) < case.reached)
    at_once = generator.random(number) < 1 / 3
    day = np.where(at_once, 0, generator.integers(0, DAYS, number))
    return users.assign(
        user_id=np.arange(number),
        feature_date=(FIRST_DATE + day.astype("timedelta64[D]")).astype("object"),
        is_contact=is_contact,
        churned=generator.random(number) < users["risk"] - users["saved"] * is_reached,
    )


def _visitors(number: int, generator: np.random.Generator) -> pd.DataFrame:
    """Users with features as ``gold.user_features`` has them, and the log-odds of their churn."""
    daily = np.minimum(np.exp(generator.normal(-1.6, 0.8, number)), 0.9)
    age = generator.gamma(1.3, 180, number).astype("int64") + 1
    silent = np.minimum(generator.geometric(daily) - 1, 29)
    of_week = generator.binomial(7, daily)
    of_month = of_week + generator.binomial(23, daily)
    of_quarter = of_month + generator.binomial(np.clip(age - 30, 0, 60), daily)
    of_all = of_quarter + generator.binomial(np.clip(age - 90, 0, None), daily)
    events = of_month + generator.poisson(1.5 * of_month)
    bought = generator.binomial(events, 0.15)
    gap = np.where(of_all > 1, age / np.maximum(of_all, 1), np.nan)
    log_odds = -0.3 + 0.09 * silent - 1.3 * np.log(daily / 0.2) - 0.25 * np.log(age / 180)
    return pd.DataFrame(
        {
            "event_count_30d": events,
            "active_days_30d": of_month,
            "days_since_last_event": silent,
            "purchase_count_30d": bought,
            "account_age_days": age,
            "rolling_7d_events": of_week,
            "active_days_90d": of_quarter,
            "active_days_total": of_all,
            "event_count_total": events + generator.poisson(2.5 * (of_all - of_month)),
            "purchase_count_total": bought + generator.binomial(of_all - of_month, 0.3),
            "mean_gap_days": gap,
            "longest_gap_days": gap * (2 + generator.exponential(1, number)),
            "overdue_ratio": silent / gap,
            "days_since_last_purchase": np.where(bought > 0, silent, np.nan),
            "amount_total": np.nan,
            "log_odds": log_odds,
        }
    ).astype("float64")


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))


def verdict(case: Case, seed: int) -> Comparison:
    """Return what the platform would say of one draw of a case."""
    return compared(_draw(case, seed), case.reached)


def earned_more(case: Case, seed: int) -> float:
    """Return what a list by the uplift of that draw truly earns more than one by risk, as a share."""
    others = listed(replace(case, users=JUDGED_USERS), np.random.default_rng([seed, 1]))
    value = others["value"].to_numpy()
    by_uplift = TLearner.fitted(_draw(case, seed)).uplift(others, case.reached) * value
    by_risk = others["churn_probability"].to_numpy() * value
    earned, size = others["saved"].to_numpy() * value, int(BUDGET * len(others))
    gained, usual = (earned[np.argsort(-order)[:size]].sum() for order in (by_uplift, by_risk))
    return gained / usual - 1


def _draw(case: Case, seed: int) -> pd.DataFrame:
    return listed(case, np.random.default_rng([seed, 0]))


def is_taken(found: Comparison) -> bool:
    """Whether lists would be ranked by uplift, where contacting is not known to save nobody."""
    return found.uplift_gain_low is not None and found.uplift_gain_low > 0


def in_words(case: Case, found: Sequence[Comparison], more: Sequence[float]) -> str:
    """Say what the draws of a case came to: what was said of each, and what is true of each."""
    taken = [truth for one, truth in zip(found, more, strict=True) if is_taken(one)]
    compared_draws = sum(one.uplift_gain is not None for one in found)
    right = f", where taken {np.mean(taken):+.1%}, worst {min(taken):+.1%}" if taken else ""
    return (
        f"{case.name}; {case.users:,} users, {case.control:.0%} control: taken in {len(taken)} of "
        f"{len(found)} ({compared_draws} compared), truly {np.mean(more):+.1%}{right}"
    )


def main() -> None:
    """Print each case, and fail where an order that earns no more is taken too often."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--case", default="", help="only cases with this in their name")
    parser.add_argument("--users", type=int, nargs="+", default=[6_000, 20_000])
    parser.add_argument("--control", type=float, nargs="+", default=[0.1, 0.3])
    given = parser.parse_args()
    failures = []
    for case in (case for case in CASES if given.case in case.name):
        for users in given.users:
            for control in given.control:
                asked = replace(case, users=users, control=control)
                found = [verdict(asked, seed) for seed in range(given.runs)]
                more = [earned_more(asked, seed) for seed in range(given.runs)]
                print(in_words(asked, found, more), flush=True)
                taken = sum(is_taken(one) for one in found)
                if not case.is_worth_it and taken > max(1, MOST_TAKEN_IN_VAIN * given.runs):
                    failures.append(f"{case.name}, {users:,} users, {control:.0%} control: {taken}")
    if failures:
        raise SystemExit(f"Taken too often: {'; '.join(failures)}")


if __name__ == "__main__":
    main()
