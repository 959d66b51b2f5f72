"""The one place that refuses rows and columns which do not belong in a table.

Sail writes rows outside the partitions that it replaces, which Apache Spark refuses; here both refuse them,
and say in one line what is wrong.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from churn_assets.dates import DateRange
from churn_assets.errors import ContractError
from churn_assets.tables import Table

OUTSIDE = "row outside the partitions of the run"


def conforming(table: Table, rows: DataFrame, dates: DateRange | None) -> DataFrame:
    """The rows in the contract's column order, each of which fails the write if it lies outside ``dates``.

    Raises:
        ContractError: a column is missing, unknown or of another type.
    """
    found = dict(rows.dtypes)
    expected = {column.name: column.type for column in table.columns}
    if extra := found.keys() - expected.keys():
        raise ContractError(
            f"{table} would gain columns {sorted(extra)}; its contract is tables.{table.constant}. "
            "Add them there, or drop them in the transform."
        )
    if wrong := [
        f"{name} {found.get(name, 'missing')} instead of {type_}"
        for name, type_ in expected.items()
        if found.get(name) != type_
    ]:
        raise ContractError(
            f"{table} would be written with {'; '.join(wrong)}; its contract is tables.{table.constant}. "
            "Cast or add them in the transform."
        )
    columns = [F.col(name) for name in table.column_names]
    if dates and table.partition_column:
        index = table.column_names.index(table.partition_column)
        columns[index] = _inside(table, table.partition_column, dates)
    return rows.select(*columns)


def _inside(table: Table, column: str, dates: DateRange) -> Column:
    # An expression, not a count beforehand: rows are computed once, and the write fails before it commits.
    message = F.concat(
        F.lit(f"{OUTSIDE}: {table} gets {column} = "),
        F.coalesce(F.col(column).cast("string"), F.lit("NULL")),
        F.lit(f", but the run replaces {dates}. Filter it in the transform."),
    )
    inside = F.col(column).between(F.lit(dates.start), F.lit(dates.end))
    return F.when(inside, F.col(column)).otherwise(F.raise_error(message).cast("date")).alias(column)


def contract_error(table: Table, error: Exception) -> ContractError | None:
    """What an engine's failure says about the contract, in one line; None if it is about something else."""
    text = str(error)
    if OUTSIDE in text:
        sentence = text[text.index(OUTSIDE) :].partition("in the transform.")[0] + "in the transform."
        return ContractError(sentence[0].upper() + sentence[1:])
    if "NOT NULL constraint violated for column" in text or "DELTA_NOT_NULL_CONSTRAINT_VIOLATED" in text:
        named = text.rpartition("for column:")[2].split(maxsplit=1) if "for column:" in text else []
        column = named[0].strip(".`") if named else "a column"
        return ContractError(
            f"{table} would get a NULL in {column}, which its contract tables.{table.constant} forbids. "
            "Filter or fill it in the transform."
        )
    return None
