"""The lake on Databricks: managed tables of Unity Catalog, by their three-level names.

Nothing here touches a file. What a table is and what a write did come from SQL (``DESCRIBE HISTORY``,
``DESCRIBE DETAIL``, counts by partition), which a cluster's session runs or, for a process without a session,
a SQL warehouse.
"""

import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from churn_assets.dates import DateRange
from churn_assets.errors import ContractError, LakeError, LandingError, one_line
from churn_assets.lakehouse import ddl
from churn_assets.lakehouse.commits import MAINTENANCE, LogSince, TableDetails, WriteReport, nothing_written
from churn_assets.lakehouse.computed_dates.rows import LedgerStore
from churn_assets.lakehouse.computed_dates.unity_store import UnityStore
from churn_assets.lakehouse.lake import FileDiscovery, Lakehouse, Totals
from churn_assets.lakehouse.landing import Listing
from churn_assets.lakehouse.writes import NewRows, retrying_conflicts
from churn_assets.settings import Settings
from churn_assets.tables import COMPUTED_DATES, Table, WriteMode

# An engine's message where another process is creating the same table, and how long that may take.
ALREADY_EXISTS = re.compile("already exists|ALREADY_EXISTS", re.IGNORECASE)
CREATION_SECONDS = 10

# Runs one statement and returns its rows as plain values.
RunSql = Callable[[str], list[dict[str, Any]]]

# Databricks' error classes where a table, its schema or its catalog does not exist.
NO_TABLE = ("TABLE_OR_VIEW_NOT_FOUND",)
NO_SCHEMA = ("SCHEMA_NOT_FOUND", "NO_SUCH_CATALOG", "CATALOG_NOT_FOUND")
REFUSED = ("INSUFFICIENT_PERMISSIONS", "PERMISSION_DENIED")

# From Delta 4.1 on (Runtime 18, SQL warehouses) a version cannot be read whose own commit is older than
# delta.deletedFileRetentionDuration, a week by default: not even the one that a write just replaced. So a
# table that rested for this long is committed once more as it is, before a write is compared with it.
RENEWED_AFTER = dt.timedelta(days=6)

# A write is followed by at most a compaction or two and, with other writers, by a few commits more.
HISTORY_LIMIT = 20


class UnityLakehouse(Lakehouse):
    """The tables of a ``databricks`` deployment.

    ``churn setup --databricks`` makes catalogs, schemas, volumes and grants; tables are created here. There
    are no locks: Dagster's pools let one run at a time write a table, and a commit that lost to another is
    tried again.

    Args:
        settings: the deployment's.
        session: returns the cluster's own session.
        run_sql: runs statements elsewhere, as on a SQL warehouse; the session runs them without it.
        list_volume: lists a folder of a volume.
    """

    def __init__(
        self,
        settings: Settings,
        session: Callable[[], SparkSession],
        run_sql: RunSql | None = None,
        list_volume: Callable[[str], Listing] | None = None,
    ) -> None:
        super().__init__(settings, session)
        self._list_volume = list_volume
        self._run_sql = run_sql or self._in_session
        self._opened: set[Table] = set()

    @property
    def is_remote(self) -> bool:
        """Always: a cluster or a warehouse answers."""
        return True

    @property
    def finds_files_by(self) -> FileDiscovery:
        """Auto Loader, whose checkpoint lies in the volume."""
        return "auto loader"

    def list_landing(self) -> Listing:
        """List a volume.

        Raises:
            LandingError: it does not exist or cannot be read, or the landing zone is no volume.
        """
        root = self.settings.landing_root
        if self._list_volume is None or not root.startswith("/Volumes/"):
            raise LandingError(
                f"The landing zone {root} is no volume, so that only the cluster lists it: ingestions follow "
                "the schedule. Set CHURN_LANDING_ROOT to a folder in a volume, which may be an external one."
            )
        return self._list_volume(root)

    def checkpoint(self, table: Table) -> str:
        """Return a folder in the volume's ``_checkpoints``."""
        return f"{self.settings.databricks_volume}/_checkpoints/{self.table_name(table)}"

    def lock(self, table: Table) -> AbstractContextManager[Any]:  # noqa: ARG002 - folders have one a table
        """Return no lock: see the class."""
        return nullcontext()

    def version(self, table: Table) -> int:
        """Return the version of the last commit in the table's history, -1 if there is no table yet."""
        try:
            history = self._sql(f"DESCRIBE HISTORY {self.table_name(table)} LIMIT 1")
        except Exception as error:
            if _mentions(error, NO_TABLE + NO_SCHEMA):
                return -1
            raise
        return int(history[0]["version"])

    def log_since(self, table: Table, version: int) -> LogSince | None:
        """Read the end of the table's history."""
        try:
            history = self._sql(f"DESCRIBE HISTORY {self.table_name(table)} LIMIT {HISTORY_LIMIT}")
        except Exception as error:
            if _mentions(error, NO_TABLE + NO_SCHEMA):
                return None
            raise
        # A commit is known by its time, as a name has one table and no two commits of it have the same time.
        # Naive, as PySpark collects it, means this machine's zone.
        times = {int(row["version"]): row["timestamp"].astimezone(dt.UTC).isoformat() for row in history}
        changing = {int(row["version"]) for row in history if row["operation"] not in MAINTENANCE}
        commit = times.get(version)
        return LogSince(commit, sorted(later for later in changing if later > version) if commit else None)

    def version_at(self, table: Table, when: dt.datetime) -> int:
        """Look the time up in the table's history."""
        history = self._sql(f"DESCRIBE HISTORY {self.table_name(table)}")
        # Naive, as PySpark collects it, means this machine's zone.
        versions = [int(row["version"]) for row in history if row["timestamp"].astimezone(dt.UTC) <= when]
        return max(versions, default=0)

    def partition_rows(self, table: Table) -> dict[dt.date, int]:
        """Count by the partition column, for which Databricks reads the log only."""
        return self._partition_rows(table) if self.version(table) >= 0 else {}

    def details(self, table: Table) -> TableDetails:
        """Return rows, dates, version, bytes and last change of a table that exists."""
        name = self.table_name(table)
        day = f"`{table.partition_column}`" if table.partition_column else "CAST(NULL AS DATE)"
        counts = self._sql(f"SELECT count(*) AS n, min({day}) AS first, max({day}) AS last FROM {name}")[0]  # noqa: S608 - names of a contract and of settings that allow no quote
        commit = self._sql(f"DESCRIBE HISTORY {name} LIMIT 1")[0]
        return TableDetails(
            rows=int(counts["n"]),
            first_date=counts["first"],
            last_date=counts["last"],
            version=int(commit["version"]),
            bytes=int(self._sql(f"DESCRIBE DETAIL {name}")[0]["sizeInBytes"]),
            # Naive, as PySpark collects it, means this machine's zone.
            changed_at=commit["timestamp"].astimezone(dt.UTC).replace(microsecond=0),
        )

    def totals(self, table: Table, day: dt.date, columns: Sequence[str]) -> Totals:
        """Count and sum in one statement."""
        sums = ", ".join(f"sum(CAST(`{name}` AS DOUBLE)) AS `{name}`" for name in columns)
        row = self._sql(
            f"SELECT count(*) AS n, {sums} FROM {self.table_name(table)} "  # noqa: S608 - as above
            f"WHERE `{table.partition_column}` = date'{day}'"
        )[0]
        return Totals(int(row["n"]), {name: float(row[name] or 0) for name in columns})

    def latest_timestamp(self, table: Table, column: str, day: dt.date) -> dt.datetime:
        """Ask for the timestamp in microseconds, which are in no time zone."""
        row = self._sql(
            f"SELECT unix_micros(max(`{column}`)) AS micros FROM {self.table_name(table)} "  # noqa: S608 - as above
            f"WHERE `{table.partition_column}` = date'{day}'"
        )[0]
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(row["micros"]))

    def count_at_least(self, table: Table, day: dt.date, column: str, minimum: float) -> int:
        """Count in one statement."""
        row = self._sql(
            f"SELECT count(*) AS n FROM {self.table_name(table)} "  # noqa: S608 - as above
            f"WHERE `{table.partition_column}` = date'{day}' AND `{column}` >= CAST('{minimum!r}' AS DOUBLE)"
        )[0]
        return int(row["n"])

    def sample_rows(self, table: Table, day: dt.date | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Return any few rows, or any few of one date of the partition column."""
        of_day = f"WHERE `{table.partition_column}` = date'{day}'" if day and table.partition_column else ""
        return self._sql(f"SELECT * FROM {self.table_name(table)} {of_day} LIMIT {limit}")  # noqa: S608 - as above

    def query(self, sql: str, **tables: Table) -> list[dict[str, Any]]:
        """Run the query where statements run."""
        return self._sql(sql.format(**{name: self._open(table) for name, table in tables.items()}))

    def require_contract(self, table: Table) -> None:
        """Compare the described columns and partitions with the contract.

        Raises:
            ContractError: names, types or the partition column differ.
        """
        name = self.table_name(table)
        detail = self._sql(f"DESCRIBE DETAIL {name}")[0]
        if differing := ddl.differences(table, self._columns(table), _parsed(detail["partitionColumns"])):
            raise ContractError(
                f"The table {name} is not {table}: {'; '.join(differing)}. Its contract is "
                f"tables.{table.constant}: rename or drop the table and run again, or set other catalogs. "
                f"{ddl.KEEP}"
            )

    def require_writable(self) -> str:
        """Return a line with the schemas that are used.

        Raises:
            LakeError: one of them does not exist, or may not be used.
        """
        schemas = list(ddl.schemas(self.settings))
        for schema in schemas:
            try:
                self._sql(f"DESCRIBE SCHEMA {schema}")
            except Exception as error:
                raise (self._actionable(error, schema) or error) from error
        return f"{', '.join(schemas)} can be used"

    def _commit(self, table: Table, name: str, new: NewRows, dates: DateRange | None) -> None:
        if dates is None:
            self._renew(table)
        super()._commit(table, name, new, dates)

    def _renew(self, table: Table) -> None:
        """Commit a table as it is where its last commit is nearly too old to be read."""
        name, now = self._open(table), dt.datetime.now(dt.UTC)
        last = self._sql(f"DESCRIBE HISTORY {name} LIMIT 1")[0]
        # Naive, as PySpark collects it, means this machine's zone.
        if last["timestamp"].astimezone(dt.UTC) < now - RENEWED_AFTER:
            # Another value each time, as a commit that changes nothing might be none.
            retrying_conflicts(self._sql)(
                f"ALTER TABLE {name} SET TBLPROPERTIES ('churn.renewed_at' = '{now:%Y-%m-%dT%H:%M:%SZ}')"
            )

    def _report(
        self, table: Table, version_before: int, seconds: float, dates: DateRange | None
    ) -> WriteReport:
        name = self.table_name(table)
        history = self._sql(f"DESCRIBE HISTORY {name} LIMIT {HISTORY_LIMIT}")
        commits = [
            (int(row["version"]), _parsed(row["operationMetrics"]) or {})
            for row in history
            if int(row["version"]) > version_before and row["operation"] not in MAINTENANCE
        ]
        rows = sum(_rows(metrics) for _, metrics in commits)
        if not commits or (table.write_mode is WriteMode.MERGE_NEW and rows == 0):
            # Databricks may commit a merge that inserts nothing, which to readers is no commit.
            return nothing_written(table, version_before, seconds, dates)
        versions = [version for version, _ in commits]
        after = max(versions)
        return WriteReport(
            table=table,
            version=after,
            rows=rows,
            bytes=sum(_bytes(metrics) for _, metrics in commits),
            seconds=seconds,
            # What came before the first change has the same rows as the version before, and is younger.
            rows_by_partition=self._rows_gained(table, min(versions) - 1, after, dates),
        )

    def _columns(self, table: Table) -> dict[str, str]:
        columns: dict[str, str] = {}
        for row in self._sql(f"DESCRIBE TABLE {self.table_name(table)}"):
            # After the columns comes what the table is partitioned or clustered by.
            if not row["col_name"] or row["col_name"].startswith("#"):
                break
            columns[row["col_name"]] = row["data_type"]
        return columns

    def _read_version(self, table: Table, version: int, dates: DateRange | None) -> DataFrame:  # noqa: ARG002 - Delta prunes by the filter that follows
        youngest = self._youngest_like(table, version)
        return self.spark.sql(f"SELECT * FROM {self.table_name(table)} VERSION AS OF {youngest}")  # noqa: S608 - names of a contract

    def _youngest_like(self, table: Table, version: int) -> int:
        """Return the last version with the rows of this one, which can be read for longest."""
        history = self._sql(f"DESCRIBE HISTORY {self.table_name(table)} LIMIT {HISTORY_LIMIT}")
        operations = {int(row["version"]): row["operation"] for row in history}
        while version in operations and operations.get(version + 1) in MAINTENANCE:
            version += 1
        return version

    def _rows_gained(
        self, table: Table, before: int, after: int, dates: DateRange | None
    ) -> dict[dt.date, int]:
        """Count the rows of each replaced date, or those that each date gained between two versions."""
        if table.partition_column is None:
            return {}
        now = self._partition_rows(table, f"VERSION AS OF {after}", dates)
        if dates:
            return {day: now.get(day, 0) for day in dates.days()}
        gained = Counter(now)
        gained.subtract(self._partition_rows(table, f"VERSION AS OF {before}"))
        return {day: rows for day, rows in sorted(gained.items()) if rows}

    def _partition_rows(
        self, table: Table, version: str = "", dates: DateRange | None = None
    ) -> dict[dt.date, int]:
        # For partition columns and counts Databricks reads the log only.
        column = f"`{table.partition_column}`"
        inside = f"WHERE {column} >= date'{dates.start}' AND {column} <= date'{dates.end}'" if dates else ""
        counted = self._sql(
            f"SELECT {column} AS day, count(*) AS n FROM {self.table_name(table)} {version} {inside} "  # noqa: S608 - as above
            f"GROUP BY {column}"
        )
        return {row["day"]: int(row["n"]) for row in counted}

    def _ledger_store(self) -> LedgerStore:
        return UnityStore(
            self.table_name(COMPUTED_DATES),
            retrying_conflicts(self._sql),
            create=lambda: self._open(COMPUTED_DATES),
            exists=lambda: self.version(COMPUTED_DATES) >= 0,
        )

    def _open(self, table: Table) -> str:
        name = self.table_name(table)
        if table not in self._opened:
            if self.version(table) < 0:
                self._require_may_create(table)
                self._create(table, name)
            elif self._is_read_only:
                self.require_contract(table)
                return name
            else:
                self._upgrade(table)
            self._opened.add(table)
        return name

    def _create(self, table: Table, name: str) -> None:
        try:
            self._sql(ddl.create_managed_table(table, name))
        except Exception as error:
            # IF NOT EXISTS checks before it creates, and another process may have been faster.
            if not ALREADY_EXISTS.search(str(error)) or not self._appears(table):
                raise

    def _appears(self, table: Table) -> bool:
        """Wait for a table that another process has begun to create; whether it exists in the end."""
        wait_for = Retrying(
            retry=retry_if_result(lambda version: version < 0),
            stop=stop_after_delay(CREATION_SECONDS),
            wait=wait_fixed(0.2),
            retry_error_callback=lambda _: -1,
        )
        return wait_for(self.version, table) >= 0

    def _drop_not_null(self, table: Table) -> None:
        for column in self._not_null_columns(table):
            # Two processes may both say so: the second changes nothing.
            retrying_conflicts(self._sql)(
                f"ALTER TABLE {self.table_name(table)} ALTER COLUMN `{column}` DROP NOT NULL"
            )

    def _not_null_columns(self, table: Table) -> list[str]:
        """Return the columns that refuse a NULL though the contract now allows it."""
        nullable = {column.name for column in table.columns if column.nullable}
        if not nullable:
            return []
        catalog, schema, name = self.table_name(table).split(".")
        # DESCRIBE TABLE does not say so, and ALTER would be a commit each time.
        strict = self._sql(
            f"SELECT column_name FROM {catalog}.information_schema.columns "  # noqa: S608 - names of a contract and of settings that allow no quote
            f"WHERE table_schema = '{schema}' AND table_name = '{name}' AND is_nullable = 'NO'"
        )
        return [row["column_name"] for row in strict if row["column_name"] in nullable]

    def _add_columns(self, table: Table) -> None:
        statement = ddl.add_columns(table, self.table_name(table), self._columns(table))
        if statement is None:
            return
        try:
            self._sql(statement)
        except Exception:
            # There are no locks: another process may have been faster.
            if ddl.missing_columns(table, self._columns(table)):
                raise

    def _sql(self, statement: str) -> list[dict[str, Any]]:
        try:
            return self._run_sql(statement)
        except Exception as error:
            # Whether a table exists is a question that callers ask; a missing schema is a mistake to report.
            if statement.startswith("CREATE") or _mentions(error, REFUSED):
                raise (self._actionable(error, statement.partition("(")[0].strip()) or error) from error
            raise

    @staticmethod
    def _actionable(error: Exception, what: str) -> LakeError | None:
        if _mentions(error, NO_SCHEMA):
            return LakeError(
                f"{what}: {one_line(error)}. Create catalogs and schemas with: churn setup --databricks"
            )
        if _mentions(error, REFUSED):
            return LakeError(
                f"{what}: {one_line(error)}. "
                "Ask for the grants that this prints: churn setup --databricks --dry-run"
            )
        return None

    def _in_session(self, statement: str) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.spark.sql(statement).collect()]


def _mentions(error: Exception, signs: tuple[str, ...]) -> bool:
    return any(sign in str(error) for sign in signs)


def _parsed(value: Any) -> Any:
    """Decode maps and arrays, which a warehouse returns as JSON."""
    return json.loads(value) if isinstance(value, str) else value


def _rows(metrics: dict[str, str]) -> int:
    # A merge's numOutputRows also counts rows that it copied.
    return int(metrics.get("numTargetRowsInserted", metrics.get("numOutputRows", 0)))


def _bytes(metrics: dict[str, str]) -> int:
    return int(metrics.get("numTargetBytesAdded", metrics.get("numOutputBytes", 0)))
