"""What a write did, read from the Delta log: no data is scanned for it."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

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


@dataclass(frozen=True)
class TableDetails:
    """A table now: rows, first and last date of its partition column, version, bytes, last change (UTC)."""

    rows: int
    first_date: dt.date | None
    last_date: dt.date | None
    version: int
    bytes: int
    changed_at: dt.datetime


def live_files(table: DeltaTable) -> pa.Table:
    """The files of the table's version: path, size_bytes, num_records and ``partition.<column>``."""
    return pa.table(table.get_add_actions(flatten=True))


def rows_by_partition(table: Table, location: Path) -> dict[dt.date, int]:
    """How many rows each date of the partition column has."""
    files = live_files(DeltaTable(location))
    rows: Counter[dt.date] = Counter()
    days = files[f"partition.{table.partition_column}"].to_pylist()
    for day, count in zip(days, files["num_records"].to_pylist(), strict=True):
        rows[day] += count
    return dict(rows)


def details(table: Table, location: Path) -> TableDetails:
    """What the log says of the table."""
    delta = DeltaTable(location)
    files = live_files(delta)
    days = files[f"partition.{table.partition_column}"].to_pylist() if table.partition_column else []
    changed = commit_times(location, delta.version())[delta.version()]
    return TableDetails(
        rows=sum(files["num_records"].to_pylist()),
        first_date=min(days, default=None),
        last_date=max(days, default=None),
        version=delta.version(),
        bytes=sum(files["size_bytes"].to_pylist()),
        changed_at=dt.datetime.fromtimestamp(changed / 1000, dt.UTC).replace(microsecond=0),
    )


def commit_times(location: Path, since: int = 0) -> dict[int, int]:
    """When each version that the log still has was committed, in milliseconds since 1970.

    Not ``DeltaTable.history()``, which finds nothing where the path holds ``#`` or ``?``.
    """
    log = location / "_delta_log"
    found = {int(file.stem): file for file in log.glob("*.json") if file.stem.isdigit()}
    times = {version: _committed_at(file) for version, file in found.items() if version >= since}
    if not times:
        # A checkpoint may have taken the last commit's place.
        times[since] = max(int(file.stat().st_mtime * 1000) for file in log.iterdir())
    return times


# Commits that change no row.
MAINTENANCE = frozenset(
    {
        *("OPTIMIZE", "VACUUM START", "VACUUM END", "COMPUTE STATS", "SET TBLPROPERTIES"),
        # The last one lets a column be NULL: no row is another by it.
        *("ADD COLUMNS", "ADD COLUMN", "CHANGE COLUMN"),
    }
)


class LogSince(NamedTuple):
    """What a table's log says of a version: what tells its commit from any other, and what came after it.

    ``commit`` is None where the log no longer has it. ``later``: the versions after it that changed rows;
    None where that cannot be told, as the table has gone back or its log has lost a commit.
    """

    commit: str | None
    later: list[int] | None


def log_since(location: Path, version: int) -> LogSince | None:
    """Read a table's log from a version on; None where there is no table."""
    if not DeltaTable.is_deltatable(str(location)):
        return None
    delta = DeltaTable(location)
    file = _commit(location, version)
    # Its bytes name files that no other commit can name, and the table's id tells copies apart.
    commit = f"{delta.metadata().id} {sha256(file.read_bytes()).hexdigest()[:16]}" if file.exists() else None
    return LogSince(commit, _later(location, version, delta.version()))


def _commit(location: Path, version: int) -> Path:
    return location / "_delta_log" / f"{version:020}.json"


def _later(location: Path, version: int, last: int) -> list[int] | None:
    if last < version:
        return None
    found = []
    for later in range(version + 1, last + 1):
        commit = _commit(location, later)
        if not commit.exists():
            return None
        if _operation(commit) not in MAINTENANCE:
            found.append(later)
    return found


def _operation(commit: Path) -> str | None:
    with commit.open() as lines:
        for line in lines:
            if '"commitInfo"' in line and (info := json.loads(line).get("commitInfo")):
                return info.get("operation")
    return None


def _committed_at(commit: Path) -> int:
    with commit.open() as lines:
        for line in lines:
            if '"commitInfo"' in line and (info := json.loads(line).get("commitInfo")):
                return info["timestamp"]
    return int(commit.stat().st_mtime * 1000)


def added_files(location: Path, since: int) -> pa.Table:
    """The files that came after version ``since``: path, size_bytes, num_records and partition values."""
    actions = live_files(DeltaTable(location))
    if since < 0:
        return actions
    before = live_files(DeltaTable(location, version=since))
    known = set(before["path"].to_pylist())
    return actions.filter(pa.array([path not in known for path in actions["path"].to_pylist()], pa.bool_()))


def nothing_written(table: Table, version: int, seconds: float, dates: DateRange | None) -> WriteReport:
    """Nothing was there to write or to replace; each date of the run still says that it has no rows."""
    none = dict.fromkeys(dates.days(), 0) if dates else {}
    return WriteReport(table, version, 0, 0, seconds, rows_by_partition=none, committed=False)


def report(table: Table, location: Path, before: int, seconds: float, dates: DateRange | None) -> WriteReport:
    """What happened to the table between version ``before`` and now."""
    after = DeltaTable(location).version()
    if after == before:
        return nothing_written(table, before, seconds, dates)
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


def combined(reports: Sequence[WriteReport]) -> WriteReport | None:
    """Several writes of one table as one: its version is the last one's; None where there was none."""
    if not reports:
        return None
    rows: Counter[dt.date] = Counter()
    for written in reports:
        rows.update(written.rows_by_partition)
    return WriteReport(
        table=reports[-1].table,
        version=reports[-1].version,
        rows=sum(written.rows for written in reports),
        bytes=sum(written.bytes for written in reports),
        seconds=sum(written.seconds for written in reports),
        committed=any(written.committed for written in reports),
        rows_by_partition=dict(sorted(rows.items())),
    )
