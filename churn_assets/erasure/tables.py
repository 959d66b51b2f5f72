"""Rows of tables: counted, and removed with all that older versions and the log say of them.

A table in a folder keeps its version number, so that nothing that was made of it is stale: its log begins
anew with one commit of that number, which lists the files that are left. One in a bucket moves on by one, see
``bucket_log``. What was there before cannot be read any more.
"""

import datetime as dt
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as papq
from deltalake import DeltaTable

from churn_assets import bucket
from churn_assets.automation.maintenance.published_files import PUT_ASIDE
from churn_assets.contracts import Table
from churn_assets.erasure import bucket_log, delta_log
from churn_assets.erasure.people import People
from churn_assets.errors import LakeError
from churn_assets.lakehouse import arrow_writes
from churn_assets.lakehouse.computed_dates.checked_ledger import is_trusted
from churn_assets.lakehouse.computed_dates.rows import is_noted
from churn_assets.lakehouse.file_rows import PLAIN_READER, opened_parquet
from churn_assets.lakehouse.folder_lake import FolderLakehouse
from churn_assets.lakehouse.opened import live_files, opened_existing
from churn_assets.lakehouse.writes import retrying_conflicts
from churn_assets.tables import ALL_TABLES, ERASED_LINE, LANDED_EVENTS, QUARANTINED_EVENTS

PERSONAL = tuple(table for table in ALL_TABLES if table.personal_columns)

# Of an emptied line in Bronze.
EMPTY = (
    "event_id",
    "user_id",
    "event_ts",
    "event_type",
    "country",
    "_rescued_data",
    "source_user_id",
    "amount",
)

# A key of the quarantine, as far as emptied lines differ in it.
Lines = Counter[tuple[str, dt.datetime, dt.date]]


class _Rewritten(NamedTuple):
    """A file without the rows of the erased: its action for the log; None where no row is left."""

    path: str
    action: dict[str, Any] | None


def there(lake: FolderLakehouse) -> list[Table]:
    """Return the tables with rows of users that have been written.

    Raises:
        LakeError: one is of a kind whose files cannot be rewritten here.
    """
    found = []
    for table in PERSONAL:
        location = lake.location(table)
        if not lake.settings.is_in_bucket:
            delta_log.complete(location)
        if lake.version(table) < 0:
            continue
        protocol = opened_existing(location).protocol()
        if protocol.min_reader_version > PLAIN_READER:
            raise LakeError(
                f"{lake.table_name(table)} has a reader version of {protocol.min_reader_version}, as with "
                "deletion vectors, and its files cannot be rewritten here; expected 1. Turn that feature off "
                "(ALTER TABLE … DROP FEATURE), and try again."
            )
        found.append(table)
    return found


def count(lake: FolderLakehouse, table: Table, people: People) -> int:
    """Count the rows of these users in a table's current version."""
    return sum(int(mask.sum()) for _, mask in _masks(lake, table, people))


def mentions(lake: FolderLakehouse, people: People) -> int:
    """Count the landed lines of other users that have one of the source ids somewhere."""
    if lake.version(LANDED_EVENTS) < 0 or not people.source_ids:
        return 0
    return sum(
        int((people.mentioned(_read(file, ["_raw"])["_raw"]) & ~mask).sum())
        for file, mask in _masks(lake, LANDED_EVENTS, people)
    )


def days_of(lake: FolderLakehouse, table: Table, people: People) -> set[dt.date]:
    """Return the dates of a table on which it has rows of these users."""
    if lake.version(table) < 0:
        return set()
    column = str(table.partition_column)
    return {
        dt.date.fromisoformat(file.partition_values[column])
        for file, mask in _masks(lake, table, people)
        if mask.any()
    }


def known_ids(lake: FolderLakehouse, table: Table, column: str, wanted: Iterable[Any], of: str) -> set[Any]:
    """Return the values of one column in rows in which another has one of the wanted values.

    Args:
        lake: where the table is.
        table: one with both columns.
        column: the column that is wanted.
        wanted: values of ``of``.
        of: the other column.
    """
    values, found = set(wanted), set()
    for file in _live(lake.location(table)):
        rows = _read(file, [column, of])
        if {column, of} <= set(rows.column_names):
            pairs = zip(rows[column].to_pylist(), rows[of].to_pylist(), strict=True)
            found |= {one for one, other in pairs if other in values and one is not None}
    return found


def are_known_to_the_ledger(lake: FolderLakehouse, tables: Iterable[Table]) -> list[Table]:
    """Return the tables that are as the ledger of dates left them: it is to know them afterwards, too."""
    ledger = lake.ledger.read()
    return [
        table
        for table in tables
        if is_noted(table) and ledger.table(table) and is_trusted(lake, table, ledger)
    ]


def erase(lake: FolderLakehouse, table: Table, people: People, *, is_known: bool) -> None:
    """Remove the rows of these users from a table, whose lock is held, and all of its past.

    Whoever died in the middle of it does it again: what was done stays so.

    Args:
        lake: where the table is.
        table: one of ``PERSONAL``.
        people: whose rows.
        is_known: whether the ledger knew what the table holds, before the first attempt.
    """
    if not lake.settings.is_in_bucket:
        delta_log.complete(lake.location(table))
    _erase(lake, table, people)
    if is_known:
        _note(lake, table)


@retrying_conflicts
def _erase(lake: FolderLakehouse, table: Table, people: People) -> None:
    location = lake.location(table)
    delta = DeltaTable(location)
    schema = pa.schema(delta.schema())
    rewritten = list(_rewrite(lake, table, people, schema))
    gone = {one.path for one in rewritten}
    if table is QUARANTINED_EVENTS:
        rewritten += _emptied_lines(lake, schema)
    begin_anew = bucket_log.begin_anew if lake.settings.is_in_bucket else delta_log.begin_anew
    begin_anew(delta, location, gone, [one.action for one in rewritten if one.action])


def _masks(lake: FolderLakehouse, table: Table, people: People) -> Iterator[tuple["_File", np.ndarray]]:
    for file in _live(lake.location(table)):
        yield file, people.of_rows(table, _read(file, table.personal_columns))


def _rewrite(lake: FolderLakehouse, table: Table, people: People, schema: pa.Schema) -> Iterator[_Rewritten]:
    location = lake.location(table)
    masks = list(_masks(lake, table, people))
    emptied = _lost_files(masks) if table is LANDED_EVENTS else set()
    for file, mask in masks:
        if not mask.any():
            continue
        with opened_parquet(file.path) as parquet:
            rows = parquet.read()
        kept = rows.filter(pa.array(~mask))
        if table is LANDED_EVENTS:
            kept = pa.concat_tables([kept, _first_lines(rows.filter(pa.array(mask)), emptied)])
        yield _Rewritten(file.listed_as, _written(location, kept, schema, file.partition_values))


def _lost_files(masks: Iterable[tuple["_File", np.ndarray]]) -> set[str]:
    """Return the landed files of which no line would be left: Bronze would take them for new."""
    before, gone = Counter[str](), Counter[str]()
    for file, mask in masks:
        names = _read(file, ["_source_file"])["_source_file"]
        before.update(names.to_pylist())
        gone.update(names.filter(pa.array(mask)).to_pylist())
    return {name for name, lines in gone.items() if lines == before[name]}


def _first_lines(erased: pa.Table, files: set[str]) -> pa.Table:
    """Return one emptied line for each of these files that has one here, and take it off the set."""
    places = []
    for place, name in enumerate(erased["_source_file"].to_pylist()):
        if name in files:
            files.remove(name)
            places.append(place)
    lines = erased.take(pa.array(places, pa.int64()))
    for name in lines.column_names:
        field, place = lines.schema.field(name), lines.schema.get_field_index(name)
        if name in EMPTY:
            lines = lines.set_column(place, field, pa.nulls(len(lines), field.type))
        elif name in ("_raw", "_corrupt_record"):
            lines = lines.set_column(place, field, pa.array([ERASED_LINE] * len(lines), field.type))
    return lines


def _emptied_lines(lake: FolderLakehouse, schema: pa.Schema) -> Iterator[_Rewritten]:
    """Write the emptied lines of Bronze into the quarantine that it lacks: each line is accounted for."""
    lacking = _emptied(lake, LANDED_EVENTS)
    there = _emptied(lake, QUARANTINED_EVENTS)
    rows: dict[dt.date, list[dict[str, Any]]] = {}
    for (name, ingested_at, day), lines in lacking.items():
        for occurrence in range(there[name, ingested_at, day] + 1, lines + 1):
            row = {"reason": "erased_user", "_raw": ERASED_LINE, "occurrence": occurrence}
            rows.setdefault(day, []).append({**row, "_source_file": name, "_ingested_at": ingested_at})
    column = str(QUARANTINED_EVENTS.partition_column)
    for day, of_day in rows.items():
        table = pa.Table.from_pylist(of_day, schema.remove(schema.get_field_index(column)))
        yield _Rewritten("", _written(lake.location(QUARANTINED_EVENTS), table, schema, {column: str(day)}))


def _emptied(lake: FolderLakehouse, table: Table) -> Lines:
    found = Lines()
    for file in _live(lake.location(table)):
        rows = _read(file, ["_raw", "_source_file", "_ingested_at"])
        rows = rows.filter(pa.array([text == ERASED_LINE for text in rows["_raw"].to_pylist()], pa.bool_()))
        day = dt.date.fromisoformat(file.partition_values[str(table.partition_column)])
        for name, moment in zip(
            rows["_source_file"].to_pylist(), rows["_ingested_at"].to_pylist(), strict=True
        ):
            found[name, moment, day] += 1
    return found


class _File(NamedTuple):
    """A file of a table's current version, its path as the log has it, and its partition's values."""

    path: Path
    listed_as: str
    partition_values: dict[str, str]


def _live(location: Path) -> list[_File]:
    prefix = "partition."
    return [
        _File(
            location / unquote(file["path"]),
            file["path"],
            {name.removeprefix(prefix): str(file[name]) for name in file if name.startswith(prefix)},
        )
        for file in live_files(opened_existing(location)).to_pylist()
    ]


def _read(file: _File, columns: Iterable[str]) -> pa.Table:
    with opened_parquet(file.path) as parquet:
        return parquet.read([name for name in columns if name in parquet.schema_arrow.names])


def _written(
    location: Path, rows: pa.Table, schema: pa.Schema, partition_values: dict[str, str]
) -> dict[str, Any] | None:
    """Write rows into a new file, and return its action; None without rows."""
    if not len(rows):
        return None
    # As the log has them: Spark's older files have other types of timestamps.
    there = pa.schema([schema.field(name) for name in schema.names if name in rows.column_names])
    folder = "/".join(f"{name}={value}" for name, value in partition_values.items())
    path = f"{folder}/part-{uuid.uuid4()}.zstd.parquet".lstrip("/")
    (location / path).parent.mkdir(exist_ok=True)
    with (location / path).open("wb") as sink:
        papq.write_table(rows.select(there.names).cast(there), sink, compression="zstd")
        if not bucket.is_bucket(location):
            sink.flush()
            os.fsync(sink.fileno())
    with opened_parquet(location / path) as parquet:
        stats = arrow_writes.stats_text(parquet.metadata)
    return {
        "path": path,
        "partitionValues": partition_values,
        "size": (location / path).stat().st_size,
        "modificationTime": int(time.time() * 1000),
        "dataChange": True,
        "stats": stats,
    }


def _note(lake: FolderLakehouse, table: Table) -> None:
    """Note that a table is as computed, in another commit and with fewer rows: nothing is stale by it."""
    ledger = lake.ledger.read()
    row = ledger.table(table)
    if row is None:
        return
    version = lake.version(table)
    log = lake.log_since(table, version)
    now = lake.partition_rows(table) if table.partition_column else {}
    dates = [
        one._replace(rows=now.get(day, 0))
        for day, one in ledger.dates(table).items()
        if one.rows is not None and one.rows != now.get(day, 0)
    ]
    lake.ledger.append(
        [row._replace(delta_version=version, delta_commit=log.commit if log else None), *dates]
    )


def leftovers(lake: FolderLakehouse) -> list[Path]:
    """Return what repairs and killed writers put aside: nothing reads it, and anybody may be in it."""
    roots = dict.fromkeys((lake.settings.lake_root, lake.settings.local_root))
    return sorted({path for root in roots for pattern in PUT_ASIDE for path in root.glob(pattern)}, key=str)
