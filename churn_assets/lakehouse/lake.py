"""The lake: Delta tables in folders, read and written through Spark by name."""

import copy
import datetime as dt
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from filelock import FileLock
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets import plain_paths
from churn_assets.contracts import Column
from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse import commits, ddl, guard, half_made, writes
from churn_assets.lakehouse.commits import LogSince, TableDetails, WriteReport
from churn_assets.lakehouse.computed_dates.folder import FolderStore
from churn_assets.lakehouse.computed_dates.rows import Store
from churn_assets.lakehouse.computed_dates.writing import Origin, noting
from churn_assets.settings import Settings
from churn_assets.tables import COMPUTED_DATES, Table

# How new event files are found: by listing, by Spark's file stream, or by Databricks' Auto Loader.
FindsFilesBy = Literal["listing", "file stream", "auto loader"]

# A session's names are only pointers to folders, and two lakes in one process share the names:
# (id of the session, name) -> the folder it points to now.
_POINTERS: dict[tuple[int, str], Path] = {}


def with_gained_columns(table: Table, past: DataFrame) -> DataFrame:
    """Rows of a version from before the table gained its last columns, which are null in them."""
    return past.select(
        *(
            F.col(column.name)
            if column.name in past.columns
            else F.lit(None).cast(column.type).alias(column.name)
            for column in table.columns
        )
    )


class Totals(NamedTuple):
    """One date's rows, and the sum of each column that was asked for."""

    rows: int
    sums: dict[str, float]


class Lakehouse:
    """The tables of one deployment in ``<lake>/<catalog>/<schema>/<table>``.

    Sail knows three-level names; Apache Spark's session catalog knows two, so there the first two are joined.
    ``unity.UnityLakehouse`` answers the same for Unity Catalog's tables, which have no folder of ours.
    """

    def __init__(self, settings: Settings, session: Callable[[], SparkSession]) -> None:
        self.settings = settings
        self._session = session
        self._only_looks = False

    @property
    def spark(self) -> SparkSession:
        """The session that computes; started at its first use."""
        return self._session()

    @property
    def finds_files_by(self) -> FindsFilesBy:
        """How ingestion finds new event files."""
        return "file stream" if self.settings.deployment == "spark" else "listing"

    def catalog(self, table: Table) -> str:
        """The physical name of the table's catalog, which is a setting."""
        return getattr(self.settings, table.catalog)

    def table_name(self, table: Table) -> str:
        """The physical three-level name, as people and lineage know it."""
        return f"{self.catalog(table)}.{table.schema}.{table.name}"

    def location(self, table: Table) -> Path:
        """The table's folder."""
        return self.settings.lake_root / self.catalog(table) / table.schema / table.name

    def checkpoint(self, table: Table) -> str:
        """Where a stream into the table keeps what it has seen."""
        return str(self.settings.lake_root / "_checkpoints" / self.table_name(table))

    def version(self, table: Table) -> int:
        """The table's Delta version, -1 if there is no table yet. Needs no engine."""
        location = self.location(table)
        return DeltaTable(location).version() if DeltaTable.is_deltatable(str(location)) else -1

    @cached_property
    def ledger(self) -> Store:
        """Which dates are computed, from what: every write notes itself there."""
        return FolderStore(self.location(COMPUTED_DATES), lambda: self.lock(COMPUTED_DATES))

    def log_since(self, table: Table, version: int) -> LogSince | None:
        """What the table's log says of a version and what came after; None without a table."""
        return commits.log_since(self.location(table), version)

    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        """How many rows each date of the partition column has; nothing where there is no table."""
        return commits.rows_by_partition(table, self.location(table)) if self.version(table) >= 0 else {}

    def details(self, table: Table) -> TableDetails:
        """Rows, dates, version, bytes and last change of a table that exists. Needs no engine."""
        return commits.details(table, self.location(table))

    def totals(self, table: Table, day: dt.date, columns: Sequence[str]) -> Totals:
        """Rows of one date, and sums of numeric or boolean columns of it. Needs no engine."""
        found = DeltaTable(self.location(table)).to_pyarrow_table(
            filters=[(table.partition_column, "=", day)], columns=list(columns)
        )
        sums = {name: float(pc.sum(found[name]).as_py() or 0) for name in columns}  # type: ignore[attr-defined]  # made at run time
        return Totals(found.num_rows, sums)

    def latest(self, table: Table, column: str, day: dt.date) -> dt.datetime:
        """The greatest timestamp in a column of a date that has rows. Needs no engine."""
        found = DeltaTable(self.location(table)).to_pyarrow_table(
            filters=[(table.partition_column, "=", day)], columns=[column]
        )
        return pc.max(found[column]).as_py().astimezone(dt.UTC)  # type: ignore[attr-defined]  # made at run time

    def rows_from(self, table: Table, day: dt.date, column: str, least: float) -> int:
        """How many rows of one date have at least so much in a numeric column. Needs no engine."""
        of_day, enough = ds.field(table.partition_column) == day, ds.field(column) >= least
        return DeltaTable(self.location(table)).to_pyarrow_dataset().count_rows(filter=of_day & enough)

    def first_rows(self, table: Table, day: dt.date | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Any few rows, of one date of the partition column if it is given. Needs no engine."""
        found = DeltaTable(self.location(table)).to_pyarrow_dataset()
        of_day = ds.field(table.partition_column) == day if day and table.partition_column else None
        return found.head(limit, filter=of_day).to_pylist()

    def query(self, sql: str, **tables: Table) -> list[dict[str, Any]]:
        """The rows of a small result.

        Args:
            sql: a query with ``{placeholders}`` for tables; a timestamp is asked for as ``unix_micros``.
            tables: the table of each placeholder.
        """
        names = {placeholder: self._open(table) for placeholder, table in tables.items()}
        return [row.asDict() for row in self.spark.sql(sql.format(**names)).collect()]

    def version_at(self, table: Table, when: dt.datetime) -> int:
        """The table's Delta version at a time: what a reader found then. 0 before its first commit."""
        commits_ms = commits.commit_times(self.location(table))
        until = when.timestamp() * 1000
        return max((version for version, ms in commits_ms.items() if ms <= until), default=0)

    def read(self, table: Table, dates: DateRange | None = None, *, version: int | None = None) -> DataFrame:
        """The table's rows, or those of a range of its partition column.

        Args:
            table: the contract.
            dates: the range; all without it.
            version: the Delta version to read; the latest without it.
        """
        rows = self.spark.table(self._open(table)) if version is None else self._past(table, version, dates)
        if dates and table.partition_column:
            column = F.col(table.partition_column)
            rows = rows.where(column.between(F.lit(dates.start), F.lit(dates.end)))
        return rows

    def _past(self, table: Table, version: int, dates: DateRange | None) -> DataFrame:
        # Not VERSION AS OF: Sail 0.7.2 cannot read versions from before the latest checkpoint of the log
        # ("Missing commit file: expected version 0").
        column = table.partition_column
        cut = [(column, ">=", dates.start), (column, "<=", dates.end)] if dates and column else None
        past = DeltaTable(self.location(table), version=version)
        had = {field.name for field in past.schema().fields}
        columns = [name for name in table.column_names if name in had]
        return with_gained_columns(
            table, self.spark.createDataFrame(past.to_pyarrow_table(filters=cut, columns=columns))
        )

    def write(
        self, table: Table, rows: DataFrame, dates: DateRange | None = None, *, origin: Origin | None = None
    ) -> WriteReport:
        """Write rows the way the contract says, and note them in the ledger of dates.

        Args:
            table: the contract.
            rows: exactly its columns.
            dates: the partitions that a replacing write replaces; every row must lie in them.
            origin: where the rows come from, for the ledger; read just now by no known code, without it.

        Raises:
            ContractError: columns, types, nulls or dates are not the contract's; nothing was written.
        """
        name = self._open(table)
        rows = guard.conforming(table, rows, dates)
        with self.lock(table), noting(self, table, dates, origin) as note:
            before, start = self.version(table), time.monotonic()
            try:
                writes.commit(table, name, rows, dates)
            except Exception as error:
                if refused := guard.contract_error(table, error):
                    raise refused from error
                raise
            note.written = self._report(table, before, time.monotonic() - start, dates)
            return note.written

    def lock(self, table: Table) -> AbstractContextManager[Any]:
        """One writer a table at a time on this machine; Dagster's pools see to it across machines.

        May be taken again by who holds it.
        """
        folder = self.settings.lake_root / ".locks"
        self._require_writable(folder)
        return FileLock(folder / f"{self.table_name(table)}.lock", is_singleton=True)

    def require_contract(self, table: Table) -> None:
        """Compare a table that exists with its contract; columns that it gains may still be to come.

        Raises:
            ContractError: names, types or the partition column differ.
        """
        ddl.require_contract(table, self.location(table))

    def to_gain(self, table: Table) -> list[Column]:
        """The columns that a table of an earlier release has yet to gain; none where there is no table.

        Raises:
            ContractError: it differs from its contract in more than that.
        """
        return self._lacking(table) if self.version(table) >= 0 else []

    def grow(self, table: Table) -> list[Column]:
        """Give a table of an earlier release the columns that it lacks, which touches no row.

        Whoever opens a table does so: there is no order of steps to keep.

        Returns:
            The columns that came.

        Raises:
            ContractError: as ``to_gain``.
        """
        return self._grow(table) if self.version(table) >= 0 else []

    def as_it_is(self) -> Self:
        """The same lake for who only looks: no table is made, and none grows."""
        looking = copy.copy(self)
        looking._only_looks = True
        return looking

    def _lacking(self, table: Table) -> list[Column]:
        self.require_contract(table)
        return ddl.gained_columns(table, self._columns(table))

    def _grow(self, table: Table) -> list[Column]:
        columns = self._lacking(table)
        if columns:
            with self.lock(table):
                self._add_columns(table)
        self._loosen(table)
        return columns

    def _columns(self, table: Table) -> dict[str, str]:
        """The type of each column that is there, by Spark's names."""
        return ddl.columns_on_disk(self.location(table))

    def _loosen(self, table: Table) -> None:
        """Let a column be NULL that a release of before wanted filled."""
        if ddl.too_strict(table, self.location(table)):
            with self.lock(table):
                ddl.loosen_on_disk(table, self.location(table))

    def _add_columns(self, table: Table) -> None:
        ddl.add_columns_on_disk(table, self.location(table))

    def require_writable(self) -> str:
        """Say where the lake is and how much room it has.

        Raises:
            LakeError: it cannot be written; says why, and what to do.
        """
        root = self.settings.lake_root
        self._root_for_engine()
        self._require_writable(root)
        return f"{root} can be written, {shutil.disk_usage(root).free / 1e9:.0f} GB free"

    def _report(self, table: Table, before: int, seconds: float, dates: DateRange | None) -> WriteReport:
        return commits.report(table, self.location(table), before, seconds, dates)

    def _open(self, table: Table) -> str:
        """The name by which the engine knows the table, created or registered if it does not yet."""
        two_levels = f"{self.catalog(table)}__{table.schema}"
        three_levels = self.settings.deployment == "local"
        schema = f"{self.catalog(table)}.{table.schema}" if three_levels else two_levels
        name = f"{schema}.{table.name}"
        location = self.location(table)
        # Each time, though the engine knows the table already: the link must be there whenever it is used.
        root = self._root_for_engine()
        pointer = (id(self.spark), name)
        # Who moves a table away need not stop those who work with it.
        if _POINTERS.get(pointer) == location and (location / "_delta_log").exists():
            return name
        named = root / location.relative_to(self.settings.lake_root)
        self._require_writable(location)
        # Alone where it has to be made: what another process is making is no half-made table.
        with nullcontext() if DeltaTable.is_deltatable(str(location)) else self.lock(table):
            statement = self._create_or_register(table, name, named)
            self.spark.sql(f"CREATE DATABASE IF NOT EXISTS {schema}").collect()
            self.spark.sql(f"DROP TABLE IF EXISTS {name}").collect()
            self.spark.sql(statement).collect()
        # Who only looks may have left columns to come.
        if not self._only_looks:
            _POINTERS[pointer] = location
        return name

    def _require_that_tables_are_made(self, table: Table) -> None:
        if self._only_looks:
            raise LakeError(f"{self.table_name(table)} is not there yet. It is made by: churn run")

    def _root_for_engine(self) -> Path:
        # Apache Spark takes a location as it is, and so do workers on other machines, where there is no link.
        root = self.settings.lake_root
        return plain_paths.for_engine(root) if self.settings.deployment == "local" else root

    def _create_or_register(self, table: Table, name: str, named: Path) -> str:
        location = self.location(table)
        if DeltaTable.is_deltatable(str(location)):
            if self._only_looks:
                self.require_contract(table)
            else:
                self._grow(table)
            return ddl.register_table(name, named)
        self._require_that_tables_are_made(table)
        half_made.put_aside(location)
        location.mkdir(exist_ok=True)
        return ddl.create_table(table, name, named)

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
