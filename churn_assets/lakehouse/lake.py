"""The lake as all of the platform sees it: tables read and written by their contracts, wherever they are.

``folder_lake`` keeps them in folders, ``unity_lake`` in Unity Catalog. What depends on where they are is a
question to the lake, not to the settings.
"""

import copy
import datetime as dt
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Self

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from churn_assets.contracts import Column
from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse import ddl, guard, writes
from churn_assets.lakehouse.commits import LogSince, TableDetails, WriteReport
from churn_assets.lakehouse.computed_dates.rows import LedgerStore
from churn_assets.lakehouse.computed_dates.writing import Origin, noting
from churn_assets.lakehouse.erased_users import ErasedUsers
from churn_assets.lakehouse.landing import Listing
from churn_assets.lakehouse.landing_lines import DEFAULT_READERS
from churn_assets.lakehouse.writes import NewRows
from churn_assets.settings import Settings
from churn_assets.tables import Table

# How new event files are found: by listing, by Spark's file stream, or by Databricks' Auto Loader.
FileDiscovery = Literal["listing", "file stream", "auto loader"]


class Totals(NamedTuple):
    """The rows of one date, and the sum of each column that was asked for."""

    rows: int
    sums: dict[str, float]


class Lakehouse(ABC):
    """The tables of one deployment.

    A table that is missing is created by its contract when it is first used, and one of an earlier release
    gains the columns that it lacks.
    """

    def __init__(self, settings: Settings, session: Callable[[], SparkSession]) -> None:
        self.settings = settings
        # Which dates are computed, from what: every write notes itself there.
        self.ledger = self._ledger_store()
        self._session = session
        self._is_read_only = False

    @property
    def spark(self) -> SparkSession:
        """The session that computes; started at its first use."""
        return self._session()

    @property
    @abstractmethod
    def is_remote(self) -> bool:
        """Whether tables and engine are on other machines: reading metadata then costs a cluster."""

    @property
    @abstractmethod
    def finds_files_by(self) -> FileDiscovery:
        """How ingestion finds new event files."""

    @abstractmethod
    def list_landing(self) -> Listing:
        """List the event files of the landing zone, wherever it is.

        Raises:
            LandingError: it does not exist, or cannot be listed from this process.
        """

    def erased_users(self) -> ErasedUsers | None:
        """Return what tells the lines of users who were erased; None where nobody was, or ever can be."""
        return None

    @property
    def parallel_files(self) -> int:
        """How many event files the engine reads at once."""
        return DEFAULT_READERS

    @property
    def appends_alone(self) -> bool:
        """Whether an append of rows that were absent at a version fails where another commit came first."""
        return False

    def catalog(self, table: Table) -> str:
        """Return the physical name of the table's catalog, which is a setting."""
        return getattr(self.settings, table.catalog)

    def table_name(self, table: Table) -> str:
        """Return the physical three-level name, as people and lineage know it."""
        return f"{self.catalog(table)}.{table.schema}.{table.name}"

    @abstractmethod
    def checkpoint(self, table: Table) -> str:
        """Return the folder where a stream into the table keeps its progress."""

    @abstractmethod
    def lock(self, table: Table) -> AbstractContextManager[Any]:
        """Let one writer a table at a time in, where no other means does. The holder may take it again."""

    @abstractmethod
    def version(self, table: Table) -> int:
        """Return the table's Delta version, -1 if there is no table yet."""

    @abstractmethod
    def version_at(self, table: Table, when: dt.datetime) -> int:
        """Return the Delta version that a reader saw at ``when``; 0 before the table's first commit."""

    @abstractmethod
    def log_since(self, table: Table, version: int) -> LogSince | None:
        """Return what the table's log says of a version and of what came after; None without a table."""

    @abstractmethod
    def details(self, table: Table) -> TableDetails:
        """Return rows, dates, version, bytes and last change of a table that exists."""

    @abstractmethod
    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        """Count the rows of each date of the partition column; empty where there is no table."""

    @abstractmethod
    def totals(self, table: Table, day: dt.date, columns: Sequence[str]) -> Totals:
        """Count the rows of one date, and sum numeric or boolean columns of it."""

    @abstractmethod
    def latest_timestamp(self, table: Table, column: str, day: dt.date) -> dt.datetime:
        """Return the greatest timestamp (UTC) in a column of a date that has rows."""

    @abstractmethod
    def count_at_least(self, table: Table, day: dt.date, column: str, minimum: float) -> int:
        """Count the rows of one date whose numeric column is at least ``minimum``."""

    @abstractmethod
    def sample_rows(self, table: Table, day: dt.date | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Return any few rows, or any few of one date of the partition column."""

    @abstractmethod
    def query(self, sql: str, **tables: Table) -> list[dict[str, Any]]:
        """Return the rows of a small result.

        Args:
            sql: a query with ``{placeholders}`` for tables; a timestamp is asked for as ``unix_micros``.
            tables: the table of each placeholder; created empty if it does not exist.
        """

    def read(self, table: Table, dates: DateRange | None = None, *, version: int | None = None) -> DataFrame:
        """Return the table's rows, or those of a range of its partition column.

        Args:
            table: the contract.
            dates: the range; all dates without it.
            version: the Delta version to read; the latest without it.
        """
        if version is None:
            rows = self.spark.table(self._open(table))
        else:
            rows = with_missing_columns(table, self._read_version(table, version, dates))
        if dates and table.partition_column:
            column = F.col(table.partition_column)
            rows = rows.where(column.between(F.lit(dates.start), F.lit(dates.end)))
        return rows

    def write(
        self,
        table: Table,
        rows: DataFrame | NewRows,
        dates: DateRange | None = None,
        *,
        origin: Origin | None = None,
    ) -> WriteReport:
        """Write rows the way the contract says, and note them in the ledger of dates.

        Args:
            table: the contract.
            rows: exactly its columns. What is known of new rows spares a table that merges them work.
            dates: the partitions that a replacing write replaces; every row must lie in them.
            origin: where the rows come from, for the ledger; read just now by no known code, without it.

        Raises:
            ContractError: columns, types, nulls or dates are not the contract's; nothing was written.
            LakeError: the table has changed since the keys of new rows were looked up; nothing was written.
        """
        name = self._open(table)
        new = rows if isinstance(rows, NewRows) else NewRows(rows)
        new = replace(new, rows=guard.conforming(table, new.rows, dates))
        with self.lock(table), noting(self, table, dates, origin) as note:
            version_before, start = self.version(table), time.monotonic()
            self._require_as_looked_up(table, new)
            try:
                self._commit(table, name, new, dates)
            except Exception as error:
                if contract_error := guard.contract_error(table, error):
                    raise contract_error from error
                raise
            note.written = self._report(table, version_before, time.monotonic() - start, dates)
            return note.written

    def append_stream(self, table: Table, rows: DataFrame) -> None:
        """Append what a stream gives up to now, which the table's checkpoint then knows, and wait for it.

        The engine does it alone. ``foreachBatch`` would run a function of ours, which Spark Connect sends to
        another process: without this package, and what it collects there stays there.
        """
        sink = rows.writeStream.format("delta").option("checkpointLocation", self.checkpoint(table))
        sink.trigger(availableNow=True).toTable(self._open(table)).awaitTermination()

    def _commit(self, table: Table, name: str, new: NewRows, dates: DateRange | None) -> None:
        # Where there are no locks, only a merge notices a second writer: by what it has read.
        writes.commit(table, name, new, dates)

    def _require_as_looked_up(self, table: Table, new: NewRows) -> None:
        version = new.absent_at
        if version is None:
            return
        log = self.log_since(table, version)
        if log is None or log.later != []:
            raise LakeError(
                f"{self.table_name(table)} has changed since version {version}, in which these rows were "
                "looked up: another run writes it. Nothing was written; run it again when that one has ended."
            )

    @abstractmethod
    def require_contract(self, table: Table) -> None:
        """Compare a table that exists with its contract; it may still lack columns that it can gain.

        Raises:
            ContractError: names, types or the partition column differ.
        """

    @abstractmethod
    def require_writable(self) -> str:
        """Return a line for people on where the lake is and that it can be written.

        Raises:
            LakeError: it cannot be written; says why, and what to do.
        """

    def missing_columns(self, table: Table) -> list[Column]:
        """Return the columns that a table of an earlier release has yet to gain; none without a table.

        Raises:
            ContractError: it differs from its contract in more than that.
        """
        return self._missing_columns(table) if self.version(table) >= 0 else []

    def add_missing_columns(self, table: Table) -> list[Column]:
        """Give a table of an earlier release the columns that it lacks, which touches no row.

        Opening a table does so too: there is no order of steps to keep.

        Returns:
            The columns that were added.

        Raises:
            ContractError: as ``missing_columns``.
        """
        return self._upgrade(table) if self.version(table) >= 0 else []

    def read_only(self) -> Self:
        """Return the same lake for reading: no table is created, and none gains a column."""
        reader = copy.copy(self)
        reader._is_read_only = True
        return reader

    def _require_may_create(self, table: Table) -> None:
        if self._is_read_only:
            raise LakeError(f"{self.table_name(table)} is not there yet. It is made by: churn run")

    def _missing_columns(self, table: Table) -> list[Column]:
        self.require_contract(table)
        return ddl.missing_columns(table, self._columns(table))

    def _upgrade(self, table: Table) -> list[Column]:
        columns = self._missing_columns(table)
        if columns:
            with self.lock(table):
                self._add_columns(table)
        self._drop_not_null(table)
        return columns

    @abstractmethod
    def _ledger_store(self) -> LedgerStore:
        """Return where the ledger of dates is kept."""

    @abstractmethod
    def _open(self, table: Table) -> str:
        """Return the name by which the engine knows the table, created or registered if necessary."""

    @abstractmethod
    def _read_version(self, table: Table, version: int, dates: DateRange | None) -> DataFrame:
        """Return a past version's rows in its own columns; ``dates`` may prune, and need not filter."""

    @abstractmethod
    def _columns(self, table: Table) -> dict[str, str]:
        """Return the type of each column that exists, by Spark's names."""

    @abstractmethod
    def _add_columns(self, table: Table) -> None:
        """Add the columns that the table lacks."""

    @abstractmethod
    def _drop_not_null(self, table: Table) -> None:
        """Allow NULL in columns that an earlier release's contract wanted filled."""

    @abstractmethod
    def _report(
        self, table: Table, version_before: int, seconds: float, dates: DateRange | None
    ) -> WriteReport:
        """Report the commit that followed ``version_before``, if any."""


def with_missing_columns(table: Table, past: DataFrame) -> DataFrame:
    """Return a past version's rows in today's columns: those that came later are null."""
    return past.select(
        *(
            F.col(column.name)
            if column.name in past.columns
            else F.lit(None).cast(column.type).alias(column.name)
            for column in table.columns
        )
    )
