"""The lake in folders: Delta tables on disk, which the engine knows by name and delta-rs reads without it."""

import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from filelock import FileLock
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets import bucket, plain_paths
from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse import arrow_writes, commits, ddl, erased_users, half_made, writes
from churn_assets.lakehouse.commits import LogSince, TableDetails, WriteReport
from churn_assets.lakehouse.computed_dates.folder_store import FolderStore
from churn_assets.lakehouse.computed_dates.rows import LedgerStore
from churn_assets.lakehouse.file_rows import Partition, read_rows
from churn_assets.lakehouse.folder_engines import folder_engine
from churn_assets.lakehouse.lake import FileDiscovery, Lakehouse, Totals
from churn_assets.lakehouse.landing import Listing, list_files
from churn_assets.lakehouse.opened import opened, opened_existing
from churn_assets.lakehouse.writes import NewRows
from churn_assets.lease import Lease, held
from churn_assets.settings import Settings
from churn_assets.tables import COMPUTED_DATES, Table, WriteMode

# A write of another machine takes minutes at most; one that died there frees the table after a minute.
WRITER_PATIENCE_SECONDS = 900

# A session's names are only pointers to folders, and two lakes in one process share the names:
# (id of the session, name) -> the folder it points to now.
_POINTERS: dict[tuple[int, str], Path] = {}


class FolderLakehouse(Lakehouse):
    """The tables of a ``local`` or ``spark`` deployment in ``<lake>/<catalog>/<schema>/<table>``.

    Questions about a table's log or its metadata start no engine. One process at a time writes a table: a
    lock sees to it on this machine, and Dagster's pools across machines.
    """

    def __init__(self, settings: Settings, session: Callable[[], SparkSession]) -> None:
        super().__init__(settings, session)
        self.engine = folder_engine(settings)

    @property
    def is_remote(self) -> bool:
        """Never: the folders are this machine's."""
        return False

    @property
    def finds_files_by(self) -> FileDiscovery:
        """As the engine can."""
        return self.engine.finds_files_by

    def list_landing(self) -> Listing:
        """List the folder or the bucket."""
        return list_files(self.settings.landing_root)

    def erased_users(self) -> erased_users.ErasedUsers | None:
        """Read the receipts of the lake's erasures."""
        return erased_users.erased_users(self.settings)

    @property
    def parallel_files(self) -> int:
        """As many as the engine reads best."""
        return self.engine.parallel_files

    @property
    def appends_alone(self) -> bool:
        """Where Arrow writes the files, as delta-rs then commits after the version that was looked at."""
        return self.engine.needs_arrow_writes

    def location(self, table: Table) -> Path:
        """Return the table's folder."""
        return self.settings.lake_root / self.catalog(table) / table.schema / table.name

    def checkpoint(self, table: Table) -> str:
        """Return a folder in the lake's ``_checkpoints``."""
        return str(self.settings.lake_root / "_checkpoints" / self.table_name(table))

    @contextmanager
    def lock(self, table: Table) -> Iterator[None]:
        """Lock a file in ``.locks`` and, for a lake in a bucket, take the table's lease there.

        The ledger of dates has no lease: its notes are numbered, and one that another preceded is made anew.
        """
        folder = self.settings.local_root / ".locks"
        self._require_writable(folder)
        name = self.table_name(table)
        with FileLock(folder / f"{name}.lock", is_singleton=True) as lock:
            if not self.settings.is_in_bucket or table is COMPUTED_DATES or lock.lock_counter > 1:
                yield
                return
            with held(Lease(self.settings.lake_root / ".locks" / f"{name}.lease"), WRITER_PATIENCE_SECONDS):
                yield

    def version(self, table: Table) -> int:
        """Return the table's Delta version, -1 if there is no table yet."""
        delta = opened(self.location(table))
        return delta.version() if delta else -1

    def version_at(self, table: Table, when: dt.datetime) -> int:
        """Look up the times of the log's commits."""
        commits_ms = commits.commit_times(self.location(table))
        until_ms = when.timestamp() * 1000
        return max((version for version, ms in commits_ms.items() if ms <= until_ms), default=0)

    def log_since(self, table: Table, version: int) -> LogSince | None:
        """Read the log's files from a version on."""
        return commits.log_since(self.location(table), version)

    def details(self, table: Table) -> TableDetails:
        """Read rows, dates, version, bytes and last change from the log."""
        return commits.details(table, self.location(table))

    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        """Count each date's rows from the log."""
        return commits.rows_by_partition(table, self.location(table)) if self.version(table) >= 0 else {}

    def totals(self, table: Table, day: dt.date, columns: Sequence[str]) -> Totals:
        """Read the columns of one date."""
        rows = self._rows(table, day, columns)
        sums = {name: float(pc.sum(rows[name]).as_py() or 0) for name in columns}  # type: ignore[attr-defined]  # made at run time
        return Totals(rows.num_rows, sums)

    def latest_timestamp(self, table: Table, column: str, day: dt.date) -> dt.datetime:
        """Read one column of one date."""
        rows = self._rows(table, day, [column])
        return pc.max(rows[column]).as_py().astimezone(dt.UTC)  # type: ignore[attr-defined]  # made at run time

    def count_at_least(self, table: Table, day: dt.date, column: str, minimum: float) -> int:
        """Read the column of one date."""
        values = self._rows(table, day, [column])[column]
        # Not a plain number, for which pyarrow looks whether it is of pandas, and imports that: 0.3 s.
        is_enough = pc.greater_equal(values, pa.scalar(minimum, values.type))  # type: ignore[attr-defined]  # made at run time
        return pc.sum(is_enough).as_py() or 0  # type: ignore[attr-defined]  # made at run time

    def sample_rows(self, table: Table, day: dt.date | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Read the first rows of the first files."""
        return self._rows(table, day, limit=limit).to_pylist()

    def query(self, sql: str, **tables: Table) -> list[dict[str, Any]]:
        """Run the query in the session."""
        names = {placeholder: self._open(table) for placeholder, table in tables.items()}
        return [row.asDict() for row in self.spark.sql(sql.format(**names)).collect()]

    def require_contract(self, table: Table) -> None:
        """Compare the schema in the log with the contract.

        Raises:
            ContractError: names, types or the partition column differ.
        """
        ddl.require_contract(table, self.location(table))

    def require_writable(self) -> str:
        """Return a line with the lake's folder and the room that is left.

        Raises:
            LakeError: it cannot be written; says why, and what to do.
        """
        root = self.settings.lake_root
        if self.settings.is_in_bucket:
            bucket.require_writable(root)
            self._require_writable(self.settings.local_root)
            return f"{root} can be written; databases and locks are in {self.settings.local_root}"
        self._root_for_engine()
        self._require_writable(root)
        return f"{root} can be written, {shutil.disk_usage(root).free / 1e9:.0f} GB free"

    def _rows(
        self,
        table: Table,
        day: dt.date | None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        location = self.location(table)
        partition = Partition(table.partition_column, day) if day and table.partition_column else None
        return read_rows(opened_existing(location), location, columns, partition, limit)

    def _ledger_store(self) -> LedgerStore:
        return FolderStore(self.location(COMPUTED_DATES), lambda: self.lock(COMPUTED_DATES))

    def _open(self, table: Table) -> str:
        separator = "." if self.engine.has_catalogs else "__"
        schema = f"{self.catalog(table)}{separator}{table.schema}"
        name = f"{schema}.{table.name}"
        location = self.location(table)
        # Each time, though the engine knows the table already: the link must be there whenever it is used.
        root = self._root_for_engine()
        pointer = (id(self.spark), name)
        # A table may be moved away while others work with it.
        if _POINTERS.get(pointer) == location and (location / "_delta_log").exists():
            return name
        engine_location = root / str(location.relative_to(self.settings.lake_root))
        if not self.settings.is_in_bucket:
            self._require_writable(location)
        # Locked while the table is created: what another process is creating is no half-made table.
        with nullcontext() if opened(location) else self.lock(table):
            statement = self._create_or_register(table, name, engine_location)
            self.spark.sql(f"CREATE DATABASE IF NOT EXISTS {schema}").collect()
            self.spark.sql(f"DROP TABLE IF EXISTS {name}").collect()
            self.spark.sql(statement).collect()
        # A read-only lake may have left columns to add.
        if not self._is_read_only:
            _POINTERS[pointer] = location
        return name

    def _create_or_register(self, table: Table, name: str, engine_location: Path) -> str:
        location = self.location(table)
        if opened(location):
            if self._is_read_only:
                self.require_contract(table)
            else:
                self._upgrade(table)
            return ddl.register_table(name, engine_location)
        self._require_may_create(table)
        half_made.put_aside(location)
        if not self.engine.commits_safely:
            ddl.create_on_disk(table, location)
            return ddl.register_table(name, engine_location)
        location.mkdir(exist_ok=True)
        return ddl.create_table(table, name, engine_location)

    def _commit(self, table: Table, name: str, new: NewRows, dates: DateRange | None) -> None:
        is_append = new.absent_at is not None
        if self.engine.needs_arrow_writes:
            if is_append:
                arrow_writes.append(
                    table, self.location(table), new.rows, partial(self._require_as_looked_up, table, new)
                )
            elif self.engine.commits_safely and table.write_mode in (WriteMode.MERGE_NEW, WriteMode.MIRROR):
                super()._commit(table, name, new, dates)
            elif table.write_mode is WriteMode.MERGE_NEW:
                self._insert(table, name, new)
            else:
                arrow_writes.commit(table, self.location(table), new.rows, dates)
        elif not is_append:
            super()._commit(table, name, new, dates)
        # Nothing to append is no commit, as after a merge.
        elif writes.has_rows(new.rows):
            new.rows.writeTo(name).append()

    def _insert(self, table: Table, name: str, new: NewRows) -> None:
        """Insert what a merge would, by a look at the keys of the partitions where they may be."""
        column = table.partition_column
        days = new.partitions
        if column and days is None:
            days = [row[0] for row in new.rows.select(column).distinct().collect()]

        def existing() -> DataFrame:
            rows = self.spark.table(name)
            return rows.where(F.col(column).isin(sorted(days or ()))) if column else rows

        arrow_writes.insert(table, self.location(table), new.rows, existing)

    def _read_version(self, table: Table, version: int, dates: DateRange | None) -> DataFrame:
        # Not VERSION AS OF: Sail 0.7.2 cannot read versions from before the latest checkpoint of the log
        # ("Missing commit file: expected version 0").
        column = table.partition_column
        filters = [(column, ">=", dates.start), (column, "<=", dates.end)] if dates and column else None
        past = DeltaTable(self.location(table), version=version)
        past_columns = {field.name for field in past.schema().fields}
        columns = [name for name in table.column_names if name in past_columns]
        return self.spark.createDataFrame(past.to_pyarrow_table(filters=filters, columns=columns))

    def _columns(self, table: Table) -> dict[str, str]:
        return ddl.columns_on_disk(self.location(table))

    def _add_columns(self, table: Table) -> None:
        ddl.add_columns_on_disk(table, self.location(table))

    def _drop_not_null(self, table: Table) -> None:
        if ddl.not_null_on_disk(table, self.location(table)):
            with self.lock(table):
                ddl.drop_not_null_on_disk(table, self.location(table))

    def _report(
        self, table: Table, version_before: int, seconds: float, dates: DateRange | None
    ) -> WriteReport:
        return commits.report(table, self.location(table), version_before, seconds, dates)

    def _root_for_engine(self) -> Path:
        root = self.settings.lake_root
        return plain_paths.for_engine(root) if self.engine.needs_plain_paths else root

    @staticmethod
    def _require_writable(folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise LakeError(
                f"The lake cannot be written at {folder}: {error.strerror}. "
                "Make it writable, or set CHURN_LAKE_ROOT to a folder that is."
            ) from error
