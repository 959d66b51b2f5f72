"""Rows of a Delta table's files, read one after the other: for a date, a few rows, or a small table.

``DeltaTable.to_pyarrow_dataset`` prepares every file of the table, 0.1 s for half a year of dates, and what
it imports brings pandas, a third of a second.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as papq
from deltalake import DeltaTable

from churn_assets.bucket import is_bucket
from churn_assets.lakehouse.opened import live_files

# A reader of this version reads each file as a whole: no deletion vectors, no renamed columns.
PLAIN_READER = 1


class Partition(NamedTuple):
    """The rows of a table in which its partition column has this value."""

    column: str
    value: dt.date


def read_rows(
    table: DeltaTable,
    folder: Path,
    columns: Sequence[str] | None = None,
    partition: Partition | None = None,
    limit: int | None = None,
) -> pa.Table:
    """Return rows of the table's version.

    Args:
        table: as it was opened.
        folder: where it is.
        columns: their names; all without it. Where a file of an earlier release lacks one, it is null.
        partition: only its rows.
        limit: no more rows than so many, the first ones of the first files.
    """
    schema = pa.schema(table.schema())
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    if table.protocol().min_reader_version > PLAIN_READER:
        return _by_dataset(table, schema, partition, limit)
    return _concatenated(_files(table, folder, partition), schema, limit)


@contextmanager
def opened_parquet(path: Path) -> Iterator[papq.ParquetFile]:
    """Open a Parquet file, of a folder or of a bucket."""
    if is_bucket(path):
        with path.open("rb") as stream, papq.ParquetFile(stream) as file:
            yield file
    else:
        with papq.ParquetFile(path) as file:
            yield file


class _File(NamedTuple):
    path: Path
    partition_values: dict[str, object]


def _files(table: DeltaTable, folder: Path, partition: Partition | None) -> Iterator[_File]:
    actions = live_files(table)
    prefix = "partition."
    names = [name for name in actions.column_names if name.startswith(prefix)]
    values = {name.removeprefix(prefix): actions[name].to_pylist() for name in names}
    for place, path in enumerate(actions["path"].to_pylist()):
        of_file = {name: column[place] for name, column in values.items()}
        if partition is None or of_file.get(partition.column) == partition.value:
            # The log holds the path of a URL.
            yield _File(folder / unquote(path), of_file)


def _concatenated(files: Iterator[_File], schema: pa.Schema, limit: int | None) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    for batch in _batches(files, schema, limit):
        batches.append(batch)
        if limit is not None and sum(map(len, batches)) >= limit:
            break
    rows = pa.Table.from_batches(batches, schema)
    return rows if limit is None else rows.slice(0, limit)


def _batches(files: Iterator[_File], schema: pa.Schema, limit: int | None) -> Iterator[pa.RecordBatch]:
    for path, partition_values in files:
        with opened_parquet(path) as file:
            present = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(limit or 65536, columns=present):
                yield pa.RecordBatch.from_arrays(
                    [_column(batch, field, partition_values) for field in schema], schema=schema
                )


def _column(batch: pa.RecordBatch, field: pa.Field, partition_values: dict[str, object]) -> pa.Array:
    if field.name in batch.schema.names:
        column = batch.column(field.name)
        return column if column.type == field.type else column.cast(field.type)
    return pa.repeat(pa.scalar(partition_values.get(field.name), field.type), len(batch))


def _by_dataset(
    table: DeltaTable, schema: pa.Schema, partition: Partition | None, limit: int | None
) -> pa.Table:
    import pyarrow.dataset as ds

    dataset = table.to_pyarrow_dataset()
    is_of_it = ds.field(partition.column) == partition.value if partition else None
    if limit is not None:
        return dataset.head(limit, columns=schema.names, filter=is_of_it)
    return dataset.to_table(columns=schema.names, filter=is_of_it)
