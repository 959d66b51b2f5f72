"""What the tables themselves say about which dates of Gold are behind Silver.

Worked out where an engine is at hand, at the end of each ingestion, and written into Dagster's history with
the users. Whatever decides later what to run (a sensor's tick, every few seconds) reads it from there: it
starts no engine, scans no table, and on Databricks needs no SQL warehouse.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import (
    CHURN_LABELS,
    DAILY_SUMMARY,
    DATED,
    EVENTS,
    USER_DAILY_ACTIVITY,
    USER_FEATURES,
    USERS,
    Table,
)

DATED_TABLES = DATED

# What the materialisation of users calls it.
METADATA_NAME = "gold_behind"

Days = frozenset[dt.date]

# Those of its fields that are days.
DAYS = ("activity", "summary", "ages", "labelled", "unlabelled")


@dataclass(frozen=True)
class Evidence:
    """Dates, by what is wrong with them.

    ``events``: how many Silver holds, by day. ``activity``: days whose events user_daily_activity has not
    counted. ``summary``: on which another number of users is new. ``ages``: on which a feature row has an
    account age that does not fit users. ``labelled``: with rows of labels. ``unlabelled``: with rows of
    features and none of labels. ``written``: the names of the dated tables that hold anything.
    """

    events: Mapping[dt.date, int] = field(default_factory=dict)
    activity: Days = frozenset()
    summary: Days = frozenset()
    ages: Days = frozenset()
    labelled: Days = frozenset()
    unlabelled: Days = frozenset()
    written: frozenset[str] = field(default_factory=frozenset)

    def as_json(self) -> dict[str, Any]:
        """Plain values: each run of days as its first and last, events as the numbers of a run's days."""
        days = {name: _ranges(getattr(self, name)) for name in DAYS}
        events = {
            run.start.isoformat(): [self.events[day] for day in run.days()]
            for run in contiguous_ranges(self.events)
        }
        return {"events": events, **days, "written": sorted(self.written)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What ``as_json`` was made from."""
        events = {
            dt.date.fromisoformat(first) + i * ONE_DAY: count
            for first, counts in value["events"].items()
            for i, count in enumerate(counts)
        }
        days = {name: _days(value[name]) for name in DAYS}
        return cls(events, **days, written=frozenset(value["written"]))


def gather(lake: Lakehouse) -> Evidence:
    """Compare Silver and users with what Gold has made of them.

    Silver only gains rows, so equal counts of a day mean that activity has counted all of its events.
    """
    # A table that nobody has written is not asked: the question would create it.
    written = frozenset(table.name for table in DATED_TABLES if lake.version(table) > 0)
    landed = lake.partition_rows(EVENTS)
    activity = _activity(lake, landed) if USER_DAILY_ACTIVITY.name in written else frozenset(landed)
    labelled = _with_rows(lake, CHURN_LABELS) if CHURN_LABELS.name in written else frozenset()
    featured = _with_rows(lake, USER_FEATURES) if USER_FEATURES.name in written else frozenset()
    return Evidence(
        events=landed,
        activity=activity,
        summary=_summary(lake) if DAILY_SUMMARY.name in written else frozenset(),
        ages=_ages(lake) if USER_FEATURES.name in written else frozenset(),
        labelled=labelled,
        unlabelled=featured - labelled,
        written=written,
    )


def is_written(evidence: Evidence, table: Table) -> bool:
    """Whether the table held anything: one that was moved away has no history, whatever the log says."""
    return table.name in evidence.written


def _with_rows(lake: Lakehouse, table: Table) -> Days:
    return frozenset(day for day, rows in lake.partition_rows(table).items() if rows)


def _activity(lake: Lakehouse, landed: Mapping[dt.date, int]) -> Days:
    counted = lake.query(
        "SELECT event_date AS day, sum(events) AS n FROM {activity} GROUP BY event_date",
        activity=USER_DAILY_ACTIVITY,
    )
    return _differing(landed, _by_day(counted))


def _summary(lake: Lakehouse) -> Days:
    arrived = lake.query(
        "SELECT first_seen_date AS day, count(*) AS n FROM {users} GROUP BY first_seen_date", users=USERS
    )
    summed = lake.query("SELECT event_date AS day, new_users AS n FROM {summary}", summary=DAILY_SUMMARY)
    return _differing(_by_day(arrived), _by_day(summed))


def _ages(lake: Lakehouse) -> Days:
    """Dates on which somebody has the wrong account age, because a late event was their first."""
    wrong = lake.query(
        "SELECT DISTINCT f.feature_date AS day FROM {features} f JOIN {users} u ON u.user_id = f.user_id "
        "WHERE f.account_age_days != datediff(f.feature_date, u.first_seen_date)",
        features=USER_FEATURES,
        users=USERS,
    )
    return frozenset(row["day"] for row in wrong)


def _differing(one: Mapping[dt.date, int], other: Mapping[dt.date, int]) -> Days:
    return frozenset(day for day in {*one, *other} if one.get(day, 0) != other.get(day, 0))


def _by_day(rows: list[dict[str, Any]]) -> dict[dt.date, int]:
    return {row["day"]: row["n"] for row in rows}


def _ranges(days: Iterable[dt.date]) -> list[list[str]]:
    return [[found.start.isoformat(), found.end.isoformat()] for found in contiguous_ranges(days)]


def _days(ranges: Iterable[Iterable[str]]) -> Days:
    found = [DateRange(*map(dt.date.fromisoformat, one)) for one in ranges]
    return frozenset(day for one in found for day in one.days())
