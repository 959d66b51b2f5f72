"""What the page and the report say of all users: the trend, how long users stay, and what contacting brought.

Plain values, which the scoring server's workers import too: ``collected`` reads them from the lake.
"""

import datetime as dt
from typing import Any, NamedTuple

from churn_assets.retention.survival import Step


class TrendDay(NamedTuple):
    """A date's scored users, how many of them are expected to churn, and how many did; None until known."""

    feature_date: dt.date
    users: int
    expected_churners: float
    churners: int | None


class Cohort(NamedTuple):
    """Users by the month of their first event (2026-03), and the share active in it and in each later one."""

    month: str
    users: int
    shares: tuple[float, ...]


class Curve(NamedTuple):
    """How long users stay: all, or those who came in a quarter."""

    name: str
    users: int
    steps: tuple[Step, ...]


class Outcomes(NamedTuple):
    """The save rate in force, in words, the rows of ``gold.treatment_outcomes``, and the order of lists.

    ``ranking`` is empty in what was published before there was another order than that of risk.
    """

    says: str
    rows: tuple[dict[str, Any], ...]
    ranking: str = ""


class Overview(NamedTuple):
    """All of it, up to the date of a list."""

    feature_date: dt.date
    horizon_days: int
    trend: tuple[TrendDay, ...]
    cohorts: tuple[Cohort, ...]
    curves: tuple[Curve, ...]
    outcomes: Outcomes
