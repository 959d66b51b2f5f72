"""The lake: Delta tables in folders, read and written through Spark by name."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deltalake import DeltaTable
from filelock import FileLock
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.lakehouse import commits, ddl, guard
from churn_assets.lakehouse.commits import WriteReport
from churn_assets.settings import Settings
from churn_assets.tables import Table, WriteMode

# What the engines say when another writer committed first: Sail, then Delta on Apache Spark.
COMMIT_CONFLICTS = ("Failed to commit transaction", "DELTA_CONCURRENT", "ConcurrentModification")


def is_commit_conflict(error: BaseException) -> bool:
    """Whether a write failed only because another one was faster."""
    return any(sign in str(error) for sign in COMMIT_CONFLICTS)


retrying_conflicts = retry(
    retry=retry_if_exception(is_commit_conflict),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    reraise=True,
)

# A session's names are only pointers to folders, and two lakes in one process share the names:
# (id of the session, name) -> the folder it points to now.
_POINTERS: dict[tuple[int, str], Path] = {}


class Lakehouse:
    """The tables of one deployment in ``<lake>/<catalog>/<schema>/<table>``.

    Sail knows three-level names; Apache Spark's session catalog knows two, so there the first two are joined.
    """

    def __init__(self, settings: Settings, session: Callable[[], SparkSession]) -> None:
        self.settings = settings
        self._session = session

    @property
    def spark(self) -> SparkSession:
        """The session that computes; started at its first use."""
        return self._session()

    def catalog(self, table: Table) -> str:
        """The physical name of the table's catalog, which is a setting."""
        return getattr(self.settings, table.catalog)

    def table_name(self, table: Table) -> str:
        """The physical three-level name, as people and lineage know it."""
        return f"{self.catalog(table)}.{table.schema}.{table.name}"

    def location(self, table: Table) -> Path:
        """The table's folder."""
        return self.settings.lake_root / self.catalog(table) / table.schema / table.name

    def version(self, table: Table) -> int:
        """The table's Delta version, -1 if there is no table yet. Needs no engine."""
        location = self.location(table)
        return DeltaTable(location).version() if DeltaTable.is_deltatable(str(location)) else -1

    def read(self, table: Table, dates: DateRange | None = None) -> DataFrame:
        """The table's rows, or those of a range of its partition column."""
        rows = self.spark.table(self._open(table))
        if dates and table.partition_column:
            column = F.col(table.partition_column)
            rows = rows.where(column.between(F.lit(dates.start), F.lit(dates.end)))
        return rows

    def write(self, table: Table, rows: DataFrame, dates: DateRange | None = None) -> WriteReport:
        """Write rows the way the contract says.

        Args:
            table: the contract.
            rows: exactly its columns.
            dates: the partitions that a replacing write replaces; every row must lie in them.

        Raises:
            ContractError: columns, types, nulls or dates are not the contract's; nothing was written.
        """
        name = self._open(table)
        rows = guard.conforming(table, rows, dates)
        with self.lock(table):
            before, start = self.version(table), time.monotonic()
            try:
                self._commit(table, name, rows, dates)
            except Exception as error:
                if refused := guard.contract_error(table, error):
                    raise refused from error
                raise
            return commits.report(table, self.location(table), before, time.monotonic() - start, dates)

    def lock(self, table: Table) -> FileLock:
        """One writer a table at a time on this machine; Dagster's pools see to it across machines.

        May be taken again by who holds it.
        """
        folder = self.settings.lake_root / ".locks"
        self._require_writable(folder)
        return FileLock(folder / f"{self.table_name(table)}.lock", is_singleton=True)

    @retrying_conflicts
    def _commit(self, table: Table, name: str, rows: DataFrame, dates: DateRange | None) -> None:
        match table.write_mode:
            case WriteMode.APPEND:
                rows.writeTo(name).append()
            case WriteMode.REPLACE_ALL:
                rows.writeTo(name).overwrite(F.lit(True))
            case WriteMode.REPLACE_PARTITIONS:
                if dates is None or table.partition_column is None:
                    raise LakeError(f"{table} is replaced by partitions, and none were named.")
                # Not saveAsTable with replaceWhere: Sail ignores the predicate and replaces the whole table.
                # Not BETWEEN: Delta 4.4 on Spark crashes on it.
                column = F.col(table.partition_column)
                rows.writeTo(name).overwrite((column >= F.lit(dates.start)) & (column <= F.lit(dates.end)))
            case WriteMode.MERGE_NEW:
                self._merge_new(table, name, rows)

    def _merge_new(self, table: Table, name: str, rows: DataFrame) -> None:
        """Insert the rows whose key is not there, looking only into the partitions that they touch."""
        column = table.partition_column
        if column is None:
            raise LakeError(f"{table} is merged by partitions, and its contract names no partition column.")
        touched = [row[0] for row in rows.select(column).distinct().collect()]
        if not touched:
            return
        source = f"new_{table.schema}_{table.name}"
        rows.createOrReplaceTempView(source)
        partitions = ", ".join(f"date'{day}'" for day in sorted(touched))
        same_key = " AND ".join(f"t.`{key}` = s.`{key}`" for key in (column, *table.key))
        self.spark.sql(
            f"MERGE INTO {name} t USING {source} s ON {same_key} AND t.`{column}` IN ({partitions}) "
            "WHEN NOT MATCHED THEN INSERT *"
        ).collect()

    def _open(self, table: Table) -> str:
        """The name by which the engine knows the table, created or registered if it does not yet."""
        two_levels = f"{self.catalog(table)}__{table.schema}"
        three_levels = self.settings.deployment == "local"
        schema = f"{self.catalog(table)}.{table.schema}" if three_levels else two_levels
        name = f"{schema}.{table.name}"
        location = self.location(table)
        pointer = (id(self.spark), name)
        if _POINTERS.get(pointer) == location:
            return name
        self._require_writable(location)
        statement = ddl.create_table(table, name, location)
        if DeltaTable.is_deltatable(str(location)):
            ddl.require_contract(table, location)
            statement = ddl.register_table(name, location)
        self.spark.sql(f"CREATE DATABASE IF NOT EXISTS {schema}").collect()
        self.spark.sql(f"DROP TABLE IF EXISTS {name}").collect()
        self.spark.sql(statement).collect()
        _POINTERS[pointer] = location
        return name

    def require_writable(self) -> None:
        """Fail in one line where the lake's folder cannot be written.

        Raises:
            LakeError: says why, and what to do.
        """
        self._require_writable(self.settings.lake_root)

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
