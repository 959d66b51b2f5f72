"""Which days the data covers, read from the Delta log: partition values are file names there."""

import datetime as dt

from deltalake import DeltaTable

from churn_assets.dates import DateRange
from churn_assets.lakehouse.commits import live_files
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.partitions import last_complete_day
from churn_assets.tables import EVENTS, Table


def partition_rows(lake: Lakehouse, table: Table) -> dict[dt.date, int]:
    """How many rows each date of a table has, by its partition column; nothing where there is no table."""
    if lake.version(table) < 0:
        return {}
    files = live_files(DeltaTable(lake.location(table)))
    rows: dict[dt.date, int] = {}
    days = files[f"partition.{table.partition_column}"].to_pylist()
    for day, count in zip(days, files["num_records"].to_pylist(), strict=True):
        rows[day] = rows.get(day, 0) + count
    return rows


def event_dates(lake: Lakehouse) -> DateRange | None:
    """From the first to the last UTC day of which Silver holds an event."""
    days = partition_rows(lake, EVENTS)
    return DateRange(min(days), max(days)) if days else None


def complete_to(lake: Lakehouse, now: dt.datetime) -> dt.date | None:
    """The last UTC day that is over and up to which events have arrived; None while there is none.

    Without the second half an outage would look as if everybody had churned.
    """
    covered = event_dates(lake)
    return min(covered.end, last_complete_day(now)) if covered else None
