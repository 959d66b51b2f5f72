"""The ledger as a Delta table in a folder, by delta-rs: no engine starts for it."""

import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as papq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from churn_assets import plain_paths
from churn_assets.errors import DamagedError
from churn_assets.lakehouse import commits, ddl, half_made
from churn_assets.lakehouse.computed_dates.rows import LedgerRows, Row
from churn_assets.lakehouse.file_rows import read_rows
from churn_assets.lakehouse.opened import opened, opened_existing
from churn_assets.tables import COMPUTED_DATES

TYPES = {"string": pa.string(), "date": pa.date32(), "bigint": pa.int64(), "boolean": pa.bool_()}
SCHEMA = pa.schema(
    [pa.field(column.name, TYPES[column.type], column.nullable) for column in COMPUTED_DATES.columns]
)

# Each note appends a file; once there are so many, a note rewrites all current rows as one file.
MANY_FILES = 32
# How long other processes may still read the files that such a note replaces.
KEPT_HOURS = 1

# A commit that lost to another must not be rebased: the other note has the same number.
WITHOUT_REBASE = CommitProperties(max_commit_retries=0)
CHECKPOINTS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=True)

RETRYING = Retrying(
    retry=retry_if_exception_type((CommitFailedError, DamagedError, DeltaError, FileNotFoundError)),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    reraise=True,
)


class FolderStore:
    """Keeps the rows in ``location``."""

    def __init__(self, location: Path, lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self._location = location
        self._lock = lock
        # The table's id and version, and its rows.
        self._cached: tuple[str, int, LedgerRows] | None = None

    def read(self) -> LedgerRows:
        """Return the current rows; none where there is no ledger yet."""
        return RETRYING(self._read)

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows as one note."""
        RETRYING(self._append, list(rows))

    def _read(self) -> LedgerRows:
        # By its own name first, so that no link is made for a ledger that does not exist.
        if opened(self._location) is None:
            return LedgerRows()
        return self._rows_of(opened_existing(self._plain_location))

    @property
    def _plain_location(self) -> Path:
        # delta-rs writes to a URL, in which a name such as a[b] is not allowed.
        return plain_paths.for_engine(self._location)

    def _append(self, rows: list[Row]) -> None:
        with self._lock():
            delta = self._open()
            current, read_version = self._rows_of(delta), delta.version()
            # The note's number is safe: the commit fails if any other came since this was read.
            noted = [row.numbered(current.last_note + 1) for row in rows]
            is_rewritten = len(delta.file_uris()) >= MANY_FILES
            written = LedgerRows([*current.all_rows(), *noted]).all_rows() if is_rewritten else noted
            # Not by write_deltalake, which panics where a folder's name cannot stand in a URL, such as a[b].
            file = self._write_file(_as_arrow(written))
            try:
                delta.create_write_transaction(
                    [file],
                    "overwrite" if is_rewritten else "append",
                    SCHEMA,
                    commit_properties=WITHOUT_REBASE,
                    post_commithook_properties=CHECKPOINTS,
                )
            except (DeltaError, OSError):
                if not commits.is_committed(self._location, read_version, file.path):
                    raise
            # Never rebased, so the commit is the next one.
            all_rows = LedgerRows([*current.all_rows(), *noted])
            self._cached = (str(delta.metadata().id), read_version + 1, all_rows)
            if is_rewritten:
                delta.vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)

    def _write_file(self, rows: pa.Table) -> AddAction:
        """Write a file with these rows, which counts once it is committed."""
        path = self._location / f"part-{uuid.uuid4()}.zstd.parquet"
        with path.open("wb") as sink:
            papq.write_table(rows, sink, compression="zstd")
        file = path.stat()
        stats = orjson.dumps({"numRecords": len(rows)}).decode()
        return AddAction(path.name, file.st_size, {}, int(file.st_mtime * 1000), True, stats)

    def _open(self) -> DeltaTable:
        if opened(self._location) is None:
            half_made.put_aside(self._location)
            # The link for delta-rs needs a folder to lead to.
            self._location.mkdir(parents=True, exist_ok=True)
            return DeltaTable.create(
                str(self._plain_location),
                SCHEMA,
                mode="ignore",
                description=COMPUTED_DATES.comment,
            )
        ddl.add_columns_on_disk(COMPUTED_DATES, self._location)
        return DeltaTable(self._plain_location)

    def _rows_of(self, delta: DeltaTable) -> LedgerRows:
        key = (str(delta.metadata().id), delta.version())
        if self._cached is None or self._cached[:2] != key:
            by_column = read_rows(delta, self._location).to_pydict()
            # A ledger of an earlier release may lack the last columns.
            nulls = [None] * len(by_column["noted"])
            columns = [by_column.get(name, nulls) for name in SCHEMA.names]
            self._cached = (*key, LedgerRows(map(Row._make, zip(*columns, strict=True))))
        return self._cached[2]


def _as_arrow(rows: Iterable[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA
    )
