"""How many rows of a table break its contract, rule by rule, and how many keys occur more than once."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.tables import Table

ROWS = "rows"
UNKNOWN = "unknown_references"

NOT_NULL = "not null: "

# In the place of NULL, where another value does no harm; 0 for types that are not here.
_FILLERS = {"string": "", "date": "1970-01-01"}


def rules(table: Table) -> dict[str, str]:
    """What each row is tested for alone: SQL that is true for a good row, by the name of the rule.

    Names start with ``NOT_NULL`` for columns that must have a value; the rest are ranges and rules.
    """
    found = {f"{NOT_NULL}{c.name}": f"`{c.name}` IS NOT NULL" for c in table.columns if not c.nullable}
    for column in table.columns:
        if column.minimum is not None:
            rule = f"{column.name} >= {column.minimum:g}"
            found[rule] = rule
        if column.maximum is not None:
            rule = f"{column.name} <= {column.maximum:g}"
            found[rule] = rule
        if column.allowed:
            values = ", ".join(f"'{value}'" for value in column.allowed)
            found[f"{column.name} in ({', '.join(column.allowed)})"] = f"{column.name} IN ({values})"
    return found | {rule: rule for rule in table.rules}


def violations(table: Table, rows: DataFrame, referenced: DataFrame | None = None) -> DataFrame:
    """One row of counts.

    Args:
        table: the contract.
        rows: rows of the table, with its columns.
        referenced: rows of ``table.references``; without them references are not counted.

    Returns:
        ``rows``; ``unknown_references``, rows whose reference is not there; and ``broken_0``, ``broken_1``,
        … in the order of ``rules``.
    """
    tested = rows
    unknown: Column = F.lit(False)
    if table.references and referenced is not None:
        known = referenced.select(*table.references.key).distinct().withColumn("_known", F.lit(True))
        tested = rows.join(known, on=list(table.references.key), how="left")
        unknown = F.col("_known").isNull()
    return tested.agg(
        F.count(F.lit(1)).alias(ROWS),
        _count_if(unknown).alias(UNKNOWN),
        *[_count_if(_breaks(rule)).alias(f"broken_{i}") for i, rule in enumerate(rules(table).values())],
    )


def repeated_keys(table: Table, rows: DataFrame) -> int:
    """How many keys occur more than once."""
    if not table.key:
        return 0
    # A hash is grouped several times faster than a key with text, and equal keys have equal hashes.
    types = {column.name: column.type for column in table.columns}
    # Sail 0.7.2 panics on a batch of a column with nothing but NULL.
    filled = (F.coalesce(name, F.lit(_FILLERS.get(types[name], 0)).cast(types[name])) for name in table.key)
    hashes = _repeated(rows.select(F.xxhash64(*filled).alias("key_hash")), "key_hash")
    if not hashes.take(1):
        return 0
    return _repeated(rows, *table.key).count()


def _repeated(rows: DataFrame, *names: str) -> DataFrame:
    return rows.groupBy(*names).agg(F.count(F.lit(1)).alias(ROWS)).where(F.col(ROWS) > 1)


def by_rule(table: Table, counted: Mapping[str, int | None]) -> dict[str, int]:
    """The counts of ``violations`` by the names of ``rules``."""
    return {name: counted[f"broken_{i}"] or 0 for i, name in enumerate(rules(table))}


def examples(table: Table, rows: DataFrame, limit: int = 5) -> DataFrame:
    """A few rows that break one of ``rules``."""
    return rows.where(_breaks_any(table)).limit(limit)


def failing_dates(table: Table, rows: DataFrame) -> DataFrame:
    """The dates of a dated table on which a row breaks one of ``rules``, or a key occurs twice."""
    broken = _count_if(_breaks_any(table)).alias("broken")
    by_key = rows.groupBy(*table.key).agg(F.count(F.lit(1)).alias(ROWS), broken)
    wrong = by_key.where((F.col(ROWS) > 1) | (F.col("broken") > 0))
    return wrong.select(F.col(str(table.partition_column)).alias("day")).distinct()


def _breaks(rule: str) -> Column:
    # A rule that is NULL is neither kept nor broken; that a value is missing is what another rule says.
    return ~F.coalesce(F.expr(rule), F.lit(True))


def _breaks_any(table: Table) -> Column:
    # In one flat piece: a column's ORs nest, and of fifty the client cannot make a plan.
    broken = " OR ".join(f"NOT coalesce(({rule}), true)" for rule in rules(table).values())
    return F.expr(broken or "false")


def _count_if(condition: Column) -> Column:
    return F.sum(F.when(condition, F.lit(1)).otherwise(F.lit(0)).cast("bigint"))
