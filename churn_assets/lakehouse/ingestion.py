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

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from churn_assets.errors import LandingError
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.lakehouse.lake import Lakehouse
from churn_assets.lakehouse.landing import SUFFIXES, list_files, read_lines
from churn_assets.tables import LANDED_EVENTS
from churn_assets.transforms.parsing import landed_events

MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Ingestion:
    """What one ingestion did: files taken in, files passed over for their suffix, and the write, if any."""

    files: int
    ignored: int
    write: WriteReport | None


def ingest(lake: Lakehouse, now: Callable[[], dt.datetime]) -> Ingestion:
    """Append the lines of every file that Bronze does not hold yet.

    Args:
        lake: its settings say where the landing zone is and how new files are found.
        now: the clock, for ``_ingested_at``.

    Raises:
        LandingError: the landing zone does not exist, or neither it nor Bronze holds anything.
    """
    root = lake.settings.landing_root
    listing = list_files(root)
    with lake.lock(LANDED_EVENTS):
        known, last = _ledger(lake)
        if not listing.files and not known:
            raise LandingError(
                f"The landing zone {root} holds no event files ({listing.ignored} others): expected names "
                f"that end in {' or '.join(SUFFIXES)}. Put files there, or land sample events with: "
                "churn simulate"
            )
        # Rising even where the clock steps back: what was taken in since is found by this column.
        ingested_at = max(now(), last + MICROSECOND) if last else now()
        new = sorted(set(listing.files) - known)
        if lake.settings.deployment == "spark":
            return _ingest_stream(lake, root, listing.ignored, ingested_at)
        return Ingestion(len(new), listing.ignored, _append(lake, root, new, ingested_at))


def _ledger(lake: Lakehouse) -> tuple[set[str], dt.datetime | None]:
    rows = (
        lake.read(LANDED_EVENTS).groupBy("_source_file").agg(F.unix_micros(F.max("_ingested_at"))).collect()
    )
    # Microseconds, not a timestamp: PySpark collects timestamps in the machine's own zone.
    last = max((row[1] for row in rows), default=None)
    return {row[0] for row in rows}, None if last is None else _EPOCH + last * MICROSECOND


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _append(lake: Lakehouse, root: str, files: list[str], ingested_at: dt.datetime) -> WriteReport | None:
    if not files:
        return None
    lines = read_lines(lake.spark, root, files)
    return lake.write(LANDED_EVENTS, landed_events(lines, ingested_at))


def _ingest_stream(lake: Lakehouse, root: str, ignored: int, ingested_at: dt.datetime) -> Ingestion:
    done: list[tuple[int, WriteReport | None]] = []

    def take_in(found: DataFrame, _batch: int) -> None:
        known, last = _ledger(lake)
        names = {_relative(row[0], root) for row in found.collect()}
        new = sorted(names - known)
        at = max(ingested_at, last + MICROSECOND) if last else ingested_at
        done.append((len(new), _append(lake, root, new, at)))

    suffixes = ",".join(suffix.removeprefix(".") for suffix in SUFFIXES)
    stream = (
        lake.spark.readStream.format("binaryFile")
        .option("recursiveFileLookup", value=True)
        .option("pathGlobFilter", f"*.{{{suffixes}}}")
        .load(root)
        .select("path")
        .writeStream.foreachBatch(take_in)
        .option("checkpointLocation", str(_checkpoint(lake)))
        .trigger(availableNow=True)
        .start()
    )
    stream.awaitTermination()
    files = sum(count for count, _ in done)
    writes = [write for _, write in done if write]
    return Ingestion(files, ignored, writes[-1] if writes else None)


def _checkpoint(lake: Lakehouse) -> Path:
    return lake.settings.lake_root / "_checkpoints" / lake.table_name(LANDED_EVENTS)


def _relative(path: str, root: str) -> str:
    """Spark says file:/folder/name; the ledger has names relative to the landing zone."""
    folder = urlparse(root).path if "://" in root else root
    whole = path.partition(":")[2] if path.startswith("file:") else path
    return whole[whole.index(folder.rstrip("/")) + len(folder.rstrip("/")) :].lstrip("/")
