"""Bronze as the ledger of what has been taken in.

A file whose name is in Bronze has been taken in, and all files of one batch come in one Delta commit, so
there is nothing in between. Whatever finds the files, the ledger has the last word: a lost checkpoint, a
crash between commit and checkpoint, or a change of deployment doubles nothing.
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
from churn_assets.lakehouse.landing_folder import taken_in_by_another_name, unreadable
from churn_assets.lakehouse.landing_lines import unreadable_file
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, Table
from churn_assets.transforms.parsing import landed_events

Clock = Callable[[], dt.datetime]
# From names of files to their lines, as ``landing_lines.read_lines`` gives them.
ReadLines = Callable[[list[str]], DataFrame]

MICROSECOND = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class TakenIn:
    """What one batch brought.

    Attributes:
        files: how many files were new and are in Bronze now.
        write: the commit; None where nothing was new.
        held: all names that are in Bronze now.
        left_out: files that could not be read, with the reason; nothing of them is in Bronze.
        ahead: how far the ledger was ahead of the clock, zero where it was not.
    """

    files: int = 0
    write: WriteReport | None = None
    held: frozenset[str] = frozenset()
    left_out: dict[str, str] = field(default_factory=dict)
    ahead: dt.timedelta = dt.timedelta()


def take_in(
    lake: Lakehouse, found: set[str], read: ReadLines, now: Clock, listing: Listing | None = None
) -> TakenIn:
    """Append those of the files that Bronze does not hold, with nobody else doing so in between.

    A file that cannot be read is left out whole, and the others are taken in without it.

    Args:
        lake: where Bronze is.
        found: names of files.
        read: gives the lines of files.
        now: the clock.
        listing: the landing zone, where it can be looked at from here.
    """
    with lake.lock(LANDED_EVENTS):
        known, last = _ledger(lake)
        ahead = max(last - now(), dt.timedelta()) if last else dt.timedelta()
        new, left_out = _readable(found - known, known, listing)
        while new:
            clock = now()
            # Rising even where the clock steps back: what was taken in since is found by this column.
            ingested_at = max(clock, last + MICROSECOND) if last else clock
            try:
                written = lake.write(LANDED_EVENTS, landed_events(read(new), ingested_at, clock))
            except Exception as error:
                # A disk that fails half-way through a file, or a worker that may not read what we may.
                bad = unreadable_file(error)
                if bad is None or bad[0] not in new:
                    raise
                left_out[bad[0]] = f"cannot be read: {bad[1]}"
                new.remove(bad[0])
            else:
                return TakenIn(len(new), written, frozenset(known.union(new)), left_out, ahead)
        return TakenIn(held=frozenset(known), left_out=left_out, ahead=ahead)


def require_ledger(lake: Lakehouse) -> None:
    """See that what Silver was made from is there.

    Raises:
        LakeError: Bronze is gone and Silver or its quarantine stands: all files would be taken in again, and
            every line that was quarantined would be a second time.
    """
    if _rows(lake, LANDED_EVENTS):
        return
    made_from_it = [table for table in (EVENTS, QUARANTINED_EVENTS) if _rows(lake, table)]
    if made_from_it:
        held = " and ".join(f"{lake.table_name(table)} {_rows(lake, table):,} rows" for table in made_from_it)
        raise LakeError(
            f"Bronze, {lake.table_name(LANDED_EVENTS)}, holds no line, and {held} that were made from it. "
            "Restore it from a backup; or, to take in every file of the landing zone again, move "
            f"{lake.table_name(EVENTS)} and {lake.table_name(QUARANTINED_EVENTS)} away as well, or start "
            "another lake (CHURN_LAKE_ROOT)."
        )


def ahead_of(lake: Lakehouse, now: dt.datetime) -> dt.timedelta:
    """How far the last ingestion's stamp is ahead of the clock; zero where it is not. Needs no engine."""
    days = lake.partition_rows(LANDED_EVENTS)
    if not days or max(days) < now.astimezone(dt.UTC).date():
        return dt.timedelta()
    return max(lake.latest_timestamp(LANDED_EVENTS, "_ingested_at", max(days)) - now, dt.timedelta())


def _readable(new: set[str], known: set[str], listing: Listing | None) -> tuple[list[str], dict[str, str]]:
    if listing is None or listing.folder is None:
        return sorted(new), {}
    if new and listing.has_aliases:
        new = new - taken_in_by_another_name(listing.folder, new, known - new)
    left_out = unreadable(listing.folder, new)
    return sorted(new - left_out.keys()), left_out


def _rows(lake: Lakehouse, table: Table) -> int:
    if lake.version(table) < 1:
        return 0
    # Opened first, as a table of other columns is another mistake, and has its own line.
    lake.read(table)
    return sum(lake.partition_rows(table).values())


def _ledger(lake: Lakehouse) -> tuple[set[str], dt.datetime | None]:
    rows = (
        lake.read(LANDED_EVENTS).groupBy("_source_file").agg(F.unix_micros(F.max("_ingested_at"))).collect()
    )
    # Microseconds, not a timestamp: PySpark collects timestamps in the machine's own zone.
    last = max((row[1] for row in rows), default=None)
    return {row[0] for row in rows}, None if last is None else EPOCH + last * MICROSECOND
