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
from churn_assets.lakehouse import ddl, half_made
from churn_assets.lakehouse.computed_dates.rows import Known, Row
from churn_assets.tables import COMPUTED_DATES

TYPES = {"string": pa.string(), "date": pa.date32(), "bigint": pa.int64(), "boolean": pa.bool_()}
SCHEMA = pa.schema(
    [pa.field(column.name, TYPES[column.type], column.nullable) for column in COMPUTED_DATES.columns]
)

# Each note appends a file; from so many on, a note writes all rows that count as one.
MANY_FILES = 32
# What other processes may still read of files that such a note has left behind.
KEPT_HOURS = 1

# A commit that lost to another is no good: its number has been given.
ALONE = CommitProperties(max_commit_retries=0)
CHECKPOINTS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=True)

TRYING_AGAIN = Retrying(
    retry=retry_if_exception_type((CommitFailedError, DeltaError, FileNotFoundError)),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    reraise=True,
)


class FolderStore:
    """Keeps the rows in ``location``."""

    def __init__(self, location: Path, lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self._location = location
        self._lock = lock
        self._read: tuple[str, int, Known] | None = None

    def known(self) -> Known:
        """What it holds now; nothing where there is no ledger."""
        return TRYING_AGAIN(self._look)

    def put(self, rows: Iterable[Row]) -> None:
        """Put rows down as one note."""
        TRYING_AGAIN(self._put, list(rows))

    def _look(self) -> Known:
        if not DeltaTable.is_deltatable(str(self._location)):
            return Known()
        return self._known(DeltaTable(self._named))

    @property
    def _named(self) -> Path:
        # delta-rs writes to a URL, in which a name such as a[b] is none.
        return plain_paths.for_engine(self._location)

    def _put(self, rows: list[Row]) -> None:
        with self._lock():
            delta = self._opened()
            known = self._known(delta)
            # The note's number is safe: the commit fails if any other came since this was read.
            noted = [row.numbered(known.number + 1) for row in rows]
            many = len(delta.file_uris()) >= MANY_FILES
            found = Known([*known.rows(), *noted])
            # Not by write_deltalake, which panics where a folder's name is no URL's, such as a[b].
            delta.create_write_transaction(
                [self._written(_as_arrow(found.rows() if many else noted))],
                "overwrite" if many else "append",
                SCHEMA,
                commit_properties=ALONE,
                post_commithook_properties=CHECKPOINTS,
            )
            if many:
                delta.vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)

    def _written(self, rows: pa.Table) -> AddAction:
        """A file with these rows, which counts once it is committed."""
        path = self._location / f"part-{uuid.uuid4()}.zstd.parquet"
        papq.write_table(rows, path, compression="zstd")
        found = path.stat()
        stats = orjson.dumps({"numRecords": len(rows)}).decode()
        return AddAction(path.name, found.st_size, {}, int(found.st_mtime * 1000), True, stats)

    def _opened(self) -> DeltaTable:
        if not DeltaTable.is_deltatable(str(self._location)):
            half_made.put_aside(self._location)
            # A link must lead somewhere.
            self._location.mkdir(parents=True, exist_ok=True)
            return DeltaTable.create(
                self._named,
                SCHEMA,
                mode="ignore",
                description=COMPUTED_DATES.comment,
            )
        ddl.add_columns_on_disk(COMPUTED_DATES, self._location)
        return DeltaTable(self._named)

    def _known(self, delta: DeltaTable) -> Known:
        at = (str(delta.metadata().id), delta.version())
        if self._read is None or self._read[:2] != at:
            found = delta.to_pyarrow_table().to_pydict()
            # A ledger of an earlier release may lack the last columns.
            nothing = [None] * len(found["noted"])
            columns = [found.get(name, nothing) for name in SCHEMA.names]
            self._read = (*at, Known(map(Row._make, zip(*columns, strict=True))))
        return self._read[2]


def _as_arrow(rows: Iterable[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table(
        [pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA
    )
