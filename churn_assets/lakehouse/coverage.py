"""Which days the data covers, which are silent, and what people should know of that.

``event_days`` has the rules; Silver's Delta log has the number of events of each day, without a scan.
"""

import datetime as dt

from churn_assets.dates import DateRange
from churn_assets.event_days import EventDays, StrayEvents, event_days, ranges
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS


def covered_days(lake: Lakehouse, now: dt.datetime) -> EventDays:
    """Judge the days of Silver's events that were over at ``now``."""
    return event_days(lake.partition_rows(EVENTS), last_complete_day(now))


def unlabelled(days: EventDays, dates: DateRange, settings: Settings) -> list[dt.date]:
    """Return the feature_dates whose horizons hold too many silent days for a label."""
    return days.unlabelled(dates, settings.horizon_days, settings.label_min_active_share)


def in_words(days: EventDays, settings: Settings) -> list[str]:
    """Return a line for each problem, with what to do about it; none where all is well."""
    if days.first is None or days.last is None:
        return []
    lines = []
    if days.silent:
        lines.append(_silent_days_line(days, DateRange(days.first, days.last), settings))
    if days.before:
        lines.append(
            f"{_lie(days.before)} far before all others, or too few for a first day: the data starts on "
            f"{days.first}, and no feature and no account age counts them. If the times are wrong, "
            f"CHURN_EARLIEST_EVENT={days.first} quarantines the next ones; if not, land the days between."
        )
    if days.after:
        lines.append(
            f"{_lie(days.after)} after the last complete day, {days.last}, and too few for a day. If events "
            "of these days are missing, land them and run again; if the times are wrong, leave them."
        )
    return lines


def _silent_days_line(days: EventDays, dates: DateRange, settings: Settings) -> str:
    unlabelled_dates = unlabelled(days, dates, settings)
    if not unlabelled_dates:
        return (
            f"Next to no events on {len(days.silent)} days ({ranges(days.silent)}), where their weekdays "
            "usually have some: no feature_date lost its label by them."
        )
    nearby = [run for run, _ in days.silences if _is_near(run, unlabelled_dates, settings.horizon_days)]
    silent = "; ".join(map(str, nearby[:3])) + (f" and {len(nearby) - 3} more" if len(nearby) > 3 else "")
    return (
        f"No events, or next to none, from {silent}: {len(unlabelled_dates)} feature_dates are not labelled "
        f"({ranges(unlabelled_dates)}). Land the missing days and run again."
    )


def _is_near(run: DateRange, unlabelled_dates: list[dt.date], horizon_days: int) -> bool:
    return any(
        (run.end - day).days > 0 and (run.start - day).days <= horizon_days for day in unlabelled_dates
    )


def _lie(stray: StrayEvents) -> str:
    many = stray.events > 1
    return f"{stray.events:,} {'events' if many else 'event'} of {stray.dates} {'lie' if many else 'lies'}"
