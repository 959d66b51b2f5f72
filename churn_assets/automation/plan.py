"""Which dates of which tables are missing or behind what they read, and why.

Silver only ever gains rows, so its row counts a day say whether user_daily_activity is current: no clock and
no history is needed for that. Further on, Dagster's event log orders every materialisation of every date.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.errors import DateRangeError
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import FEATURE_WINDOW_DAYS, last_complete_day
from churn_assets.tables import (
    CHURN_LABELS,
    CHURN_PREDICTIONS,
    DAILY_SUMMARY,
    EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)
from churn_assets.transforms.labels import last_labelled_date

MISSING = "missing"
UPSTREAM_NEWER = "upstream newer"
MODEL_NEWER = "model newer"

Reasons = dict[dt.date, str]


@dataclass(frozen=True)
class Step:
    """One run: these tables over these dates."""

    tables: tuple[Table, ...]
    dates: DateRange


@dataclass
class Plan:
    """The dates to compute, each with the reason, by table in the order of the graph."""

    covered: DateRange
    reasons: dict[Table, Reasons] = field(default_factory=dict)

    def steps(self) -> list[Step]:
        """One run for each contiguous range; neighbours in the graph with equal ranges share their runs."""
        steps: list[Step] = []
        pending: list[Table] = []
        ranges: list[DateRange] = []
        for table, reasons in self.reasons.items():
            found = contiguous_ranges(reasons)
            if found != ranges:
                steps.extend(Step(tuple(pending), dates) for dates in ranges)
                pending, ranges = [], found
            pending.append(table)
        steps.extend(Step(tuple(pending), dates) for dates in ranges)
        return steps


def covered_dates(lake: Lakehouse, now: dt.datetime) -> DateRange:
    """The feature_dates that the data covers: from the first event to the last complete day.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    settings = lake.settings
    days = sorted(lake.partition_rows(EVENTS))
    last = min(settings.end_date or dt.date.max, last_complete_day(now), days[-1] if days else dt.date.max)
    window_start = settings.start_date - (FEATURE_WINDOW_DAYS - 1) * ONE_DAY
    early = [day for day in days if window_start <= day < settings.start_date]
    inside = [day for day in days if settings.start_date <= day <= last]
    if days and (early or not inside) and days[0] < settings.start_date:
        first = _first_day_in_reach(days, settings.start_date) if inside else days[0]
        raise DateRangeError(
            f"Events start on {first} and CHURN_START_DATE is {settings.start_date}, so the first windows "
            f"would miss events. Set CHURN_START_DATE={first} (in the environment or .env) and run again."
        )
    if not inside:
        found = f"the first of them is of {days[0]}" if days else "there is none yet"
        raise DateRangeError(
            f"No event from {settings.start_date} to {last if days else 'now'}: {found}. "
            "Land events of complete UTC days, or change CHURN_START_DATE and CHURN_END_DATE."
        )
    return DateRange(max(settings.start_date, inside[0]), last)


def _first_day_in_reach(days: list[dt.date], start: dt.date) -> dt.date:
    """The start from which no window misses an event, found at once and not a window further each time."""
    first = start
    for day in sorted((day for day in days if day < start), reverse=True):
        if day < first - (FEATURE_WINDOW_DAYS - 1) * ONE_DAY:
            break
        first = day
    return first


def make_plan(
    lake: Lakehouse, instance: dg.DagsterInstance, now: dt.datetime, wanted: DateRange | None = None
) -> Plan:
    """Find what is to be computed.

    Args:
        lake: Silver and users are current.
        instance: where materialisations are recorded.
        now: the clock.
        wanted: feature_dates to bring up to date; all that the data covers, without it.

    Raises:
        DateRangeError: the data does not cover the dates.
    """
    covered = covered_dates(lake, now)
    if wanted and not covered.start <= wanted.start <= wanted.end <= covered.end:
        raise DateRangeError(f"Data covers {covered}, not all of {wanted}. Ask for dates in that range.")
    dates = wanted or covered
    history = History(lake, instance)
    plan = Plan(covered)
    _plan_activity(plan, lake, history)
    _plan_features_and_labels(plan, lake, history, dates)
    predictions = {day: MISSING for day in dates.days() if history.ids(CHURN_PREDICTIONS).get(day) is None}
    # Predictions of past dates are history; those of the last one follow its features.
    if covered.end == dates.end and history.behind(
        plan, CHURN_PREDICTIONS, covered.end, {USER_FEATURES: [covered.end]}
    ):
        predictions.setdefault(covered.end, UPSTREAM_NEWER)
    plan.reasons[CHURN_PREDICTIONS] = dict(sorted(predictions.items()))
    return plan


class History:
    """The latest materialisation of every date of every table, as a number that rises with time."""

    def __init__(self, lake: Lakehouse, instance: dg.DagsterInstance) -> None:
        self._lake = lake
        self._instance = instance
        self._ids: dict[Table, dict[dt.date, int]] = {}

    def ids(self, table: Table) -> Mapping[dt.date, int]:
        """By date; empty where the table is not on disk, whatever the history says."""
        if table not in self._ids:
            by_key = (
                self._instance.get_latest_storage_id_by_partition(
                    table.asset_key, DagsterEventType.ASSET_MATERIALIZATION
                )
                if self._lake.version(table) > 0
                else {}
            )
            self._ids[table] = {dt.date.fromisoformat(key): id_ for key, id_ in by_key.items()}
        return self._ids[table]

    def behind(
        self, plan: Plan, table: Table, day: dt.date, reads: Mapping[Table, Iterable[dt.date]]
    ) -> str | None:
        """Why this date of the table is to be computed, if it is."""
        own = self.ids(table).get(day)
        if own is None:
            return MISSING
        for upstream, days in reads.items():
            stale, ids = plan.reasons.get(upstream, {}), self.ids(upstream)
            if any(read in stale or ids.get(read, 0) > own for read in days):
                return UPSTREAM_NEWER
        return None


def _plan_activity(plan: Plan, lake: Lakehouse, history: History) -> None:
    landed = lake.partition_rows(EVENTS)
    counted = _by_day(
        lake.query(
            "SELECT event_date AS day, sum(events) AS n FROM {activity} GROUP BY event_date",
            activity=USER_DAILY_ACTIVITY,
        )
    )
    arrived = _by_day(
        lake.query(
            "SELECT first_seen_date AS day, count(*) AS n FROM {users} GROUP BY first_seen_date", users=USERS
        )
    )
    summed = _by_day(
        lake.query("SELECT event_date AS day, new_users AS n FROM {summary}", summary=DAILY_SUMMARY)
    )
    activity: Reasons = {}
    summary: Reasons = {}
    plan.reasons[USER_DAILY_ACTIVITY], plan.reasons[DAILY_SUMMARY] = activity, summary
    for day in plan.covered.days():
        if history.ids(USER_DAILY_ACTIVITY).get(day) is None:
            activity[day] = MISSING
        elif landed.get(day, 0) != counted.get(day, 0):
            activity[day] = UPSTREAM_NEWER
        reason = history.behind(plan, DAILY_SUMMARY, day, {USER_DAILY_ACTIVITY: [day]})
        if reason is None and arrived.get(day, 0) != summed.get(day, 0):
            # A late event made somebody arrive earlier.
            reason = UPSTREAM_NEWER
        if reason:
            summary[day] = reason


def _plan_features_and_labels(plan: Plan, lake: Lakehouse, history: History, dates: DateRange) -> None:
    horizon = lake.settings.horizon_days
    older = _dates_with_another_account_age(lake)
    features: Reasons = {}
    labels: Reasons = {}
    plan.reasons[USER_FEATURES], plan.reasons[CHURN_LABELS] = features, labels
    last_label = last_labelled_date(plan.covered.end, horizon)
    for day in dates.days():
        window = DateRange(day, day).widened(before=FEATURE_WINDOW_DAYS - 1, after=0)
        reason = history.behind(plan, USER_FEATURES, day, {USER_DAILY_ACTIVITY: window.days()})
        if reason or day in older:
            features[day] = reason or UPSTREAM_NEWER
        if day > last_label:
            continue
        ahead = DateRange(day + ONE_DAY, day + horizon * ONE_DAY)
        reason = history.behind(
            plan, CHURN_LABELS, day, {USER_FEATURES: [day], USER_DAILY_ACTIVITY: ahead.days()}
        )
        if reason:
            labels[day] = reason


def _dates_with_another_account_age(lake: Lakehouse) -> set[dt.date]:
    """Dates on which somebody has the wrong account age, because a late event was their first."""
    wrong = lake.query(
        "SELECT DISTINCT f.feature_date AS day FROM {features} f JOIN {users} u ON u.user_id = f.user_id "
        "WHERE f.account_age_days != datediff(f.feature_date, u.first_seen_date)",
        features=USER_FEATURES,
        users=USERS,
    )
    return {row["day"] for row in wrong}


def _by_day(rows: list[dict[str, Any]]) -> dict[dt.date, int]:
    return {row["day"]: row["n"] for row in rows}
