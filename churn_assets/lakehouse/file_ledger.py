"""Bronze as the ledger of ingested files.

A file has been ingested if its name is in Bronze, and all files of a batch come in one Delta commit, so none
is ever there in part. However files are found, the ledger decides: a lost checkpoint, a crash between commit
and checkpoint, or a change of deployment duplicates no line.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import LakeError
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import Listing
from churn_assets.lakehouse.landing_folder import ingested_by_another_name, unreadable
from churn_assets.lakehouse.landing_lines import unreadable_file
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, Table

Clock = Callable[[], dt.datetime]
# From names of files to their lines, as ``landing_lines.read_rows`` returns them.
ReadLines = Callable[[list[str]], DataFrame]

MICROSECOND = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class AppendedFiles:
    """The result of one batch.

    Attributes:
        files: how many files were new and are in Bronze now.
        write: the commit; None where nothing was new.
        ingested: the names of all files in Bronze now.
        left_out: files that could not be read, with the reason; no line of theirs is in Bronze.
        ahead: how far the ledger was ahead of the clock, zero where it was not.
    """

    files: int = 0
    write: WriteReport | None = None
    ingested: frozenset[str] = frozenset()
    left_out: dict[str, str] = field(default_factory=dict)
    ahead: dt.timedelta = dt.timedelta()


def append_new_files(
    lake: Lakehouse, names: set[str], read: ReadLines, now: Clock, listing: Listing | None = None
) -> AppendedFiles:
    """Append the lines of the files that Bronze does not have yet, under Bronze's lock.

    A file that cannot be read is left out as a whole, and the others are ingested without it.

    Args:
        lake: where Bronze is.
        names: the files' names.
        read: returns the lines of files, taken apart.
        now: the clock.
        listing: the landing zone, where it can be listed from here.
    """
    with lake.lock(LANDED_EVENTS):
        known, last, version = _ingested_files(lake)
        ahead = max(last - now(), dt.timedelta()) if last else dt.timedelta()
        new, left_out = _readable(names - known, known, listing)
        while new:
            clock = now()
            # Rising even where the clock steps back: Silver finds new lines by this column.
            ingested_at = max(clock, last + MICROSECOND) if last else clock
            try:
                lines = bronze_rows(lake, read(new), ingested_at, clock)
                # Whoever lost the lock to another machine must not commit what that one has committed.
                absent = NewRows(lines, absent_at=version) if lake.appends_alone else lines
                written = lake.write(LANDED_EVENTS, absent)
            except Exception as error:
                # A disk that fails in the middle of a file, or a worker without this process's permissions.
                unreadable_entry = unreadable_file(error)
                if unreadable_entry is None or unreadable_entry[0] not in new:
                    raise
                name, reason = unreadable_entry
                left_out[name] = f"cannot be read: {reason}"
                new.remove(name)
            else:
                return AppendedFiles(len(new), written, frozenset(known.union(new)), left_out, ahead)
        return AppendedFiles(ingested=frozenset(known), left_out=left_out, ahead=ahead)


def bronze_rows(
    lake: Lakehouse, lines: DataFrame, ingested_at: dt.datetime, clock_at: dt.datetime
) -> DataFrame:
    """Return lines that have been taken apart as rows of Bronze; those of erased users say nothing.

    Raises:
        DamagedError: who was erased cannot be read.
    """
    # They bring pandas, a third of a second, and whoever asks for ahead_of ingests nothing.
    from churn_assets.transforms.erasure import without_erased
    from churn_assets.transforms.parsing import landed_events

    rows = landed_events(lines, ingested_at, clock_at)
    erased = lake.erased_users()
    return without_erased(rows, *erased) if erased else rows


def require_ledger(lake: Lakehouse) -> None:
    """Require that the lines exist from which Silver was made.

    Raises:
        LakeError: Bronze is empty and Silver or its quarantine is not: all files would be ingested again, and
            every quarantined line would be there twice.
    """
    if _rows(lake, LANDED_EVENTS):
        return
    made_from_bronze = [table for table in (EVENTS, QUARANTINED_EVENTS) if _rows(lake, table)]
    if made_from_bronze:
        counts = " and ".join(
            f"{lake.table_name(table)} {_rows(lake, table):,} rows" for table in made_from_bronze
        )
        raise LakeError(
            f"Bronze, {lake.table_name(LANDED_EVENTS)}, holds no line, and {counts} that were made from it. "
            "Restore it from a backup; or, to take in every file of the landing zone again, move "
            f"{lake.table_name(EVENTS)} and {lake.table_name(QUARANTINED_EVENTS)} away as well, or start "
            "another lake (CHURN_LAKE_ROOT)."
        )


def ahead_of(lake: Lakehouse, now: dt.datetime) -> dt.timedelta:
    """Return how far the last ingestion's timestamp is ahead of the clock; zero where it is not."""
    days = lake.partition_rows(LANDED_EVENTS)
    if not days or max(days) < now.astimezone(dt.UTC).date():
        return dt.timedelta()
    return max(lake.latest_timestamp(LANDED_EVENTS, "_ingested_at", max(days)) - now, dt.timedelta())


def _readable(new: set[str], known: set[str], listing: Listing | None) -> tuple[list[str], dict[str, str]]:
    if listing is None or listing.folder is None:
        return sorted(new), {}
    if new and listing.has_aliases:
        new = new - ingested_by_another_name(listing.folder, new, known - new)
    left_out = unreadable(listing.folder, new)
    return sorted(new - left_out.keys()), left_out


def _rows(lake: Lakehouse, table: Table) -> int:
    if lake.version(table) < 1:
        return 0
    # Opened first, as a table with other columns is a different mistake with its own message.
    lake.read(table)
    return sum(lake.partition_rows(table).values())


def _ingested_files(lake: Lakehouse) -> tuple[set[str], dt.datetime | None, int]:
    """Return the names in Bronze, its last timestamp, and a version that has no other."""
    landed = lake.read(LANDED_EVENTS)
    version = lake.version(LANDED_EVENTS)
    rows = landed.groupBy("_source_file").agg(F.unix_micros(F.max("_ingested_at"))).collect()
    # Microseconds, not a timestamp: PySpark collects timestamps in the machine's own zone.
    last = max((row[1] for row in rows), default=None)
    return {row[0] for row in rows}, None if last is None else EPOCH + last * MICROSECOND, version
