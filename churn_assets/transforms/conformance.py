"""How many rows of a table break its contract, rule by rule, in one pass over them."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.tables import Table

ROWS = "rows"
REPEATED_KEYS = "repeated_keys"
UNKNOWN = "unknown_references"

NOT_NULL = "not null: "


def broken_rules(table: Table) -> dict[str, Column]:
    """What a row is tested for alone: the name of each rule, and a condition that is true where it is broken.

    Names start with ``NOT_NULL`` for columns that must have a value; the rest are ranges and rules.
    """
    broken = {
        f"{NOT_NULL}{column.name}": F.col(column.name).isNull()
        for column in table.columns
        if not column.nullable
    }
    for column in table.columns:
        value = F.col(column.name)
        # Not "value < minimum": NaN is no smaller than anything, and no value at all either.
        if column.minimum is not None:
            broken[f"{column.name} >= {column.minimum:g}"] = ~_holds(value >= column.minimum)
        if column.maximum is not None:
            broken[f"{column.name} <= {column.maximum:g}"] = ~_holds(value <= column.maximum)
        if column.allowed:
            broken[f"{column.name} in ({', '.join(column.allowed)})"] = ~_holds(value.isin(*column.allowed))
    return broken | {rule: ~_holds(F.expr(rule)) for rule in table.rules}


def violations(table: Table, rows: DataFrame, referenced: DataFrame | None = None) -> DataFrame:
    """One row of counts.

    Args:
        table: the contract.
        rows: rows of the table, with its columns.
        referenced: rows of ``table.references``; without them references are not counted.

    Returns:
        ``rows``; ``repeated_keys``, how many keys occur more than once; ``unknown_references``, rows whose
        reference is not there; and ``broken_0``, ``broken_1``, … in the order of ``broken_rules``.
    """
    tested = rows
    unknown: Column = F.lit(False)
    if table.references and referenced is not None:
        known = referenced.select(*table.references.key).distinct().withColumn("_known", F.lit(True))
        tested = rows.join(known, on=list(table.references.key), how="left")
        unknown = F.col("_known").isNull()
    counts = [
        _count_if(unknown).alias(UNKNOWN),
        *[_count_if(broken).alias(f"broken_{i}") for i, broken in enumerate(broken_rules(table).values())],
    ]
    by_key = tested.groupBy(*table.key).agg(F.count(F.lit(1)).alias(ROWS), *counts)
    if not table.key:
        return by_key.withColumn(REPEATED_KEYS, F.lit(0).cast("bigint"))
    summed = [UNKNOWN, *(f"broken_{i}" for i in range(len(counts) - 1))]
    return by_key.agg(
        F.sum(ROWS).alias(ROWS),
        _count_if(F.col(ROWS) > 1).alias(REPEATED_KEYS),
        *[F.sum(name).alias(name) for name in summed],
    )


def by_rule(table: Table, counted: Mapping[str, int | None]) -> dict[str, int]:
    """The counts of ``violations`` by the names of ``broken_rules``."""
    return {name: counted[f"broken_{i}"] or 0 for i, name in enumerate(broken_rules(table))}


def examples(table: Table, rows: DataFrame, limit: int = 5) -> DataFrame:
    """A few rows that break one of ``broken_rules``."""
    broken = F.lit(False)
    for condition in broken_rules(table).values():
        broken |= condition
    return rows.where(broken).limit(limit)


def _holds(condition: Column) -> Column:
    # A condition of NULL is neither; that a value is missing is what another rule says.
    return F.coalesce(condition, F.lit(True))


def _count_if(condition: Column) -> Column:
    return F.sum(F.when(condition, F.lit(1)).otherwise(F.lit(0)).cast("bigint"))
