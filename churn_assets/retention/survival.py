"""How long users stay: the Kaplan-Meier estimate, which counts those who are still there without an end.

Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations", 1958; the interval is that of
log(-log S), which stays between 0 and 1.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Z_95 = 1.959963984540054


class Step(NamedTuple):
    """From this day on, the share of users who are still there, and its 95 % interval."""

    day: int
    share: float
    low: float
    high: float


class Lifetime(NamedTuple):
    """Users who were seen for so many days: gone afterwards, or still there when last looked at."""

    days: int
    is_gone: bool
    users: int


def kaplan_meier(lifetimes: Iterable[Lifetime], fewest: int = 1) -> list[Step]:
    """Estimate the share of users who are still there by days since their first; nothing of no users.

    Args:
        lifetimes: of all users.
        fewest: the estimate ends where fewer users are still known to be there, as each would move it much.

    Returns:
        Day 0 with everybody, then each day on which somebody went, and the last day that is known.
    """
    gone: dict[int, int] = {}
    left: dict[int, int] = {}
    for one in lifetimes:
        which = gone if one.is_gone else left
        which[one.days] = which.get(one.days, 0) + one.users
    there = sum(gone.values()) + sum(left.values())
    if not there:
        return []
    share, variance = 1.0, 0.0
    steps = [Step(0, 1.0, 1.0, 1.0)]
    last = 0
    for day in sorted({*gone, *left}):
        if there < fewest:
            break
        last = day
        if went := gone.get(day, 0):
            share *= 1 - went / there
            variance += went / (there * (there - went)) if went < there else 0.0
            # A user whose last event is on a day is there on that day, and no longer on the next.
            steps.append(Step(day + 1, share, *_interval(share, variance)))
        there -= went + left.get(day, 0)
    if last > steps[-1].day:
        steps.append(steps[-1]._replace(day=last))
    return steps


def median_days(steps: Iterable[Step]) -> int | None:
    """Return the day from which on half of the users are gone; None while more are there."""
    return next((step.day for step in steps if step.share <= 0.5), None)


def lifetimes(counts: Iterable[Mapping[str, int]]) -> list[Lifetime]:
    """Return rows with ``days``, ``is_gone`` and ``users`` as lifetimes."""
    return [Lifetime(int(row["days"]), bool(row["is_gone"]), int(row["users"])) for row in counts]


def _interval(share: float, variance: float) -> tuple[float, float]:
    if not 0 < share < 1:
        return share, share
    spread = Z_95 * math.sqrt(variance) / abs(math.log(share))
    return share ** math.exp(spread), share ** math.exp(-spread)
