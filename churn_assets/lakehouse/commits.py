"""What a write did, read from the Delta log: no data is scanned for it."""

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from churn_assets.dates import DateRange
from churn_assets.tables import Table


@dataclass(frozen=True)
class WriteReport:
    """One write: the Delta version it left, what it wrote, and how long that took.

    ``rows_by_partition`` counts, for a replacement, every replaced date (0 where nothing is left), and for an
    append or a merge the dates that gained rows. ``committed`` is false where there was nothing to write.
    """

    table: Table = field(repr=False)
    version: int
    rows: int
    bytes: int
    seconds: float
    committed: bool = True
    rows_by_partition: dict[dt.date, int] = field(default_factory=dict)


def live_files(table: DeltaTable) -> pa.Table:
    """The files of the table's version: path, size_bytes, num_records and ``partition.<column>``."""
    return pa.table(table.get_add_actions(flatten=True))


def added_files(location: Path, since: int) -> pa.Table:
    """The files that came after version ``since``: path, size_bytes, num_records and partition values."""
    actions = live_files(DeltaTable(location))
    if since < 0:
        return actions
    before = live_files(DeltaTable(location, version=since))
    known = set(before["path"].to_pylist())
    return actions.filter(pa.array([path not in known for path in actions["path"].to_pylist()], pa.bool_()))


def report(table: Table, location: Path, before: int, seconds: float, dates: DateRange | None) -> WriteReport:
    """What happened to the table between version ``before`` and now."""
    after = DeltaTable(location).version()
    if after == before:
        return WriteReport(table, before, 0, 0, seconds, committed=False)
    files = added_files(location, before)
    by_partition: Counter[dt.date] = Counter()
    if table.partition_column:
        if dates:
            by_partition.update(dict.fromkeys(dates.days(), 0))
        partition = files[f"partition.{table.partition_column}"].to_pylist()
        for day, rows in zip(partition, files["num_records"].to_pylist(), strict=True):
            by_partition[day] += rows
    return WriteReport(
        table=table,
        version=after,
        rows=sum(files["num_records"].to_pylist()),
        bytes=sum(files["size_bytes"].to_pylist()),
        seconds=seconds,
        rows_by_partition=dict(sorted(by_partition.items())),
    )
