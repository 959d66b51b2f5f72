"""What a table's Delta log says of its commits and its content: no data is scanned."""

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
from churn_assets.lakehouse.opened import live_files, opened, opened_existing
from churn_assets.tables import Table


@dataclass(frozen=True)
class WriteReport:
    """One write: the Delta version that it left, what it wrote, and how long it took.

    ``rows_by_partition`` counts the rows of every replaced date (0 for one left empty) or, after an append or
    a merge, those that each date gained. ``committed`` is false where there was nothing to write.
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
    """A table's rows, first and last date of its partition column, version, bytes and last change (UTC)."""

    rows: int
    first_date: dt.date | None
    last_date: dt.date | None
    version: int
    bytes: int
    changed_at: dt.datetime


def rows_by_partition(table: Table, location: Path) -> dict[dt.date, int]:
    """Count the rows of each date of the partition column."""
    files = live_files(opened_existing(location))
    rows: Counter[dt.date] = Counter()
    days = files[f"partition.{table.partition_column}"].to_pylist()
    for day, count in zip(days, files["num_records"].to_pylist(), strict=True):
        rows[day] += count
    return dict(rows)


def details(table: Table, location: Path) -> TableDetails:
    """Return what the log says of the table."""
    delta = opened_existing(location)
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
    """Return when each version that the log still has was committed, in milliseconds since 1970.

    Not ``DeltaTable.history()``, which finds nothing where the path holds ``#`` or ``?``.
    """
    files = commit_files(location)
    times = {version: _committed_at(file) for version, file in files.items() if version >= since}
    if not times:
        # A checkpoint may have taken the last commit's place.
        log = location / "_delta_log"
        times[since] = max(int(file.stat().st_mtime * 1000) for file in log.iterdir())
    return times


def commit_files(location: Path) -> dict[int, Path]:
    """Return the commits that the log still has, by their version and in its order."""
    files = (location / "_delta_log").glob("*.json")
    return {int(file.stem): file for file in sorted(files) if file.stem.isdigit()}


# Commits that change no row.
MAINTENANCE = frozenset(
    {
        *("OPTIMIZE", "VACUUM START", "VACUUM END", "COMPUTE STATS", "SET TBLPROPERTIES"),
        # The last one allows NULL in a column, which changes no row.
        *("ADD COLUMNS", "ADD COLUMN", "CHANGE COLUMN"),
    }
)


class LogSince(NamedTuple):
    """A version in a table's log: what tells its commit from any other, and what came after it.

    ``commit`` is None where the log no longer has it. ``later`` lists the versions after it that changed
    rows; None where the table was restored to an earlier version, or its log has lost a commit.
    """

    commit: str | None
    later: list[int] | None


def log_since(location: Path, version: int) -> LogSince | None:
    """Read a table's log from a version on; None where there is no table."""
    delta = opened(location)
    if delta is None:
        return None
    file = _commit(location, version)
    # A commit's bytes name files that no other commit names, and the table's id tells copies apart.
    commit = f"{delta.metadata().id} {sha256(file.read_bytes()).hexdigest()[:16]}" if file.exists() else None
    return LogSince(commit, _later(location, version, delta.version()))


def is_committed(location: Path, since: int, path: str) -> bool:
    """Whether a commit after version ``since`` names a file, whose name no other writer uses.

    A store may do what it is asked and its answer may be lost. Asked once more it says that the commit is
    there, which looks like another writer's: whoever then wrote it again would have every row twice.
    """
    version = since + 1
    while (commit := _commit(location, version)).exists():
        if path in commit.read_text():
            return True
        version += 1
    return False


def _commit(location: Path, version: int) -> Path:
    return location / "_delta_log" / f"{version:020}.json"


def _later(location: Path, version: int, last: int) -> list[int] | None:
    if last < version:
        return None
    changing = []
    for later in range(version + 1, last + 1):
        commit = _commit(location, later)
        if not commit.exists():
            return None
        if _operation(commit) not in MAINTENANCE:
            changing.append(later)
    return changing


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
    """Return the files added after version ``since``, as ``live_files`` does."""
    actions = live_files(opened_existing(location))
    if since < 0:
        return actions
    before = live_files(DeltaTable(location, version=since))
    known = set(before["path"].to_pylist())
    return actions.filter(pa.array([path not in known for path in actions["path"].to_pylist()], pa.bool_()))


def nothing_written(table: Table, version: int, seconds: float, dates: DateRange | None) -> WriteReport:
    """Report a write of nothing, in which each date of the run has no rows."""
    none = dict.fromkeys(dates.days(), 0) if dates else {}
    return WriteReport(table, version, 0, 0, seconds, rows_by_partition=none, committed=False)


def report(table: Table, location: Path, before: int, seconds: float, dates: DateRange | None) -> WriteReport:
    """Report what was committed to the table after version ``before``."""
    after = opened_existing(location).version()
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
    """Report several writes of one table as one, with the last one's version; None for no write."""
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
