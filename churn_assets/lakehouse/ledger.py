"""Bronze as the ledger of what has been taken in.

A file whose name is in Bronze has been taken in, and all files of one batch come in one Delta commit, so
there is nothing in between. Whatever finds the files, the ledger has the last word: a lost checkpoint, a
crash between commit and checkpoint, or a change of deployment doubles nothing.
"""

import datetime as dt
from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.tables import LANDED_EVENTS
from churn_assets.transforms.parsing import landed_events

Clock = Callable[[], dt.datetime]
# From names of files to their lines, as ``landing.read_lines`` gives them.
ReadLines = Callable[[list[str]], DataFrame]

MICROSECOND = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def take_in(lake: Lakehouse, found: set[str], read: ReadLines, now: Clock) -> tuple[int, WriteReport | None]:
    """Append those of the files that Bronze does not hold, with nobody else doing so in between.

    Returns:
        How many files were new, and the write, if any was.
    """
    with lake.lock(LANDED_EVENTS):
        known, last = _ledger(lake)
        new = sorted(found - known)
        if not new:
            return 0, None
        # Rising even where the clock steps back: what was taken in since is found by this column.
        ingested_at = max(now(), last + MICROSECOND) if last else now()
        return len(new), lake.write(LANDED_EVENTS, landed_events(read(new), ingested_at))


def _ledger(lake: Lakehouse) -> tuple[set[str], dt.datetime | None]:
    rows = (
        lake.read(LANDED_EVENTS).groupBy("_source_file").agg(F.unix_micros(F.max("_ingested_at"))).collect()
    )
    # Microseconds, not a timestamp: PySpark collects timestamps in the machine's own zone.
    last = max((row[1] for row in rows), default=None)
    return {row[0] for row in rows}, None if last is None else EPOCH + last * MICROSECOND
