"""Writes of Delta tables: the engine computes the rows, Arrow writes their files, delta-rs commits them.

Sail's own writer takes two to three times the CPU for the same rows, compresses less, and leaves a file for
each of its threads and dates however small. Apache Spark's is not used in a bucket, where Delta looks whether
a commit is there and then puts its own, whatever has come in between.
"""

import contextlib
import datetime as dt
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as papq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from pyspark.sql import DataFrame

from churn_assets import bucket
from churn_assets.dates import DateRange
from churn_assets.lakehouse import commits
from churn_assets.lakehouse.writes import COMMIT_CONFLICTS, replaced_partitions, retrying_conflicts
from churn_assets.tables import Table, WriteMode

# Its functions are made at run time: type checkers do not know them.
pc: Any = pyarrow.compute

# Rows that are held, sorted and written together: a row group of one date, or of several.
HELD_ROWS = 262_144
HELD_BYTES = 64 * 1024 * 1024
SAMPLED_ROWS = 4096
# A file that has grown to this is followed by another.
FILE_BYTES = 256 * 1024 * 1024
# A core or two compute what one writes.
WRITERS = max(1, (os.cpu_count() or 2) // 2)

# Text is unique or has few values, and so have booleans; doubles may be NaN, neither least nor greatest.
_PRUNING = (int, dt.date, dt.datetime)

# One row a file, for Arrow and for the engine.
_WRITTEN = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("day", pa.string()), ("stats", pa.string())]
)
_FILES = "path string, size bigint, day string, stats string"

Batches = Iterator[pa.RecordBatch]


@retrying_conflicts
def commit(table: Table, location: Path, rows: DataFrame, dates: DateRange | None) -> None:
    """Write rows in one commit, in the place of others where the contract says so.

    It is done again if another writer committed first.

    Args:
        table: the contract.
        location: the table's folder.
        rows: exactly its columns.
        dates: the partitions that are replaced, where the contract replaces partitions.

    Raises:
        LakeError: as ``writes.replaced_partitions``.
    """
    _commit(table, location, rows, dates)


@retrying_conflicts
def insert(table: Table, location: Path, rows: DataFrame, existing: Callable[[], DataFrame]) -> None:
    """Append the rows whose key the table does not have, in one commit, or in none if there are none.

    It is done again if another writer committed first.

    Args:
        table: the contract.
        location: the table's folder.
        rows: exactly its columns.
        existing: returns the rows of now among which the keys may be.
    """
    version = DeltaTable(location).version()
    column = table.partition_column
    keys = [*table.key, *([column] if column and column not in table.key else [])]
    new = rows.join(existing().select(*keys), on=keys, how="left_anti").select(*rows.columns)

    def require() -> None:
        if DeltaTable(location).version() != version:
            raise CommitFailedError(f"{COMMIT_CONFLICTS[0]}: another writer committed first")

    append(table, location, new, require)


def append(table: Table, location: Path, rows: DataFrame, require: Callable[[], None]) -> None:
    """Append rows in one commit, or in none if there are none.

    Args:
        table: the contract.
        location: the table's folder.
        rows: exactly its columns.
        require: raises where these rows must not be appended; asked once whatever is committed later makes
            this commit fail.

    Raises:
        CommitFailedError: another writer committed first.
    """
    _commit(table, location, rows, None, require)


def _commit(
    table: Table,
    location: Path,
    rows: DataFrame,
    dates: DateRange | None,
    require: Callable[[], None] | None = None,
) -> None:
    is_append = require is not None or table.write_mode is WriteMode.APPEND
    replaced = None
    if table.write_mode is WriteMode.REPLACE_PARTITIONS:
        column, dates = replaced_partitions(table, dates)
        replaced = [(column, ">=", str(dates.start)), (column, "<=", str(dates.end))]
    # As it is before the rows are computed: whatever is committed meanwhile makes this commit fail.
    delta = DeltaTable(location)
    if require:
        require()
    files = written_files(table, location, rows)
    if is_append and not files:
        return
    version = delta.version()
    try:
        delta.create_write_transaction(
            [added(table, file) for file in files],
            mode="append" if is_append else "overwrite",
            schema=delta.schema(),
            partition_by=[table.partition_column] if table.partition_column else None,
            partition_filters=replaced,
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except (DeltaError, OSError):
        if not files or not commits.is_committed(location, version, files[0]["path"]):
            raise


def written_files(table: Table, location: Path, rows: DataFrame) -> list[dict[str, Any]]:
    """Write rows into files that nobody has committed: of each its path, size, day and statistics."""
    write = file_writer(str(location), pa.schema(DeltaTable(location).schema()), table.partition_column)
    return _spread(table, rows).mapInArrow(write, _FILES).toArrow().to_pylist()


def _spread(table: Table, rows: DataFrame) -> DataFrame:
    """Give each writer rows of its own days, so that a day has one file however many writers there are."""
    # Imported here: it brings gRPC, and whoever only asks for a version writes nothing.
    from pyspark.sql.connect.dataframe import DataFrame as ConnectDataFrame

    if not isinstance(rows, ConnectDataFrame):
        # Apache Spark. Its partitions are as many as the cluster has work for.
        return rows.repartition(table.partition_column) if table.partition_column else rows
    # Not coalesce(), with which Sail 0.7.2 waits forever for rows that come from a union of joins.
    if WRITERS > 1 and table.partition_column:
        return rows.repartition(WRITERS, table.partition_column)
    return rows.repartition(WRITERS)


def added(table: Table, file: dict[str, Any]) -> AddAction:
    """Return the action that commits a written file."""
    return AddAction(
        path=file["path"],
        size=file["size"],
        partition_values={table.partition_column: file["day"]} if table.partition_column else {},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=file["stats"],
    )


def file_writer(folder: str, schema: pa.Schema, day_column: str | None) -> Callable[[Batches], Batches]:
    """Return what writes rows into Parquet files, for ``mapInArrow``.

    Args:
        folder: the table's.
        schema: of the rows.
        day_column: the partition column, of dates; its values are in the files' folders and not in the files.

    Returns:
        A function from batches of rows to one batch with a row for each file: path (within the folder), size
        (bytes), day (string), stats (JSON, as Delta's log has them).
    """

    def write(batches: Batches) -> Batches:
        files = _Files(bucket.path(folder) if bucket.is_bucket(folder) else Path(folder), schema, day_column)
        try:
            for rows in _held(batches):
                # Columns that a table gained are its last ones, whatever their place in the contract.
                files.write(rows.select(schema.names).cast(schema))
            written = files.closed()
        except BaseException:
            files.remove()
            raise
        yield pa.RecordBatch.from_pylist(written, _WRITTEN)

    return write


def _held(batches: Batches) -> Iterator[pa.Table]:
    """The rows of the batches, so many at a time as are written together."""
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        held.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= HELD_ROWS or size >= HELD_BYTES:
            yield pa.Table.from_batches(held)
            held, count, size = [], 0, 0
    if count:
        yield pa.Table.from_batches(held)


class _Files:
    """The files of one writer: one, or one a day, and another where one has grown large."""

    def __init__(self, folder: Path, schema: pa.Schema, day_column: str | None) -> None:
        self._folder, self._day_column = folder, day_column
        self._schema = schema.remove(schema.get_field_index(day_column)) if day_column else schema
        self._open: dict[dt.date | None, _OpenFile] = {}
        self._closed: list[dict[str, Any]] = []

    def write(self, rows: pa.Table) -> None:
        """Write rows, each into the file of its day."""
        if self._day_column is None:
            self._write(None, rows)
            return
        # One chunk a column, of which rows are taken faster than of many.
        days = rows[self._day_column].combine_chunks()
        rows = rows.drop_columns([self._day_column])
        if pc.count_distinct(days).as_py() > 1:
            order = pc.sort_indices(days)
            days, rows = days.take(order), rows.combine_chunks().take(order)
        runs = pc.run_end_encode(days)
        start = 0
        for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            self._write(day, rows.slice(start, end - start))
            start = end

    def closed(self) -> list[dict[str, Any]]:
        """Complete the files; of each, a row of ``_WRITTEN``."""
        for day in list(self._open):
            self._close(day)
        return self._closed

    def remove(self) -> None:
        """Remove what was written: nobody will commit it."""
        for file in self._open.values():
            for opened in (file.writer, file.sink):
                with contextlib.suppress(OSError):
                    opened.close()
        for name in [*(file.name for file in self._open.values()), *(file["path"] for file in self._closed)]:
            (self._folder / name).unlink(missing_ok=True)

    def _write(self, day: dt.date | None, rows: pa.Table) -> None:
        if day not in self._open:
            self._open[day] = self._new_file(day, _repetitive(rows))
        file = self._open[day]
        file.writer.write_table(rows)
        if file.sink.tell() >= FILE_BYTES:
            self._close(day)

    def _new_file(self, day: dt.date | None, dictionaries: list[str]) -> "_OpenFile":
        name = f"part-{uuid.uuid4()}.zstd.parquet"
        if day is not None:
            name = f"{self._day_column}={day}/{name}"
            (self._folder / name).parent.mkdir(exist_ok=True)
        metadata: list[papq.FileMetaData] = []
        path = self._folder / name
        sink: Any = path.open("wb") if bucket.is_bucket(path) else pa.OSFile(str(path), "wb")
        options: Any = {"use_dictionary": dictionaries}  # typed as bool only
        writer = papq.ParquetWriter(
            sink,
            self._schema,
            compression="zstd",
            metadata_collector=metadata,
            **options,
        )
        return _OpenFile(name, sink, writer, metadata)

    def _close(self, day: dt.date | None) -> None:
        file = self._open[day]
        file.writer.close()
        size = file.sink.tell()
        file.sink.close()
        stats = stats_text(file.metadata[0])
        # Now, as a file that could not be closed is still to be removed.
        del self._open[day]
        self._closed.append({"path": file.name, "size": size, "day": str(day), "stats": stats})


class _OpenFile(NamedTuple):
    """A file's name within the table's folder, and its metadata once its writer is closed."""

    name: str
    sink: Any
    writer: papq.ParquetWriter
    metadata: list[papq.FileMetaData]


def _repetitive(rows: pa.Table) -> list[str]:
    """The columns whose values repeat, by the first rows.

    A dictionary of other values costs time, and saves nothing.
    """
    first = rows.slice(0, SAMPLED_ROWS)
    # Structs and lists have no distinct values to count, and their fields none of these names.
    flat = [field.name for field in first.schema if not pa.types.is_nested(field.type)]
    return [name for name in flat if pc.count_distinct(first[name]).as_py() * 2 <= first.num_rows]


class _Extent:
    """What a column's row groups say of its values."""

    def __init__(self) -> None:
        self.nulls = 0
        self.least: list[Any] = []
        self.greatest: list[Any] = []

    def add(self, statistics: papq.Statistics) -> None:
        """Take in those of one more row group."""
        self.nulls += statistics.null_count
        if statistics.has_min_max and type(statistics.min) in _PRUNING:
            self.least.append(statistics.min)
            self.greatest.append(statistics.max)


def stats_text(metadata: papq.FileMetaData) -> str:
    """Return a file's statistics as the text that Delta's log has of them."""
    return orjson.dumps(_stats(metadata)).decode()


def _stats(metadata: papq.FileMetaData) -> dict[str, Any]:
    """Return a file's statistics as Delta's log has them (protocol, "Per-file statistics")."""
    extents: dict[str, _Extent] = defaultdict(_Extent)
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            # Fields of structs have a path.
            if column.statistics is not None and "." not in column.path_in_schema:
                extents[column.path_in_schema].add(column.statistics)
    bounded = {name: extent for name, extent in extents.items() if extent.least}
    return {
        "numRecords": metadata.num_rows,
        "minValues": {name: _as_json(min(extent.least)) for name, extent in bounded.items()},
        "maxValues": {name: _as_json(max(extent.greatest)) for name, extent in bounded.items()},
        "nullCount": {name: extent.nulls for name, extent in extents.items()},
    }


def _as_json(value: int | dt.date) -> int | str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value if isinstance(value, int) else str(value)
