"""A plan of what is to be computed: which dates of which tables, why, and in which runs.

Which dates are stale is decided in ``staleness``.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from churn_assets.dates import ONE_DAY, DateRange, contiguous_ranges
from churn_assets.errors import DateRangeError
from churn_assets.event_days import event_days
from churn_assets.partitions import last_complete_day
from churn_assets.settings import Settings
from churn_assets.tables import (
    CHURN_PREDICTIONS,
    CHURN_REASONS,
    FEATURE_DRIFT,
    FEATURE_WINDOW_DAYS,
    PREDICTION_OUTCOMES,
    RETENTION_LIST,
    Table,
)

MODEL_NEWER = "model newer"

# Predictions, and the tables that are made again wherever predictions are.
SCORES = (CHURN_PREDICTIONS, CHURN_REASONS, FEATURE_DRIFT, RETENTION_LIST)
# All tables that need a model.
BY_MODEL = (*SCORES, PREDICTION_OUTCOMES)

Reasons = dict[dt.date, str]


@dataclass(frozen=True)
class Step:
    """One run: these tables over these dates."""

    tables: tuple[Table, ...]
    dates: DateRange

    @property
    def days(self) -> frozenset[dt.date]:
        """The dates as a set."""
        return frozenset(self.dates.days())

    def __contains__(self, day: dt.date) -> bool:
        return self.dates.start <= day <= self.dates.end


@dataclass
class Plan:
    """The dates to compute, each with its reason, by table in the order of the graph.

    ``blocked`` are stale dates that wait, each with the failed blocking check of a table that it reads.
    """

    covered: DateRange
    reasons: dict[Table, Reasons] = field(default_factory=dict)
    blocked: dict[Table, Reasons] = field(default_factory=dict)

    def only(self, *tables: Table) -> "Plan":
        """Return the part of the plan that computes these tables."""
        return Plan(
            self.covered,
            {table: dates for table, dates in self.reasons.items() if table in tables},
            {table: dates for table, dates in self.blocked.items() if table in tables},
        )

    def steps_without(self, *tables: Table) -> list[Step]:
        """Return the steps of all other tables."""
        return self.only(*(table for table in self.reasons if table not in tables)).steps()

    def score_again(self, day: dt.date, reason: str) -> None:
        """Add this date to the tables of scores, whatever was planned for it, unless it waits for a check."""
        if day in self.blocked.get(CHURN_PREDICTIONS, {}):
            return
        for table in SCORES:
            self.reasons.setdefault(table, {}).setdefault(day, reason)

    def why(self, step: Step) -> str:
        """Return the reasons of a step, each with its number of dates over all its tables."""
        counted: Counter[str] = Counter()
        for table in step.tables:
            counted.update(reason for day, reason in self.reasons[table].items() if day in step)
        return ", ".join(f"{reason} ({count})" for reason, count in sorted(counted.items()))

    def steps(self) -> list[Step]:
        """Return a run for each contiguous range; neighbours in the graph with equal ranges share runs."""
        steps: list[Step] = []
        pending: list[Table] = []
        ranges: list[DateRange] = []
        for table, reasons in self.reasons.items():
            if table.past_on_request and not reasons:
                # As most often: it would part the runs that those around it share.
                continue
            own_ranges = contiguous_ranges(reasons)
            if own_ranges != ranges:
                steps.extend(Step(tuple(pending), dates) for dates in ranges)
                pending, ranges = [], own_ranges
            pending.append(table)
        steps.extend(Step(tuple(pending), dates) for dates in ranges)
        return steps


def covered_by(events: Mapping[dt.date, int], settings: Settings, now: dt.datetime) -> DateRange:
    """Return the feature_dates that the data covers.

    Args:
        events: the number of events that Silver holds of each day.
        settings: for the first and last feature_date.
        now: the clock, for which days are over.

    Raises:
        DateRangeError: no event lies in the dates of the settings, or the first windows would be cut off.
    """
    own = event_days(events, last_complete_day(now))
    is_own = DateRange(own.first or dt.date.min, own.last or dt.date.max)
    days = sorted(day for day in events if is_own.start <= day <= is_own.end)
    last = min(settings.end_date or dt.date.max, last_complete_day(now), is_own.end)
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
        first_event = f"the first of them is of {days[0]}" if days else "there is none yet"
        raise DateRangeError(
            f"No event from {settings.start_date} to {last if days else 'now'}: {first_event}. "
            "Land events of complete UTC days, or change CHURN_START_DATE and CHURN_END_DATE."
        )
    return DateRange(max(settings.start_date, inside[0]), last)


def _first_day_in_reach(days: list[dt.date], start: dt.date) -> dt.date:
    """Return the latest start from which no window misses an event, in one pass over the days."""
    first = start
    for day in sorted((day for day in days if day < start), reverse=True):
        if day < first - (FEATURE_WINDOW_DAYS - 1) * ONE_DAY:
            break
        first = day
    return first
