"""Which days the data covers, which are silent, and what a person should know of that.

The rule is ``event_days``; this asks Silver's Delta log for the events of each day, which costs no scan.
"""

import datetime as dt

from churn_assets.dates import DateRange
from churn_assets.event_days import EventDays, Piece, event_days, ranges
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.settings import Settings
from churn_assets.tables import EVENTS


def judged(lake: Lakehouse, now: dt.datetime) -> EventDays:
    """What Silver's days say, of those that were over at ``now``."""
    return event_days(lake.partition_rows(EVENTS), last_complete_day(now))


def unlabelled(days: EventDays, dates: DateRange, settings: Settings) -> list[dt.date]:
    """Those of these feature_dates whose horizons hold too many silent days for a label."""
    return days.unlabelled(dates, settings.horizon_days, settings.label_min_active_share)


def in_words(days: EventDays, settings: Settings) -> list[str]:
    """A line for each thing that a person should know, and what to do about it; none where all is well."""
    if days.first is None or days.last is None:
        return []
    lines = []
    if days.silent:
        lines.append(_of_silent_days(days, DateRange(days.first, days.last), settings))
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


def _of_silent_days(days: EventDays, whole: DateRange, settings: Settings) -> str:
    lost = unlabelled(days, whole, settings)
    if not lost:
        return (
            f"Next to no events on {len(days.silent)} days ({ranges(days.silent)}), where their weekdays "
            "usually have some: no feature_date lost its label by them."
        )
    near = [run for run, _ in days.silences if _is_near(run, lost, settings.horizon_days)]
    silent = "; ".join(map(str, near[:3])) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
    return (
        f"No events, or next to none, from {silent}: {len(lost)} feature_dates are not labelled "
        f"({ranges(lost)}). Land the missing days and run again."
    )


def _is_near(run: DateRange, lost: list[dt.date], horizon_days: int) -> bool:
    return any((run.end - day).days > 0 and (run.start - day).days <= horizon_days for day in lost)


def _lie(piece: Piece) -> str:
    many = piece.events > 1
    return f"{piece.events:,} {'events' if many else 'event'} of {piece.dates} {'lie' if many else 'lies'}"
