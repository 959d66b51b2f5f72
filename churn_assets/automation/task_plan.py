"""Which dates are missing or behind, worked out from the tables alone: no clock and no history is needed.

A task of the Databricks job has no Dagster event log that outlives it. What ``plan`` reads there, this module
counts: Silver only gains rows, and so does all that it counts here, so equal counts mean equal rows.
Why that holds for each table is in docs/adr/0012.
"""

import datetime as dt
from typing import Any

from churn_assets.automation.label_dates import LabelDates
from churn_assets.automation.plan import (
    MISSING,
    NOT_TO_LABEL,
    UPSTREAM_NEWER,
    Plan,
    Reasons,
    covered_dates,
)
from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse.coverage import judged
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    DAILY_SUMMARY,
    EVENTS,
    FEATURE_DRIFT,
    FEATURE_WINDOW_DAYS,
    PREDICTION_OUTCOMES,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USER_MONTHLY_ACTIVITY,
    USERS,
)

ACTIVITY = "SELECT event_date AS day, sum(events) AS events FROM {activity} GROUP BY event_date"
ARRIVALS = "SELECT first_seen_date AS day, count(*) AS users FROM {users} GROUP BY first_seen_date"
SUMMARY = "SELECT event_date AS day, events, new_users FROM {summary}"
MONTHS = "SELECT month_end_date AS day, sum(events) AS events FROM {months} GROUP BY month_end_date"
FEATURES = """
    SELECT f.feature_date AS day, sum(f.event_count_30d) AS events,
        count(CASE WHEN f.account_age_days != datediff(f.feature_date, u.first_seen_date) THEN 1 END) AS older
    FROM {features} f JOIN {users} u ON u.user_id = f.user_id
    GROUP BY f.feature_date"""
LABELS = """
    SELECT feature_date AS day, count(*) AS users, sum(1 - label) AS stayed
    FROM {labels} GROUP BY feature_date"""
# A user's last day of activity up to a feature_date is in the features; whether the next one lies in the
# horizon is the label. One equal join, where the label itself copies each day to all dates that it reaches.
EXPECTED_LABELS = """
    WITH activity AS (
        SELECT user_id, event_date,
            lead(event_date) OVER (PARTITION BY user_id ORDER BY event_date) AS next_date
        FROM {activity}
    )
    SELECT f.feature_date AS day, count(*) AS users,
        count(CASE WHEN a.next_date <= date_add(f.feature_date, HORIZON) THEN 1 END) AS stayed
    FROM {features} f LEFT JOIN activity a ON a.user_id = f.user_id
        AND a.event_date = date_sub(f.feature_date, CAST(f.days_since_last_event AS INT))
    GROUP BY f.feature_date"""
PREDICTED = """
    SELECT feature_date AS day, count(*) AS users, max(model_version) AS version
    FROM {predictions} GROUP BY feature_date"""
EXPLAINED = """
    SELECT feature_date AS day, count(*) AS users, max(model_version) AS version
    FROM {reasons} WHERE `rank` = 1 GROUP BY feature_date"""
COMPARED = """
    SELECT feature_date AS day, max(users) AS users, max(model_version) AS version
    FROM {drift} GROUP BY feature_date"""
# A date that is scored again has another scored_at, though its users and labels be the same.
OUTCOMES = """
    SELECT feature_date AS day, count(*) AS users, sum(label) AS churned,
        max(unix_micros(scored_at)) AS scored
    FROM {outcomes} GROUP BY feature_date"""
EXPECTED_OUTCOMES = """
    SELECT p.feature_date AS day, count(*) AS users, sum(l.label) AS churned,
        max(unix_micros(p.scored_at)) AS scored
    FROM {predictions} p JOIN {labels} l ON l.user_id = p.user_id AND l.feature_date = p.feature_date
    GROUP BY p.feature_date"""

Counts = dict[dt.date, tuple[int, ...]]


def plan_from_data(lake: Lakehouse, now: dt.datetime) -> Plan:
    """Find the dates of activity, summary, features and labels to compute.

    Args:
        lake: Silver and users are current.
        now: the clock, for which days are over.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    plan = Plan(covered_dates(lake, now))
    days = list(plan.covered.days())
    own = judged(lake, now)
    # Events that lie apart before the first day are no activity.
    landed = {day: n for day, n in lake.partition_rows(EVENTS).items() if own.first and day >= own.first}
    arrived = _counts(lake.query(ARRIVALS, users=USERS), "users")
    events = {day: (landed.get(day, 0),) for day in days}

    counted = _counts(lake.query(ACTIVITY, activity=USER_DAILY_ACTIVITY), "events")
    activity = _behind(days, counted, events)

    by_month = _counts(lake.query(MONTHS, months=USER_MONTHLY_ACTIVITY), "events")
    months = _behind(days, by_month, {day: (_in_month_ended(landed, day),) for day in days})

    summed = _counts(lake.query(SUMMARY, summary=DAILY_SUMMARY), "events", "new_users")
    arrivals = {day: (*events[day], *arrived.get(day, (0,))) for day in days}
    summary = _behind(days, summed, arrivals)

    windows = {day: (_in_window(landed, day), 0) for day in days}
    found = _counts(lake.query(FEATURES, features=USER_FEATURES, users=USERS), "events", "older")
    features = _behind(days, found, windows)
    # Totals of all later dates.
    changed = {day: UPSTREAM_NEWER for day in days if activity and day >= min(activity)}
    features = dict(sorted({**changed, **features}.items()))

    plan.reasons[USER_DAILY_ACTIVITY] = activity
    plan.reasons[DAILY_SUMMARY] = summary
    plan.reasons[USER_MONTHLY_ACTIVITY] = months
    plan.reasons[USER_FEATURES] = features
    plan.reasons[CHURN_LABELS] = _labels(lake, plan, LabelDates.of(own, plan.covered, lake.settings, now))
    return plan


def dates_to_score(lake: Lakehouse, latest: dt.date) -> DateRange:
    """The latest date, whose features may be newer than its scores, and before it what was missed.

    Earlier dates than the last one that was scored are history, and stay as they are.
    """
    scored = [day for day, rows in lake.partition_rows(CHURN_PREDICTIONS).items() if rows]
    return DateRange(min(max(scored) + ONE_DAY, latest) if scored else latest, latest)


def plan_from_scores(lake: Lakehouse, covered: DateRange) -> Plan:
    """Find the dates whose reasons, drift or outcomes are not those of their predictions and labels.

    Args:
        lake: predictions and labels are current.
        covered: what the plan says that it covers.
    """
    predicted = _counts(lake.query(PREDICTED, predictions=CHURN_PREDICTIONS), "users", "version")
    explained = _counts(lake.query(EXPLAINED, reasons=CHURN_REASONS), "users", "version")
    compared = _counts(lake.query(COMPARED, drift=FEATURE_DRIFT), "users", "version")
    columns = ("users", "churned", "scored")
    known = _counts(
        lake.query(EXPECTED_OUTCOMES, predictions=CHURN_PREDICTIONS, labels=CHURN_LABELS), *columns
    )
    noted = _counts(lake.query(OUTCOMES, outcomes=PREDICTION_OUTCOMES), *columns)
    dates = sorted(predicted)
    plan = Plan(covered)
    plan.reasons[CHURN_REASONS] = _behind(dates, explained, predicted)
    plan.reasons[FEATURE_DRIFT] = _behind(dates, compared, predicted)
    plan.reasons[PREDICTION_OUTCOMES] = _behind(sorted(known), noted, known)
    return plan


def _labels(lake: Lakehouse, plan: Plan, labels: LabelDates) -> Reasons:
    horizon = lake.settings.horizon_days
    days = sorted(labels.wanted)
    if not days and not any(labels.may_hold(day) for day in lake.partition_rows(CHURN_LABELS)):
        return {}
    labelled = _counts(lake.query(LABELS, labels=CHURN_LABELS), "users", "stayed")
    expected = _counts(
        lake.query(
            EXPECTED_LABELS.replace("HORIZON", str(horizon)),
            activity=USER_DAILY_ACTIVITY,
            features=USER_FEATURES,
        ),
        "users",
        "stayed",
    )
    reasons = _behind(days, labelled, expected)
    reasons |= {day: NOT_TO_LABEL for day in labelled if labels.may_hold(day)}
    # What was asked of the tables as they are; what is to be computed now may change more of them.
    activity, features = plan.reasons[USER_DAILY_ACTIVITY], plan.reasons[USER_FEATURES]
    for day in days:
        ahead = DateRange(day + ONE_DAY, day + horizon * ONE_DAY)
        if day in features or any(read in activity for read in ahead.days()):
            reasons.setdefault(day, UPSTREAM_NEWER if day in labelled else MISSING)
    return dict(sorted(reasons.items()))


def _behind(days: list[dt.date], found: Counts, expected: Counts) -> Reasons:
    """The days whose counts are not the expected ones. A day without rows counts zero of everything."""
    width = len(next(iter(expected.values()), ()))
    nothing = (0,) * width
    return {
        day: UPSTREAM_NEWER if day in found else MISSING
        for day in days
        if found.get(day, nothing) != expected.get(day, nothing)
    }


def _in_window(landed: dict[dt.date, int], day: dt.date) -> int:
    window = DateRange(day, day).widened(before=FEATURE_WINDOW_DAYS - 1, after=0)
    return sum(landed.get(read, 0) for read in window.days())


def _in_month_ended(landed: dict[dt.date, int], day: dt.date) -> int:
    """Events of the month that ends on the day; 0 where none does."""
    if (day + ONE_DAY).day != 1:
        return 0
    return sum(landed.get(read, 0) for read in DateRange(day.replace(day=1), day).days())


def _counts(rows: list[dict[str, Any]], *columns: str) -> Counts:
    return {row["day"]: tuple(int(row[name]) for name in columns) for row in rows}
