"""One commit by a table's contract, the same on every engine, for tables in folders and in a catalog."""

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from churn_assets.dates import DateRange
from churn_assets.errors import LakeError
from churn_assets.tables import Table, WriteMode


@dataclass(frozen=True)
class NewRows:
    """Rows to insert where their key does not exist yet, and what their writer knows of them.

    Attributes:
        rows: the rows.
        absent_at: the table's version in which their keys do not exist, each of which they have once; None
            if that is not known.
        partitions: where they lie at most, to read no other partition; None if that is not known.
    """

    rows: DataFrame
    absent_at: int | None = None
    partitions: Collection[dt.date] | None = None


# The engines' messages where another writer committed first: Sail's, then Delta's on Spark and Databricks.
COMMIT_CONFLICTS = ("Failed to commit transaction", "DELTA_CONCURRENT", "ConcurrentModification")


def is_commit_conflict(error: BaseException) -> bool:
    """Whether a write failed only because another writer committed first."""
    return any(sign in str(error) for sign in COMMIT_CONFLICTS)


retrying_conflicts = retry(
    retry=retry_if_exception(is_commit_conflict),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    reraise=True,
)


def replaced_partitions(table: Table, dates: DateRange | None) -> tuple[str, DateRange]:
    """Return the partition column of a table whose partitions are replaced, and the dates that are.

    Raises:
        LakeError: none were named; without them a writer would replace the whole table.
    """
    if dates is None or table.partition_column is None:
        raise LakeError(f"{table} is replaced by partitions, and none were named.")
    return table.partition_column, dates


@retrying_conflicts
def commit(table: Table, name: str, new: NewRows, dates: DateRange | None) -> None:
    """Write rows to the table that the engine knows as ``name``, again if another writer committed first.

    Raises:
        LakeError: as ``replaced_partitions``.
    """
    rows = new.rows
    match table.write_mode:
        case WriteMode.APPEND:
            rows.writeTo(name).append()
        case WriteMode.REPLACE_ALL:
            rows.writeTo(name).overwrite(F.lit(True))
        case WriteMode.REPLACE_PARTITIONS:
            name_of_column, dates = replaced_partitions(table, dates)
            # Not saveAsTable with replaceWhere: Sail ignores the predicate and replaces the whole table.
            # Not BETWEEN: Delta 4.4 on Spark crashes on it.
            column = F.col(name_of_column)
            rows.writeTo(name).overwrite((column >= F.lit(dates.start)) & (column <= F.lit(dates.end)))
        case WriteMode.MERGE_NEW:
            _merge_new(table, name, rows, new.partitions)
        case WriteMode.MIRROR:
            _merge(
                table,
                name,
                rows,
                "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT * "
                "WHEN NOT MATCHED BY SOURCE THEN DELETE",
            )


def _merge_new(table: Table, name: str, rows: DataFrame, partitions: Collection[dt.date] | None) -> None:
    """Insert the rows whose key does not exist yet, reading only the partitions where they may lie."""
    column = table.partition_column
    keys, where = table.key, ""
    # Databricks commits a merge that inserts nothing.
    if (column is None or partitions is not None) and not has_rows(rows):
        return
    if column is not None:
        touched = partitions or [row[0] for row in rows.select(column).distinct().collect()]
        if not touched:
            return
        days = ", ".join(f"date'{day}'" for day in sorted(touched))
        keys, where = (column, *table.key), f" AND t.`{column}` IN ({days})"
    _merge(table, name, rows, "WHEN NOT MATCHED THEN INSERT *", keys, where)


def _merge(  # noqa: PLR0913, PLR0917 - one statement
    table: Table, name: str, rows: DataFrame, actions: str, keys: Sequence[str] = (), where: str = ""
) -> None:
    # A unique name: a session's threads share its views.
    source = f"new_{table.name}_{uuid.uuid4().hex}"
    rows.createOrReplaceTempView(source)
    same_key = " AND ".join(f"t.`{key}` = s.`{key}`" for key in keys or table.key)
    try:
        rows.sparkSession.sql(
            f"MERGE INTO {name} t USING {source} s ON {same_key}{where} {actions}"
        ).collect()
    finally:
        rows.sparkSession.catalog.dropTempView(source)


def has_rows(rows: DataFrame) -> bool:
    """Whether there are any rows."""
    # One column, so that a window behind another is not computed and the first row found ends the search.
    return bool(rows.select(rows.columns[0]).take(1))
