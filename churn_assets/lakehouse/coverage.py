"""Which days the data covers."""

import datetime as dt

from churn_assets.dates import DateRange
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.tables import EVENTS


def event_dates(lake: Lakehouse) -> DateRange | None:
    """From the first to the last UTC day of which Silver holds an event."""
    days = lake.partition_rows(EVENTS)
    return DateRange(min(days), max(days)) if days else None


def complete_to(lake: Lakehouse, now: dt.datetime) -> dt.date | None:
    """The last UTC day that is over and up to which events have arrived; None while there is none.

    Without the second half an outage would look as if everybody had churned.
    """
    covered = event_dates(lake)
    return min(covered.end, last_complete_day(now)) if covered else None
