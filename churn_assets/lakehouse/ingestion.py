"""From the landing zone to Bronze: each file exactly once, whatever dies in between.

Bronze itself is the ledger: a file whose name is in it has been taken in, and all files of one ingestion come
in one Delta commit, so there is nothing in between. On Apache Spark a file stream with a checkpoint finds the
new files; the ledger still has the last word, so that a lost checkpoint, a crash between commit and
checkpoint, or a change of deployment doubles nothing.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import ChurnError, LandingError
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import SUFFIXES, list_files, read_lines
from churn_assets.tables import LANDED_EVENTS
from churn_assets.transforms.parsing import landed_events

Clock = Callable[[], dt.datetime]
MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Ingestion:
    """What one ingestion did: files taken in, files passed over for their suffix, and the write, if any."""

    files: int
    ignored: int
    write: WriteReport | None


def ingest(lake: Lakehouse, now: Clock) -> Ingestion:
    """Append the lines of every file that Bronze does not hold yet.

    Args:
        lake: its settings say where the landing zone is and how new files are found.
        now: the clock, for ``_ingested_at``.

    Raises:
        LandingError: the landing zone does not exist, or neither it nor Bronze holds anything.
    """
    root = lake.settings.landing_root
    listing = list_files(root)
    if not listing.files and lake.version(LANDED_EVENTS) < 1:
        raise LandingError(
            f"The landing zone {root} holds no event files ({listing.ignored} others): expected names "
            f"that end in {' or '.join(SUFFIXES)}. Put files there, or land sample events with: "
            "churn simulate"
        )
    if lake.settings.deployment == "spark":
        done = _take_in_by_stream(lake, root, now)
    else:
        done = [_take_in(lake, root, set(listing.files), now)]
    return Ingestion(
        files=sum(files for files, _ in done),
        ignored=listing.ignored,
        write=next((write for _, write in reversed(done) if write), None),
    )


def _take_in(lake: Lakehouse, root: str, found: set[str], now: Clock) -> tuple[int, WriteReport | None]:
    """Append those of the files that Bronze does not hold, with nobody else doing so in between."""
    with lake.lock(LANDED_EVENTS):
        known, last = _ledger(lake)
        new = sorted(found - known)
        if not new:
            return 0, None
        # Rising even where the clock steps back: what was taken in since is found by this column.
        ingested_at = max(now(), last + MICROSECOND) if last else now()
        lines = read_lines(lake.spark, root, new)
        return len(new), lake.write(LANDED_EVENTS, landed_events(lines, ingested_at))


def _ledger(lake: Lakehouse) -> tuple[set[str], dt.datetime | None]:
    rows = (
        lake.read(LANDED_EVENTS).groupBy("_source_file").agg(F.unix_micros(F.max("_ingested_at"))).collect()
    )
    # Microseconds, not a timestamp: PySpark collects timestamps in the machine's own zone.
    last = max((row[1] for row in rows), default=None)
    return {row[0] for row in rows}, None if last is None else _EPOCH + last * MICROSECOND


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _take_in_by_stream(lake: Lakehouse, root: str, now: Clock) -> list[tuple[int, WriteReport | None]]:
    done = []
    refused: list[ChurnError] = []

    def take_in(found: DataFrame, _batch: int) -> None:
        names = {_relative(row["path"], root) for row in found.collect()}
        try:
            done.append(_take_in(lake, root, names, now))
        except ChurnError as error:
            refused.append(error)
            raise

    suffixes = ",".join(suffix.removeprefix(".") for suffix in SUFFIXES)
    stream = (
        lake.spark.readStream.format("binaryFile")
        # A stream wants the format's own schema; only the path is read.
        .schema("path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY")
        .option("recursiveFileLookup", value=True)
        .option("pathGlobFilter", f"*.{{{suffixes}}}")
        .load(root)
        .select("path")
        .writeStream.foreachBatch(take_in)
        .option("checkpointLocation", str(_checkpoint(lake)))
        .trigger(availableNow=True)
        .start()
    )
    try:
        stream.awaitTermination()
    except StreamingQueryException as error:
        # Spark says only that the stream has failed; the reason is the one that was given in it.
        if refused:
            raise refused[0] from error
        raise
    return done


def _checkpoint(lake: Lakehouse) -> Path:
    return lake.settings.lake_root / "_checkpoints" / lake.table_name(LANDED_EVENTS)


def _relative(path: str, root: str) -> str:
    """Spark says file:/folder/name; the ledger has names relative to the landing zone."""
    folder = urlparse(root).path if "://" in root else root
    whole = path.partition(":")[2] if path.startswith("file:") else path
    return whole[whole.index(folder.rstrip("/")) + len(folder.rstrip("/")) :].lstrip("/")
