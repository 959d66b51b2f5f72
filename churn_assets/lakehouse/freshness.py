"""The last date that each table should have by now, and whether it has it.

Dagster's freshness policies go by when a table was last written, so that a backfill of last year makes it
look fresh. These go by the last date that it has.
"""

import datetime as dt
from dataclasses import dataclass

from churn_assets.dates import ONE_DAY, DateRange
from churn_assets.lakehouse import coverage
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.withdrawn import LABELLED_TABLES
from churn_assets.settings import Settings
from churn_assets.tables import EVENT_DATE, FEATURE_DATE, TABLES, Table

# A day is computed from 06:00 UTC of the next one.
DAILY_START = dt.timedelta(hours=6)

DATED_TABLES = tuple(
    table for table in TABLES if table.partition_column in (EVENT_DATE.name, FEATURE_DATE.name)
)


@dataclass(frozen=True)
class LastDate:
    """The last date that a table has, None without rows, and the one that is due."""

    table: Table
    date: dt.date | None
    due: dt.date

    @property
    def is_fresh(self) -> bool:
        """Whether everything that is due is there. Before the first date is due, nothing is missing."""
        return self.date is not None and self.date >= self.due

    @property
    def says(self) -> str:
        """The dates in a phrase for people."""
        days = (self.due - self.date).days if self.date else None
        column = self.table.partition_column
        if self.is_fresh:
            return f"{column} {self.date}, due {self.due}"
        behind = f"{days} {'day' if days == 1 else 'days'} behind" if days else "no row"
        return f"{column} {self.date or 'none'}, due {self.due}: {behind}"


def due_at(day: dt.date, settings: Settings) -> dt.datetime:
    """Return when the predictions of a feature_date are due: 06:00 UTC of the next day plus the SLA."""
    midnight = dt.datetime.combine(day + ONE_DAY, dt.time(), dt.UTC)
    return midnight + DAILY_START + dt.timedelta(minutes=settings.sla_minutes)


def last_due_day(now: dt.datetime, settings: Settings) -> dt.date:
    """Return the last day whose predictions are due at ``now``, at most ``CHURN_END_DATE``."""
    today = now.astimezone(dt.UTC).date()
    day = today - ONE_DAY if now >= due_at(today - ONE_DAY, settings) else today - 2 * ONE_DAY
    return min(day, settings.end_date) if settings.end_date else day


def last_date(lake: Lakehouse, table: Table, now: dt.datetime) -> LastDate:
    """Compare the last date of a dated table with the one that is due, by metadata alone.

    Labels and outcomes are due one horizon later. A date that gets no label, because of an outage in its
    horizon, is not due; the one before it is. A table that does not exist has none.
    """
    day = last_due_day(now, lake.settings)
    due = _last_labelled(lake, day, now) if table in LABELLED_TABLES else day
    last = lake.details(table).last_date if lake.version(table) >= 0 else None
    return LastDate(table, last, due)


def _last_labelled(lake: Lakehouse, day: dt.date, now: dt.datetime) -> dt.date:
    """Return the last date that can have a label once ``day`` is complete."""
    due = day - lake.settings.horizon_days * ONE_DAY
    days = coverage.covered_days(lake, now)
    unlabelled = (
        set(coverage.unlabelled(days, DateRange(days.first, due), lake.settings)) if days.first else set()
    )
    while due in unlabelled:
        due -= ONE_DAY
    return due
