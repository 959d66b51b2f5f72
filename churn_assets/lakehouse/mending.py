"""How damaged tables in folders are mended, so that no more is computed again than was lost.

The ledger of dates goes on where a table holds again what its last note says. Whatever is taken out of the
way is renamed and stays: only ``churn maintain`` removes files for good.
"""

import datetime as dt
import os
import uuid
from collections.abc import Collection, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from pyspark.sql import DataFrame

from churn_assets import bucket
from churn_assets.dates import DateRange, contiguous_ranges
from churn_assets.lakehouse import arrow_writes, damage, guard
from churn_assets.lakehouse.commits import commit_files
from churn_assets.lakehouse.computed_dates.checked_ledger import is_trusted
from churn_assets.lakehouse.computed_dates.rows import Row, is_noted, ledger_name
from churn_assets.lakehouse.file_rows import opened_parquet
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.opened import live_files, opened_existing
from churn_assets.lakehouse.writes import NewRows
from churn_assets.tables import Table, WriteMode


def put_aside(path: Path) -> Path:
    """Rename a damaged file or folder, so that it is out of the way; return its new name."""
    names = (path.with_name(f".{path.name}.damaged-{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    bucket.move(path, aside)
    return aside


def note_not_computed(lake: FolderLakehouse, table: Table, days: Iterable[dt.date]) -> None:
    """Note dates as not computed: the next run computes them, and whatever reads them."""
    rows = [Row(ledger_name(table), day, is_open=True) for day in sorted(days)]
    if rows:
        lake.ledger.append(rows)


def note_unknown(lake: FolderLakehouse, table: Table) -> None:
    """Note that nobody knows what a table holds: the next run makes it anew, or finds what has changed."""
    row = lake.ledger.read().table(table) or Row(ledger_name(table), None)
    lake.ledger.append([row._replace(is_open=True)])


def note_as_before(lake: FolderLakehouse, table: Table, others: Collection[dt.date] = ()) -> None:
    """Note that a table holds again what its last note says, in another commit.

    Dates with another number of rows than was noted, and ``others``, are noted as changed now by a writer
    that had read nothing: they are computed again where they are computed from something, as is whatever
    reads them.
    """
    ledger = lake.ledger.read()
    row = ledger.table(table)
    if row is None:
        return
    version = lake.version(table)
    log = lake.log_since(table, version)
    closed = row._replace(delta_version=version, delta_commit=log.commit if log else None, is_open=False)
    noted, now = ledger.dates(table), lake.partition_rows(table) if table.partition_column else {}
    changed = set(others)
    if noted:
        known = {day: one.rows or 0 for day, one in noted.items() if not one.is_open}
        changed |= {day for day in {*known, *now} if known.get(day, 0) != now.get(day, 0)}
    lake.ledger.append(
        [closed, *(_changed(table, day, noted.get(day), now.get(day, 0), version) for day in sorted(changed))]
    )


def _changed(table: Table, day: dt.date, before: Row | None, rows: int, version: int) -> Row:
    row = Row(ledger_name(table), day, rows=rows, delta_version=version)
    return (
        row
        if before is None
        else row._replace(parameters=before.parameters, code_version=before.code_version)
    )


def is_as_noted(lake: FolderLakehouse, table: Table) -> bool:
    """Whether the ledger knew what a table held before it was damaged, as far as its log can still tell."""
    ledger = lake.ledger.read()
    if (lake.location(table) / "_delta_log").is_dir() and damage.log_damage(lake.location(table)) is None:
        return is_trusted(lake, table, ledger)
    row = ledger.table(table)
    return row is not None and not row.is_open


def rewrite(lake: FolderLakehouse, table: Table, rows: DataFrame, days: Collection[dt.date] | None) -> int:
    """Write rows that a table has lost, in the place of whatever it has of these dates.

    Args:
        lake: where the table is.
        table: the contract, however it is written otherwise.
        rows: exactly its columns; of these dates, at least.
        days: the dates; the whole table without them.

    Returns:
        The table's rows afterwards.
    """
    ranges = contiguous_ranges(days) if days is not None else [None]
    was_known = is_noted(table) and is_as_noted(lake, table)
    name = lake._open(table)  # the one writer beside the lake itself
    with lake.lock(table):
        for dates in ranges:
            mode = WriteMode.REPLACE_PARTITIONS if dates else WriteMode.REPLACE_ALL
            wanted = rows
            if dates:
                column = rows[str(table.partition_column)]
                wanted = rows.where((column >= dates.start) & (column <= dates.end))
            conforming = guard.conforming(table, wanted, dates)
            lake._commit(replace(table, write_mode=mode), name, NewRows(conforming), dates)
        if was_known:
            note_as_before(lake, table)
    return lake.details(table).rows


def drop_last_commit(location: Path) -> int | None:
    """Take a damaged commit from the end of a log, if without it the log is whole.

    Returns:
        The version that the table has now; None where more is damaged, and nothing was changed.
    """
    commits = [*commit_files(location).values()]
    if len(commits) < 2:
        return None
    aside = put_aside(commits[-1])
    if damage.log_damage(location) is None:
        return DeltaTable(location).version()
    bucket.move(aside, commits[-1])
    return None


def unlisted_files(location: Path) -> list[Path]:
    """Return the readable Parquet files of a table's folder that its log does not list."""
    listed = {Path(uri).name for uri in opened_existing(location).file_uris()}
    return [
        file
        for file in sorted(location.rglob("*.parquet"))
        if "_delta_log" not in file.parts and file.name not in listed and damage.parquet_damage(file) is None
    ]


def replace_partition(
    lake: FolderLakehouse, table: Table, day: dt.date, kept: Collection[Path], added: DataFrame | None
) -> None:
    """Replace a date's files by some of them and new rows, in one commit.

    Args:
        lake: where the table is.
        table: the contract, which has a partition column.
        day: the date.
        kept: files of it that stay, whether the log lists them or not.
        added: rows of this date; none without it.
    """
    location, column = lake.location(table), str(table.partition_column)
    delta = DeltaTable(location)
    files = [_linked(file, location) for file in kept]
    if added is not None:
        files += arrow_writes.written_files(
            table, location, guard.conforming(table, added, DateRange(day, day))
        )
    delta.create_write_transaction(
        [arrow_writes.added(table, {**file, "day": str(day)}) for file in files],
        mode="overwrite",
        schema=delta.schema(),
        partition_by=[column],
        partition_filters=[(column, "=", str(day))],
        commit_properties=CommitProperties(max_commit_retries=0),
    )


def _linked(file: Path, location: Path) -> dict[str, str | int]:
    """Give a file another name: a commit cannot remove and add a file of one name."""
    name = file.with_name(f"part-{uuid.uuid4()}.zstd.parquet")
    if bucket.is_bucket(file):
        bucket.copy(file, name)
    else:
        os.link(file, name)
    with opened_parquet(name) as opened:
        stats = arrow_writes.stats_text(opened.metadata)
    return {"path": str(name.relative_to(location)), "size": name.stat().st_size, "stats": stats}


def read_columns(files: Iterable[Path], columns: Collection[str]) -> pa.Table:
    """Return columns of Parquet files."""
    tables = [_read_columns(file, list(columns)) for file in files]
    return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def _read_columns(file: Path, columns: list[str]) -> pa.Table:
    with opened_parquet(file) as opened:
        return opened.read(columns)


def days_of(lake: FolderLakehouse, table: Table, paths: Collection[str]) -> set[dt.date]:
    """Return the dates of some of a table's files, by the paths that the log has of them."""
    files = live_files(opened_existing(lake.location(table)))
    days = files[f"partition.{table.partition_column}"].to_pylist()
    return {day for path, day in zip(files["path"].to_pylist(), days, strict=True) if path in paths}
