"""Bronze from its own files or, for lines that these have lost, from the landing zone.

A line comes back with the time at which it was taken in: events are judged by it, and Silver finds new lines
by it. Where that time is not known, all files are taken in anew and Silver is made of them.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from churn_assets.errors import DamagedError, LandingError
from churn_assets.lakehouse import damage, mending
from churn_assets.lakehouse.commits import commit_files
from churn_assets.lakehouse.file_ledger import bronze_rows
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.landing import list_files
from churn_assets.lakehouse.landing_lines import read_lines, read_rows
from churn_assets.tables import EVENTS, LANDED_EVENTS, QUARANTINED_EVENTS, Table
from churn_assets.verification import tables

NAMES_SHOWN = 3
STAMPS = ("_ingested_at", "_clock_at")


class _Ingestion(NamedTuple):
    """The stamps that all lines of one ingestion have."""

    ingested_at: dt.datetime
    clock_at: dt.datetime


class _Lost(NamedTuple):
    """What damaged files held: their names, date and rows, and the ingestion if it was one."""

    paths: list[str]
    day: dt.date | None
    rows: int
    ingestion: _Ingestion | None


def repair(lake: FolderLakehouse) -> str:
    """Mend Bronze.

    Returns:
        What was done, in a sentence.

    Raises:
        DamagedError: lines are lost that are in no file of the landing zone; nothing was changed.
    """
    location = lake.location(LANDED_EVENTS)
    with lake.lock(LANDED_EVENTS):
        if not (location / "_delta_log").is_dir():
            return _take_in_anew(lake)
        if damage.log_damage(location):
            if mending.drop_last_commit(location) is None:
                return _take_in_anew(lake)
            # What the lost commit listed is still there.
            files = _committed_once(location)
            for day in sorted({_day(file) for file in files}):
                mending.replace_partition(
                    lake,
                    LANDED_EVENTS,
                    day,
                    [*_listed(location, day), *(f for f in files if _day(f) == day)],
                    None,
                )
            return f"the last commit was lost, and its {len(files)} files are listed again"
        lost = _lost(location)
        if lost.paths:
            return _bring_back(lake, lost)
        accounted = tables.conservation(lake, deep=True)
        return f"nothing of it is damaged: {accounted.says}" if accounted.is_well else _take_in_anew(lake)


def _bring_back(lake: FolderLakehouse, lost: _Lost) -> str:
    """Take the lines of damaged files from the landing zone again, with the stamps that they had."""
    location = lake.location(LANDED_EVENTS)
    bad = set(lost.paths)
    intact = [file for file in _listed(location) if str(file.relative_to(location)) not in bad]
    if lost.ingestion and lost.day:
        missing = _missing_lines(lake, intact, lost.ingestion)
        found = missing.count() if missing is not None else 0
        if found == lost.rows:
            kept = [file for file in intact if _day(file) == lost.day]
            mending.replace_partition(lake, LANDED_EVENTS, lost.day, kept, missing)
            return f"{found:,} lines were taken from the landing zone again"
    return _take_in_anew(lake, intact)


def _missing_lines(
    lake: FolderLakehouse, intact: Collection[Path], ingestion: _Ingestion
) -> DataFrame | None:
    """Return the lines of the landing zone that the intact files lack; None where they lack none."""
    settings, counted = lake.settings, Counter[str]()
    for file in intact:
        counted.update(mending.read_columns([file], ["_source_file"])["_source_file"].to_pylist())
    names = list_files(settings.landing_root).files
    if not names:
        return None
    lines = bronze_rows(
        lake,
        read_rows(lake.spark, settings.landing_root, names, settings.max_line_megabytes, lake.parallel_files),
        ingestion.ingested_at,
        ingestion.clock_at,
    )
    if not intact:
        return lines
    there = lake.spark.createDataFrame(mending.read_columns(intact, ["_source_file", "_raw"]))
    key = ["_source_file", "_raw"]
    numbered = Window.partitionBy(*key).orderBy(*key)
    return (
        lines.withColumn("_place", F.row_number().over(numbered))
        .join(there.withColumn("_place", F.row_number().over(numbered)), [*key, "_place"], "left_anti")
        .select(*LANDED_EVENTS.column_names)
    )


def _take_in_anew(lake: FolderLakehouse, intact: Iterable[Path] = ()) -> str:
    """Put Bronze, Silver and the quarantine aside: the next run takes all files in, and cleans them."""
    try:
        landed = set(list_files(lake.settings.landing_root).files)
    except LandingError:
        landed = set()
    known = _source_files(list(intact) or _readable(lake.location(LANDED_EVENTS)))
    known |= _source_files(_readable(lake.location(QUARANTINED_EVENTS)))
    if (gone := sorted(known - landed)) or not landed:
        more = f" and {len(gone) - NAMES_SHOWN} more" if len(gone) > NAMES_SHOWN else ""
        shown = f" ({', '.join(gone[:NAMES_SHOWN])}{more})" if gone else ""
        raise DamagedError(
            f"Bronze has lost lines, and {len(gone) or 'all'} files that it was made of are no longer in "
            f"{lake.settings.landing_root}{shown}. Bring them back and try again, or restore the lake from a "
            "backup. Nothing was changed."
        )
    lines = read_lines(lake.spark, lake.settings.landing_root, sorted(landed)).count()
    rows = sum(_rows(lake, table) for table in (EVENTS, QUARANTINED_EVENTS))
    if lines < rows:
        raise DamagedError(
            f"Bronze has lost lines, and the landing zone {lake.settings.landing_root} has {lines:,}: fewer "
            f"than the {rows:,} rows of Silver and its quarantine. Bring its files back and try "
            "again, or restore the lake from a backup. Nothing was changed."
        )
    for table in (LANDED_EVENTS, EVENTS, QUARANTINED_EVENTS):
        if lake.location(table).exists():
            mending.put_aside(lake.location(table))
    return f"the {len(landed)} files of the landing zone are taken in anew, and Silver is made of them"


def _source_files(files: Collection[Path]) -> set[str]:
    return set(mending.read_columns(files, ["_source_file"])["_source_file"].to_pylist()) if files else set()


def _rows(lake: FolderLakehouse, table: Table) -> int:
    try:
        return sum(lake.partition_rows(table).values())
    except DamagedError:
        return 0


def _lost(location: Path) -> _Lost:
    bad = {file.path for file in damage.damaged_files(DeltaTable(location), location, deep=True)}
    adds = [action for action in _adds(location) if action["path"] in bad]
    stamps: set[tuple[str | None, ...]] = set()
    days: set[str] = set()
    for add in adds:
        stats = json.loads(add.get("stats") or "{}")
        least, most = stats.get("minValues", {}), stats.get("maxValues", {})
        stamps.add(tuple(least.get(name) if least.get(name) == most.get(name) else None for name in STAMPS))
        days.add(add["partitionValues"]["_processing_date"])
    rows = sum(int(json.loads(add["stats"])["numRecords"]) for add in adds if add.get("stats"))
    only = [stamp for stamp in next(iter(stamps)) if stamp] if len(stamps) == len(days) == 1 else []
    ingestion = _Ingestion(*map(dt.datetime.fromisoformat, only)) if len(only) == len(STAMPS) else None
    return _Lost(
        sorted(bad), dt.date.fromisoformat(next(iter(days))) if len(days) == 1 else None, rows, ingestion
    )


def _adds(location: Path) -> list[dict[str, Any]]:
    """Return the log's add actions as they were written: delta-rs cuts times to milliseconds."""
    commits = commit_files(location)
    lines = (line for commit in commits.values() for line in commit.read_text().splitlines() if line.strip())
    return [add for line in lines if (add := json.loads(line).get("add"))]


def _listed(location: Path, day: dt.date | None = None) -> list[Path]:
    files = [location / add for add in DeltaTable(location).get_add_actions(flatten=True)["path"].to_pylist()]
    return [file for file in files if day is None or _day(file) == day]


def _day(file: Path) -> dt.date:
    return dt.date.fromisoformat(file.parent.name.partition("=")[2])


def _readable(location: Path) -> list[Path]:
    files = location.glob("_processing_date=*/*.parquet")
    return [file for file in sorted(files) if damage.parquet_damage(file) is None]


def _committed_once(location: Path) -> list[Path]:
    """Return the unlisted files whose lines no listed file has: those of the commit that was lost.

    A writer that died left files, too, but the next one took in the same names.
    """
    known = _source_files(_listed(location))
    return [file for file in mending.unlisted_files(location) if known.isdisjoint(_source_files([file]))]
