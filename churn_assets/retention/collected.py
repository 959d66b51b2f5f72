"""Collects what the page and the report say of all users, by queries whose results are small.

Whom to contact is read by ``lists``.
"""

import datetime as dt
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from churn_assets.dates import ONE_DAY
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.retention.overview import Cohort, Curve, Outcomes, Overview, TrendDay
from churn_assets.retention.ranking import ranking_in_force
from churn_assets.retention.save_rate import measured, save_rate_in_force
from churn_assets.retention.survival import kaplan_meier, lifetimes
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    OUTCOME_DIMENSIONS,
    PREDICTION_OUTCOMES,
    TREATMENT_OUTCOMES,
    USER_MONTHLY_ACTIVITY,
    USERS,
)

TREND_DAYS = 90
COHORT_MONTHS = 12
# Of quarters with fewer users a curve says little.
CURVE_USERS = 100
MOST_CURVES = 4
# A curve ends where fewer of its users are left.
FEWEST_THERE = 30


def overview(lake: Lakehouse, day: dt.date) -> Overview:
    """Return everything up to a date that has predictions."""
    return Overview(
        day,
        lake.settings.horizon_days,
        tuple(trend(lake, day)),
        tuple(cohorts(lake, day)),
        tuple(curves(lake, day)),
        outcomes(lake),
    )


def trend(lake: Lakehouse, day: dt.date) -> list[TrendDay]:
    """Return the last dates with predictions, in order."""
    since = f"feature_date BETWEEN date'{day - (TREND_DAYS - 1) * ONE_DAY}' AND date'{day}'"
    scored = lake.query(
        "SELECT feature_date, count(*) AS users, sum(churn_probability) AS expected FROM {predictions} "  # noqa: S608 - dates
        f"WHERE {since} GROUP BY feature_date ORDER BY feature_date",
        predictions=CHURN_PREDICTIONS,
    )
    happened: dict[dt.date, int] = {}
    if lake.version(PREDICTION_OUTCOMES) >= 0:
        rows = lake.query(
            "SELECT feature_date, sum(label) AS churners FROM {outcomes} "  # noqa: S608 - dates
            f"WHERE {since} GROUP BY feature_date",
            outcomes=PREDICTION_OUTCOMES,
        )
        happened = {row["feature_date"]: int(row["churners"]) for row in rows}
    return [
        TrendDay(
            row["feature_date"],
            int(row["users"]),
            float(row["expected"]),
            happened.get(row["feature_date"]),
        )
        for row in scored
    ]


def cohorts(lake: Lakehouse, day: dt.date) -> list[Cohort]:
    """Return the last months that are over by the date, in order; a share for each month up to the last."""
    last = _month(day + ONE_DAY) - 1
    first = last - COHORT_MONTHS + 1
    came = "year(first_seen_date) * 12 + month(first_seen_date) - 1"
    active = "year(month_end_date) * 12 + month(month_end_date) - 1"
    sizes = lake.query(
        f"SELECT {came} AS cohort, count(*) AS users FROM {{users}} "  # noqa: S608 - numbers
        f"WHERE {came} BETWEEN {first} AND {last} GROUP BY {came}",
        users=USERS,
    )
    counted = lake.query(
        "SELECT cohort, month, count(*) AS users FROM "  # noqa: S608 - numbers
        f"(SELECT user_id, {came} AS cohort FROM {{users}}) came "
        f"JOIN (SELECT user_id, {active} AS month FROM {{months}}) active USING (user_id) "
        f"WHERE cohort BETWEEN {first} AND {last} AND month <= {last} GROUP BY cohort, month",
        users=USERS,
        months=USER_MONTHLY_ACTIVITY,
    )
    users = {(row["cohort"], row["month"]): int(row["users"]) for row in counted}
    return [
        Cohort(
            f"{cohort // 12}-{cohort % 12 + 1:02}",
            size,
            tuple(users.get((cohort, month), 0) / size for month in range(cohort, last + 1)),
        )
        for cohort, size in sorted((int(row["cohort"]), int(row["users"])) for row in sizes)
    ]


def curves(lake: Lakehouse, day: dt.date) -> list[Curve]:
    """Return how long users stay: all of them, and those of the last quarters.

    Whoever has no event in the last ``horizon_days`` up to the date is gone since the last one; the others
    are known to be there up to the day before these.
    """
    known = f"date'{day - lake.settings.horizon_days * ONE_DAY}'"
    gone = f"last_seen_date <= {known}"
    end = f"CASE WHEN {gone} THEN last_seen_date ELSE {known} END"
    rows = lake.query(
        f"SELECT quarter, days, is_gone, count(*) AS users FROM ("  # noqa: S608 - a date
        f"SELECT year(first_seen_date) * 4 + quarter(first_seen_date) - 1 AS quarter, "
        f"datediff({end}, first_seen_date) AS days, {gone} AS is_gone FROM {{users}} "
        f"WHERE first_seen_date <= {known}) lives GROUP BY quarter, days, is_gone",
        users=USERS,
    )
    if not rows:
        return []
    found = [_curve("All users", rows)]
    by_quarter = sorted(rows, key=lambda row: row["quarter"])
    quarters = [
        _curve(f"{quarter // 4} Q{quarter % 4 + 1}", list(of_quarter))
        for quarter, of_quarter in groupby(by_quarter, key=lambda row: row["quarter"])
    ]
    enough = [curve for curve in quarters if curve.users >= CURVE_USERS][-MOST_CURVES:]
    return found + (enough if len(enough) > 1 else [])


def outcomes(lake: Lakehouse) -> Outcomes:
    """Return what contacting brought; no row where nobody has said whom they contacted."""
    of_all = measured(lake)
    says = save_rate_in_force(lake.settings, of_all).says
    ranking = ranking_in_force(lake.settings, of_all).says
    if lake.version(TREATMENT_OUTCOMES) < 1:
        return Outcomes(says, (), ranking)
    columns = ", ".join(TREATMENT_OUTCOMES.column_names)
    rows = lake.query(f"SELECT {columns} FROM {{outcomes}}", outcomes=TREATMENT_OUTCOMES)  # noqa: S608 - of the contract
    order = {dimension: place for place, dimension in enumerate(OUTCOME_DIMENSIONS)}
    in_order = sorted(rows, key=lambda row: (order[row["dimension"]], row["segment"]))
    return Outcomes(says, tuple(in_order), ranking)


def _curve(name: str, rows: Sequence[dict[str, Any]]) -> Curve:
    users = sum(int(row["users"]) for row in rows)
    return Curve(name, users, tuple(kaplan_meier(lifetimes(rows), FEWEST_THERE)))


def _month(day: dt.date) -> int:
    return day.year * 12 + day.month - 1
